"""The buttons beside a task lead to what it did."""

from __future__ import annotations

import pytest

from airflow_audit_provider.exceptions import AuditProviderError
from airflow_audit_provider.links.audit_logs import CloudflareDashboardLink, ManifestLink, object_page
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.operators.task_setup import WINDOW, TaskSetup

GENERAL = "https://dash.cloudflare.com/?to=/:account/audit-log"


def test_links_of_a_landed_window(task_setup: TaskSetup) -> None:
    """After a run one leads to its manifest and one to the account's audit log."""
    operator = task_setup.operator(**WINDOW)
    summary = operator.execute({})
    assert ManifestLink().get_link(operator, ti_key=None) == summary["manifest_uri"]
    expected = f"https://dash.cloudflare.com/{ACCOUNT_ID}/audit-log"
    assert CloudflareDashboardLink().get_link(operator, ti_key=None) == expected


def test_links_of_a_task_that_did_not_get_so_far(task_setup: TaskSetup) -> None:
    """Before a run there is no manifest, and the dashboard asks for the account."""
    operator = task_setup.operator(**WINDOW)
    assert ManifestLink().get_link(operator, ti_key=None) == ""
    assert CloudflareDashboardLink().get_link(operator, ti_key=None) == GENERAL


def test_links_of_a_task_that_failed(task_setup: TaskSetup) -> None:
    """A task that fails in the middle still leads to the account it asked."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "max_attempts": 1})
    task_setup.misbehave("status=503")
    operator = task_setup.operator(**WINDOW)
    with pytest.raises(AuditProviderError):
        operator.execute({})
    assert ManifestLink().get_link(operator, ti_key=None) == ""
    assert ACCOUNT_ID in CloudflareDashboardLink().get_link(operator, ti_key=None)


@pytest.mark.parametrize("scope", ["user", "organization"])
def test_other_scopes_have_no_page_of_their_own(task_setup: TaskSetup, scope: str) -> None:
    """A user's or an organization's log is looked for from the dashboard's front."""
    operator = task_setup.operator(
        **WINDOW, scope=scope, api_version="v1" if scope == "user" else "v2", organization_id="o1"
    )
    operator.query = task_setup.hook().query(operator.api_version, scope, organization_id="o1")
    assert CloudflareDashboardLink().get_link(operator, ti_key=None) == GENERAL


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("s3://audit/a b/m.json", "https://s3.console.aws.amazon.com/s3/object/audit?prefix=a%20b/m.json"),
        ("gs://audit/x/m.json", "https://console.cloud.google.com/storage/browser/_details/audit/x/m.json"),
        ("abfs://audit/x/m.json", "abfs://audit/x/m.json"),
        ("file:///data/m.json", "file:///data/m.json"),
        ("", ""),
    ],
)
def test_an_object_has_a_page_where_its_store_has_a_console(uri: str, page: str) -> None:
    """S3 and GCS show objects in a browser; elsewhere the URI says where the object is."""
    assert object_page(uri) == page
