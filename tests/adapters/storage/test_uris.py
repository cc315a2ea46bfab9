"""Tests of the URIs that name one place for every library, and of those that are refused because they do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import pytest
from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.destinations import check_destination, dataset_uri
from airflow_audit_provider._airflow.warehouses import open_iceberg_warehouse
from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.adapters.storage.uris import check_path, split_uri, without_login
from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from airflow_audit_provider.operators.warehouses import (
    CloudflareAuditLogsToDeltaOperator,
    CloudflareAuditLogsToIcebergOperator,
    CloudflareAuditLogsToSqlOperator,
)

REFUSED_NAMES = [
    "x#A",
    "x?A",
    "x#",
    "x?",
    "x%20y",
    "x%2Fy",
    "100%",
    "x\\y",
    "x::y",
    "x*",
    "x[a]",
    "x/../y",
    "..",
    "x/./y",
    "x//y",
    "x\ty",
    "x\ny",
    "x\n",
    "x ",
    "x\u2028y",
    "x\udc80y",
]
PREFIXES = ["/data/", "file:///data/", "s3://audit/", "s3://my_conn@audit/", "gs://audit/", "abfs://audit/"]
ACCEPTED_NAMES = [
    "x",
    "x y",
    "x;y",
    "x,y",
    "prüfung",
    "監査",
    "x&y=1",
    "x+y",
    "x:8",
    "x@y",
    "...",
    "x..y",
    "~",
    "x'y",
]
refused_names = pytest.mark.parametrize("name", REFUSED_NAMES)
prefixes = pytest.mark.parametrize("prefix", PREFIXES)


@refused_names
@prefixes
def test_uri_that_libraries_read_differently_is_refused(prefix: str, name: str) -> None:
    """Asset, dataset name, the check at DAG parse and the command line refuse it, with what is wrong in it."""
    for refuse in (audit_log_asset, dataset_uri, check_destination):
        with pytest.raises(ConfigurationError, match="does not name the same place for every library"):
            refuse(prefix + name)
    if prefix.startswith("file"):
        with pytest.raises(ConfigurationError, match="does not name the same place for every library"):
            store_from_uri(prefix + name)


@pytest.mark.parametrize("bucket", ["[audit", "audit℀", "au%dit", "..", "a\\b", "a::b"])
def test_bucket_that_libraries_read_differently_is_refused(bucket: str) -> None:
    """A name that the standard library cannot parse is a named error, too."""
    for place in (f"s3://{bucket}", f"s3://{bucket}/x"):
        with pytest.raises(ConfigurationError, match="does not name the same place for every library"):
            audit_log_asset(place)


@pytest.mark.parametrize("name", ACCEPTED_NAMES)
@prefixes
def test_uri_of_a_plain_folder_is_read_alike(prefix: str, name: str) -> None:
    """Both fsspec and the standard library find the destination's path in the dataset's URI."""
    uri = dataset_uri(prefix + name)
    assert urlsplit(uri).path == fsspec.get_filesystem_class("file")._strip_protocol(f"file://{urlsplit(uri).path}")
    assert (urlsplit(uri).query, urlsplit(uri).fragment) == ("", "")
    assert uri.endswith(f"/{name}")
    check_destination(prefix + name)


@pytest.mark.integration
def test_different_folders_are_different_assets() -> None:
    """No two names become one when an asset's URI is written in ASCII."""
    uris = {audit_log_asset(f"s3://audit/{name}").uri for name in ACCEPTED_NAMES}
    assert len(uris) == len(ACCEPTED_NAMES)


@pytest.mark.parametrize(
    "operator",
    [
        CloudflareAuditLogsToObjectStorageOperator,
        CloudflareAuditLogsVerifyOperator,
        CloudflareAuditLogsSealOperator,
        CloudflareAuditLogsToSqlOperator,
        CloudflareAuditLogsToIcebergOperator,
        partial(CloudflareAuditLogsToDeltaOperator, table="/data/delta"),
    ],
)
@pytest.mark.parametrize("destination", ["s3://audit/x#A", "/data/x?A"])
def test_operator_refuses_such_a_destination_at_dag_parse(
    operator: Callable[..., BaseOperator], destination: str
) -> None:
    """Each operator with a destination shows the error before any run, and leaves a template for the run."""
    with pytest.raises(ConfigurationError, match="does not name the same place"):
        operator(task_id="t", destination=destination)
    operator(task_id="t", destination="{{ '/data/a#b'.partition('#')[0] }}")


@pytest.mark.parametrize("name", ["x#A", "x?A", "x%20y", "x::y", "x y"])
def test_local_folder_without_a_scheme_may_have_any_name(tmp_path: Path, name: str) -> None:
    """For the command line it is a path of the shell, and no URI."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "found").write_bytes(b"1")
    store = store_from_uri(str(tmp_path / name))
    assert isinstance(store, LocalStore)
    assert store.read("found") == b"1"


@pytest.mark.parametrize("uri", ["s3://my_conn@audit/x", "gs://my_conn@audit/x", "abfs://my_conn@audit/x"])
def test_connection_id_on_the_command_line_is_named(uri: str) -> None:
    """Without Airflow, the bucket would be taken to be ``my_conn@audit``."""
    with pytest.raises(ConfigurationError, match="only Airflow knows connections"):
        store_from_uri(uri)


def test_path_that_a_library_shortened_is_refused() -> None:
    """A library that opens another path than the URI's is found out before anything is written."""
    check_path("s3://audit/a/b/", "audit/a/b")
    check_path("file:///a/b", "/a/b")
    check_path("memory://audit", "/audit")
    with pytest.raises(ConfigurationError, match=r"reads the destination 's3://audit/a;b' as the path 'audit/a'"):
        check_path("s3://audit/a;b", "audit/a")


def test_message_about_a_uri_has_no_password() -> None:
    """What stands before the bucket is left out."""
    with pytest.raises(ConfigurationError) as caught:
        split_uri("s3://key:hidden@audit/x#A")
    assert "hidden" not in str(caught.value)
    assert without_login("s3://key:hidden@audit/x") == "s3://…@audit/x"
    assert without_login("/data/x@y") == "/data/x@y"


@pytest.mark.parametrize("name", ["w#1", "w?1", "w%20", "../w"])
def test_warehouse_folder_that_libraries_read_differently_is_refused(tmp_path: Path, name: str) -> None:
    """Two such folders would share one catalog."""
    with pytest.raises(ConfigurationError, match=r"warehouse .* does not name the same place"):
        open_iceberg_warehouse(None, None, f"{tmp_path}/{name}", "a.b")
    assert list(tmp_path.iterdir()) == []
