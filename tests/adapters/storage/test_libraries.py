"""A missing library of an object store is reported with the command that installs it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import util
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from airflow_audit_provider._airflow.destinations import store_from_connection
from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.adapters.storage.libraries import require_store_library, store_remedy
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToIcebergOperator

STORES = [
    ("s3://audit/x", "s3fs", "s3"),
    ("S3A://audit/x", "s3fs", "s3"),
    ("s3://conn@audit/x", "s3fs", "s3"),
    ("gs://audit/x", "gcsfs", "gcs"),
    ("gcs://audit/x", "gcsfs", "gcs"),
    ("abfs://audit/x", "adlfs", "azure"),
    ("abfss://audit/x", "adlfs", "azure"),
    ("az://audit/x", "adlfs", "azure"),
]
each_store = pytest.mark.parametrize(("destination", "library", "extra"), STORES, ids=[uri for uri, *_ in STORES])
OPERATORS: list[Callable[[str], Any]] = [
    lambda destination: CloudflareAuditLogsToObjectStorageOperator(
        task_id="land", destination=destination, window_length=timedelta(days=1)
    ),
    lambda destination: CloudflareAuditLogsVerifyOperator(task_id="verify", destination=destination),
    lambda destination: CloudflareAuditLogsSealOperator(task_id="seal", destination=destination),
    lambda destination: CloudflareAuditLogsToIcebergOperator(task_id="load", destination=destination, table="a.b"),
]
each_operator = pytest.mark.parametrize("operator", OPERATORS, ids=["land", "verify", "seal", "load"])


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a library look like one that is not installed."""
    known = util.find_spec

    def lack(library: str) -> None:
        def find(name: str) -> ModuleSpec | None:
            return None if name == library else known(name)

        monkeypatch.setattr("airflow_audit_provider.adapters.storage.libraries.find_spec", find)

    return lack


@each_store
def test_missing_library_is_reported_with_its_extra(
    lacking: Callable[[str], None], destination: str, library: str, extra: str
) -> None:
    """The error names the library and the command to run, for the task and for the command line."""
    lacking(library)
    for open_store in (require_store_library, store_from_uri, lambda uri: store_from_connection(uri, None)):
        with pytest.raises(ConfigurationError) as caught:
            open_store(destination)
        assert f"the {library} library" in str(caught.value)
        assert f"Run: pip install 'airflow-audit-provider[{extra}]'." in str(caught.value)


@each_operator
def test_operator_is_rejected_when_the_dag_is_parsed(
    lacking: Callable[[str], None], operator: Callable[[str], Any]
) -> None:
    """A DAG file shows the error when it is parsed, before any run."""
    lacking("s3fs")
    with pytest.raises(ConfigurationError, match=r"airflow-audit-provider\[s3\]"):
        operator("s3://audit/x")


@each_operator
@pytest.mark.parametrize("destination", ["/data/x", "file:///data/x", "gs://audit/x", "{{ params.place }}"])
def test_other_destinations_are_accepted(
    lacking: Callable[[str], None], operator: Callable[[str], Any], destination: str
) -> None:
    """Only the destination's own library is required; a template is read when the task runs."""
    lacking("s3fs")
    assert operator(destination).destination == destination


def test_installed_library_is_accepted() -> None:
    """The libraries of the three stores are in the environment of the tests."""
    for destination, *_ in STORES:
        require_store_library(destination)


def test_command_line_names_the_extra(lacking: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with the same sentence."""
    lacking("s3fs")
    assert main(["verify", "s3://audit/x"]) != 0
    assert "Run: pip install 'airflow-audit-provider[s3]'." in capsys.readouterr().err


def test_missing_provider_is_reported_with_its_extra() -> None:
    """An extra also installs the store's Airflow provider; an unknown scheme has no extra."""
    assert "airflow-audit-provider[gcs]" in store_remedy("gs://audit")
    assert "pip install" not in store_remedy("nosuch://audit")
