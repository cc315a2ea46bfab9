"""Opening a destination imports the library of its own store alone, and gives what Airflow would have given."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module, metadata
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach, get_fs

from airflow_audit_provider._airflow import file_systems
from airflow_audit_provider._airflow.destinations import store_from_connection
from airflow_audit_provider._airflow.file_systems import PROVIDER_SCHEMES, attach_file_system
from airflow_audit_provider.adapters.storage.fsspec_store import FsspecStore, LocalStore
from airflow_audit_provider.adapters.storage.lake_store import LakeStore
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import ConfigurationError

CONNECTIONS: dict[str, dict[str, Any]] = {
    "s3": {"conn_type": "aws", "login": "AKIAEXAMPLE", "password": "secret", "extra": {"region_name": "eu-west-1"}},
    "abfs": {
        "conn_type": "wasb",
        "extra": {"connection_string": "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=c2VjcmV0"},
    },
}
LIBRARIES = {"s3": {"s3fs", "boto3"}, "gs": {"gcsfs"}, "abfs": {"adlfs"}}
_SCRIPT = """
import json, sys
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, ObjectStoragePath
import airflow_audit_provider.operators.audit_logs
before = set(sys.modules)
from airflow_audit_provider._airflow.destinations import store_from_connection
store_from_connection(sys.argv[1], None)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.fixture(params=sorted(CONNECTIONS))
def connected(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Returns a scheme and the id of a connection for it that no other test uses."""
    scheme, name = request.param, f"file_systems_{abs(hash(request.node.nodeid))}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(CONNECTIONS[scheme]))
    return scheme, name


@pytest.mark.integration
@pytest.mark.parametrize(
    "destination",
    ["file:///data/audit", "s3://bucket/audit", pytest.param("gs://bucket/audit", marks=pytest.mark.nightly)],
)
def test_opening_a_destination_imports_the_library_of_its_store_alone(destination: str) -> None:
    """A local destination imports few modules and no provider; another one imports no store but its own."""
    answer = subprocess.run(
        [sys.executable, "-c", _SCRIPT, destination], check=True, capture_output=True, text=True
    ).stdout
    added = set(json.loads(answer.splitlines()[-1]))
    scheme = destination.partition(":")[0]
    stores = set().union(*LIBRARIES.values()) | {"pandas"}
    assert added & stores == LIBRARIES.get(scheme, set())
    assert {module for module in PROVIDER_SCHEMES if module in added} == {
        module for module, schemes in PROVIDER_SCHEMES.items() if scheme in schemes
    }
    if scheme == "file":
        assert len(added) <= 60


@pytest.mark.integration
def test_providers_state_the_schemes_that_the_table_states() -> None:
    """A new scheme or module of Airflow's providers is noticed here; until then Airflow opens such paths."""
    installed = [module for module in file_systems._installed_modules() if module.startswith("airflow.providers.")]
    assert len(installed) >= 4
    assert {module: frozenset(import_module(module).schemes) for module in installed} == PROVIDER_SCHEMES


@pytest.mark.integration
def test_attached_file_system_is_the_one_that_airflow_creates(connected: tuple[str, str]) -> None:
    """Class and credentials are those of the connection, and Airflow's own paths use the same object."""
    scheme, conn_id = connected
    expected = get_fs(scheme, conn_id)
    attach_file_system(f"{scheme}://bucket/audit", conn_id)
    attached = ObjectStoragePath(f"{scheme}://bucket/audit", conn_id=conn_id).fs
    assert attached is attach(scheme, conn_id).fs
    assert type(attached) is type(expected)
    assert _options(attached) == _options(expected)
    assert attached is ObjectStoragePath(f"{scheme}://{conn_id}@bucket/other").fs


def _options(file_system: Any) -> dict[str, str]:
    """Returns the settings of a file system as text; objects such as a session are compared by class."""
    options: dict[str, Any] = file_system.storage_options
    plain = (str, int, bool, dict, type(None))
    return {name: repr(value) if isinstance(value, plain) else repr(type(value)) for name, value in options.items()}


@pytest.mark.integration
def test_destination_with_a_connection_is_opened_by_it(connected: tuple[str, str]) -> None:
    """A destination that names its connection in the URI uses the same file system."""
    scheme, conn_id = connected
    store = _home_of(store_from_connection(f"{scheme}://{conn_id}@bucket/audit", None))
    assert isinstance(store, FsspecStore)
    assert store._fs is ObjectStoragePath(f"{scheme}://bucket/audit", conn_id=conn_id).fs


def _home_of(store: Store) -> Store:
    """Returns the store of the destination itself; the parts of a dataset may be in Security Lake."""
    assert isinstance(store, LakeStore)
    return store.home


def test_local_destination_is_the_file_system_of_airflow() -> None:
    """A local path has the same class with the same settings."""
    assert isinstance(_home_of(store_from_connection("file:///data/audit", None)), LocalStore)
    expected = get_fs("file")
    attached = attach("file").fs
    assert (type(attached), attached.storage_options) == (type(expected), expected.storage_options)


def test_attached_file_system_is_kept() -> None:
    """What a DAG author attached is not replaced."""
    own = get_fs("file")
    attach("s3", "file_systems_own", fs=own)
    attach_file_system("s3://bucket", "file_systems_own")
    assert attach("s3", "file_systems_own").fs is own


@pytest.mark.parametrize(
    "installed",
    [
        [],
        ["airflow.providers.amazon.aws.fs.s3", "other_provider.fs"],
        ["airflow.providers.google.cloud.fs.gcs"],
        ["airflow.providers.microsoft.azure.fs.msgraph"],
    ],
)
def test_uncertain_scheme_is_left_to_airflow(installed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the one known module of a scheme, or with a module of unknown schemes, Airflow chooses."""
    monkeypatch.setattr(file_systems, "_installed_modules", lambda: iter(installed))
    scheme = "sharepoint" if "msgraph" in "".join(installed) else "s3"
    conn_id = f"file_systems_{len(installed)}_{scheme}"
    attach_file_system(f"{scheme}://bucket", conn_id)
    with pytest.raises(ValueError, match="No registered store"):
        attach(alias=f"{scheme}-{conn_id}")


def test_two_connection_ids_are_left_to_airflow() -> None:
    """Which of two ids counts depends on Airflow's version."""
    attach_file_system("file://file_systems_a@/data", "file_systems_b")
    for conn_id in ("file_systems_a", "file_systems_b"):
        with pytest.raises(ValueError, match="No registered store"):
            attach(alias=f"file-{conn_id}")


@pytest.mark.integration
def test_missing_connection_is_an_error_that_names_it() -> None:
    """The error is the same as before."""
    with pytest.raises(ConfigurationError, match="'file_systems_none' of the destination abfs://bucket does not exist"):
        store_from_connection("abfs://bucket", "file_systems_none")


def test_every_installed_provider_is_asked_for_its_file_systems() -> None:
    """Modules of all providers count, also those of other authors."""
    declared = [
        module
        for point in metadata.entry_points(group="apache_airflow_provider")
        for module in point.load()().get("filesystems", [])
    ]
    assert list(file_systems._installed_modules()) == declared
