"""Tests of the links beside a task."""

from __future__ import annotations

import pytest

from airflow_audit_provider._airflow.destinations import dataset_id, dataset_uri
from airflow_audit_provider._airflow.page_addresses import coverage_page, object_page
from airflow_audit_provider.exceptions import AuditProviderError
from airflow_audit_provider.links.audit_logs import (
    CloudflareDashboardLink,
    CoverageLink,
    ManifestLink,
)
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.operators.task_setup import WINDOW, TaskSetup

NAME = "20261026T000000Z-20261027T000000Z"
GENERAL = "https://dash.cloudflare.com/?to=/:account/audit-log"


def test_links_of_a_landed_window(task_setup: TaskSetup) -> None:
    """Links to the manifest and to the account's audit log after a run."""
    operator = task_setup.operator(**WINDOW)
    summary = operator.execute({})
    assert ManifestLink().get_link(operator, ti_key=None) == summary["manifest_uri"]
    page = CoverageLink().get_link(operator, ti_key=None)
    assert page.endswith(f"/cloudflare-audit-logs/d/{dataset_id(dataset_uri(operator.destination))}/w/{NAME}")
    expected = f"https://dash.cloudflare.com/{ACCOUNT_ID}/audit-log"
    assert CloudflareDashboardLink().get_link(operator, ti_key=None) == expected


def test_links_before_a_run(task_setup: TaskSetup) -> None:
    """Has no manifest before a run, and the dashboard's front page."""
    operator = task_setup.operator(**WINDOW)
    assert ManifestLink().get_link(operator, ti_key=None) == ""
    assert CoverageLink().get_link(operator, ti_key=None) == ""
    assert CloudflareDashboardLink().get_link(operator, ti_key=None) == GENERAL


def test_links_of_failed_task(task_setup: TaskSetup) -> None:
    """Links to the requested account if a task fails midway."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "max_attempts": 1})
    task_setup.misbehave("status=503")
    operator = task_setup.operator(**WINDOW)
    with pytest.raises(AuditProviderError):
        operator.execute({})
    assert ManifestLink().get_link(operator, ti_key=None) == ""
    assert ACCOUNT_ID in CloudflareDashboardLink().get_link(operator, ti_key=None)


@pytest.mark.parametrize("scope", ["user", "organization"])
def test_other_scopes_link_to_dashboard_front_page(task_setup: TaskSetup, scope: str) -> None:
    """Links to the front page for a user's or an organization's log."""
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
def test_object_link_opens_console_of_its_store(uri: str, page: str) -> None:
    """S3 and GCS have a web console; other stores show the URI."""
    assert object_page(uri) == page


@pytest.mark.parametrize("uri", ["", "s3://audit", "s3://a*b/_manifests/x.json", "/_manifests/x.json"])
def test_coverage_page_of_uri_without_destination_is_empty(uri: str) -> None:
    """A link never fails a task."""
    assert coverage_page(uri) == ""
