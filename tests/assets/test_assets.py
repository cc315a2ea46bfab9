"""One place is one asset, by whichever connection and spelling it is reached."""

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
    ("s3://audit/cloudflare", ["s3://audit/cloudflare?region=x#top", "s3://my_conn@audit/cloudflare//"]),
    ("s3://audit/", ["s3://audit", "s3://my_conn@audit", "s3://my_conn@audit//"]),
    ("gs://audit/cloudflare", ["gs://my_conn@audit/cloudflare/"]),
    ("abfs://audit/cloudflare", ["abfs://my_conn@audit/cloudflare/"]),
    ("file:///data/audit", ["/data/audit", "/data/audit/", "file:///data/audit/", "file://my_conn@/data/audit"]),
    ("file:///data/pr%C3%BCfung", ["/data/prüfung", "file:///data/prüfung/"]),
]


@pytest.mark.parametrize(("uri", "spellings"), SAME)
def test_one_place_is_one_asset(uri: str, spellings: list[str]) -> None:
    """Connection ids, credentials, queries and slashes are no part of an asset, and Airflow changes nothing of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assets = [audit_log_asset(spelling) for spelling in spellings]
    assert {asset.uri for asset in assets} == {uri}
    assert len({asset.name for asset in assets}) == 1
    assert all(asset.name.isascii() and asset.name.rstrip("/") == uri.rstrip("/") for asset in assets)


@pytest.mark.parametrize("destination", ["s3://a/b", "gs://a/b", "abfs://a/b", "file:///a/b"])
def test_the_asset_is_what_a_user_writes(destination: str) -> None:
    """A consumer may name the place plainly instead of calling our function."""
    mine, plain = audit_log_asset(destination), Asset(destination)
    assert (mine.uri, mine.name) == (plain.uri, plain.name)


@pytest.mark.parametrize("place", ["s3://audit", "gs://audit/x", "abfs://my_conn@audit/x", "/data/x", "file:///data/x"])
def test_a_place_is_told(place: str) -> None:
    """A bucket, a container or an absolute folder is a place."""
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
def test_nowhere_is_told(task_setup: TaskSetup, nowhere: str) -> None:
    """A destination that names no bucket and no absolute folder is rejected before anything is written."""
    assert not is_a_place(nowhere)
    with pytest.raises(ConfigurationError, match="names neither a bucket nor an absolute folder"):
        store_from_connection(nowhere, None)
    assert task_setup.tree() == {}


def test_a_manifest_lies_below_the_dataset(task_setup: TaskSetup) -> None:
    """The manifest's URI has no connection id either."""
    summary = task_setup.land(destination=f"file://my_conn@{task_setup.destination}")
    assert summary["manifest_uri"].startswith(dataset_uri(str(task_setup.destination)) + "/_manifests/")
