"""Tests that one destination is one asset, whichever connection and spelling leads to it."""

from __future__ import annotations

import warnings

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_audit_provider._airflow.destinations import dataset_uri, is_a_place, store_from_connection
from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.exceptions import ConfigurationError
from tests.operators.task_setup import TaskSetup

SAME = [
    (
        "s3://audit/cloudflare",
        ["s3://my_conn@audit/cloudflare/", "S3://audit/cloudflare", "s3://key:word@audit/cloudflare"],
    ),
    ("s3://audit/cloudflare", ["s3a://audit/cloudflare", "s3n://audit/cloudflare", "s3://my_conn@audit/cloudflare//"]),
    ("s3://audit/", ["s3://audit", "s3://my_conn@audit", "s3://my_conn@audit//"]),
    ("gs://audit/cloudflare", ["gs://my_conn@audit/cloudflare/", "gcs://audit/cloudflare"]),
    ("abfs://audit/cloudflare", ["abfs://my_conn@audit/cloudflare/", "abfss://audit/cloudflare"]),
    ("file:///data/audit", ["/data/audit", "/data/audit/", "file:///data/audit/", "file://my_conn@/data/audit"]),
    ("file:///data/pr%C3%BCfung", ["/data/prüfung", "file:///data/prüfung/"]),
]


@pytest.mark.parametrize(("uri", "spellings"), SAME)
def test_destination_spellings_give_one_asset(uri: str, spellings: list[str]) -> None:
    """Leaves out connection ids, credentials, slashes and other names of a scheme, and Airflow keeps the URI."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assets = [audit_log_asset(spelling) for spelling in spellings]
    assert {asset.uri for asset in assets} == {uri}
    assert len({asset.name for asset in assets}) == 1
    assert all(asset.name.isascii() and asset.name.rstrip("/") == uri.rstrip("/") for asset in assets)


@pytest.mark.parametrize("destination", ["s3://a/b", "gs://a/b", "abfs://a/b", "file:///a/b"])
def test_asset_equals_plain_asset_of_the_uri(destination: str) -> None:
    """A consumer may write the URI instead of calling the function."""
    mine, plain = audit_log_asset(destination), Asset(destination)
    assert (mine.uri, mine.name) == (plain.uri, plain.name)


@pytest.mark.parametrize("place", ["s3://audit", "gs://audit/x", "abfs://my_conn@audit/x", "/data/x", "file:///data/x"])
def test_valid_destination_is_accepted(place: str) -> None:
    """Accepts a bucket, a container or an absolute folder."""
    assert is_a_place(place)


@pytest.mark.parametrize(
    "nowhere",
    [
        "",
        "/",
        "relative/x",
        "file://host/x",
        "s3://",
        "s3:///x",
        "abfs://audit@account.dfs.core.windows.net/x",
        "abfss://audit@account.dfs.core.windows.net/x",
    ],
)
def test_destination_without_bucket_or_folder_is_rejected(task_setup: TaskSetup, nowhere: str) -> None:
    """Rejects it before anything is written."""
    assert not is_a_place(nowhere)
    with pytest.raises(ConfigurationError, match="names neither a bucket nor an absolute folder"):
        store_from_connection(nowhere, None)
    assert task_setup.tree() == {}


def test_manifest_uri_has_no_connection_id(task_setup: TaskSetup) -> None:
    """The manifest's URI has no connection id either."""
    summary = task_setup.land(destination=f"file://my_conn@{task_setup.destination}")
    assert summary["manifest_uri"].startswith(dataset_uri(str(task_setup.destination)) + "/_manifests/")
