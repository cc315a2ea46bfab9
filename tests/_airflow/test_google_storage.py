"""A Google connection opens the same file system without Airflow's Google provider, or names the provider."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import get_fs, store

from airflow_audit_provider._airflow import file_systems
from airflow_audit_provider._airflow.destinations import store_from_connection
from airflow_audit_provider._airflow.file_systems import attach_file_system
from airflow_audit_provider._airflow.google_storage import google_file_system
from airflow_audit_provider.exceptions import ConfigurationError

pytestmark = pytest.mark.integration
PROVIDER = "airflow.providers.google.cloud.fs.gcs"


@cache
def service_account() -> dict[str, str]:
    """Returns the content of a key file with a key of its own."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "type": "service_account",
        "project_id": "project-of-the-key",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "audit@project-of-the-key.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.invalid/token",
    }


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """Returns the path of a key file."""
    path = tmp_path / "key.json"
    path.write_text(json.dumps(service_account()))
    return str(path)


@pytest.fixture
def without_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes Google's provider one that is not installed."""
    monkeypatch.setitem(sys.modules, PROVIDER, None)
    others = [module for module in file_systems._installed_modules() if module != PROVIDER]
    monkeypatch.setattr(file_systems, "_installed_modules", lambda: iter(others))
    monkeypatch.setattr(store, "_STORE_CACHE", {})


def connect(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> str:
    """Creates a Google connection with an extra; returns its id."""
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE", json.dumps({"conn_type": "google_cloud_platform", "extra": extra}))
    return "google"


def options_of(file_system: Any) -> dict[str, Any]:
    """Returns class, options and credentials of a file system; options at their defaults are left out."""
    credentials = file_system.credentials.credentials
    options = {name: value for name, value in file_system.storage_options.items() if name != "token"}
    defaults = {"access": "full_control", "consistency": "none", "requester_pays": False, "version_aware": False}
    return {
        "class": type(file_system),
        "credentials": type(credentials).__name__,
        "email": getattr(credentials, "service_account_email", None),
        "scopes": list(getattr(credentials, "scopes", ())),
        "options": {name: value for name, value in options.items() if value and defaults.get(name) != value},
    }


EXTRAS: list[dict[str, Any]] = [
    {"keyfile_dict": "DICT"},
    {"keyfile_dict": "TEXT", "project": "another", "num_retries": 3},
    {"key_path": "FILE", "scope": "https://www.googleapis.com/auth/devstorage.read_write, https://example.com/other"},
    {"extra__google_cloud_platform__key_path": "FILE", "keyfile_dict": "", "impersonation_chain": ""},
    {"key_path": "FILE", "gcs.endpoint": "http://127.0.0.1:9", "gcs.version-aware": "TRUE", "gcs.access": "read_only"},
    {"key_path": "FILE", "gcs.requester-pays": True, "gcs.cache-timeout": 3, "gcs.session-kwargs": {"trust_env": True}},
]


@pytest.mark.parametrize("extra", EXTRAS, ids="+".join)
def test_connection_gives_the_file_system_of_googles_provider(
    extra: dict[str, Any], key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials, scopes, project and options are those that the provider gives gcsfs."""
    escaped = service_account() | {"private_key": service_account()["private_key"].replace("\n", "\\n")}
    values = {"DICT": service_account(), "TEXT": json.dumps(escaped), "FILE": key_file}
    used = {name: values.get(value, value) if isinstance(value, str) else value for name, value in extra.items()}
    conn_id = connect(monkeypatch, used)
    expected = options_of(get_fs("gs", conn_id))
    assert expected["email"] == service_account()["client_email"]
    assert options_of(google_file_system(conn_id)) == expected


def test_anonymous_connection_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """An anonymous connection uses no key, whatever else it has."""
    conn_id = connect(monkeypatch, {"is_anonymous": True, "project": "test", "key_path": "/missing.json"})
    file_system = google_file_system(conn_id)
    assert file_system.credentials.credentials is None
    assert file_system.project == "test"


def test_connection_without_a_key_uses_the_default_credentials(key_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials are those of GOOGLE_APPLICATION_CREDENTIALS, as the provider uses them."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key_file)
    conn_id = connect(monkeypatch, {})
    found = google_file_system(conn_id)
    assert options_of(found) == options_of(get_fs("gs", conn_id))
    assert found.project == "project-of-the-key"


@pytest.mark.parametrize("scheme", ["gs", "gcs"])
@pytest.mark.usefixtures("without_provider")
def test_destination_is_opened_without_googles_provider(
    scheme: str, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination with a connection, and one without, are opened by gcsfs, also for Airflow's own paths."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key_file)
    conn_id = connect(monkeypatch, {"keyfile_dict": service_account(), "project": "of-connection"})
    store_from_connection(f"{scheme}://bucket/audit", conn_id)
    assert ObjectStoragePath(f"{scheme}://bucket/audit", conn_id=conn_id).fs.project == "of-connection"
    store_from_connection(f"{scheme}://bucket/audit", None)
    assert ObjectStoragePath(f"{scheme}://bucket/audit").fs.project == "project-of-the-key"


@pytest.mark.usefixtures("without_provider")
@pytest.mark.parametrize(("schemes", "attached"), [(["gs"], False), (["other"], True)])
def test_provider_of_another_author_that_serves_google_storage_is_left_to_airflow(
    schemes: list[str], attached: bool, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another provider states the scheme, Airflow opens the path; if it states others, gcsfs is used."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key_file)
    monkeypatch.setitem(sys.modules, "other_provider_fs", SimpleNamespace(schemes=schemes))
    monkeypatch.setattr(file_systems, "_installed_modules", lambda: iter(["other_provider_fs"]))
    attach_file_system("gs://bucket", None)
    assert ("gs" in store._STORE_CACHE) is attached


@pytest.mark.usefixtures("without_provider")
@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"impersonation_chain": "a@b"}, "'impersonation_chain'.*pip install apache-airflow-providers-google"),
        ({"extra__google_cloud_platform__key_secret_name": "x"}, "'key_secret_name'.*apache-airflow-providers-google"),
        ({"key_path": "/a.json", "keyfile_dict": {"a": 1}}, "both 'key_path' and 'keyfile_dict'"),
        ({"key_path": "/missing/key.json"}, r"'key_path' of connection 'google' has no key.*\(FileNotFoundError\)"),
        ({"keyfile_dict": '{"private_key": "s3cret"'}, r"'keyfile_dict' of connection.*\(JSONDecodeError\)"),
        ({"keyfile_dict": '["s3cret"]'}, r"'keyfile_dict' of connection.*\(ValueError\)"),
        ({"keyfile_dict": "5"}, r"'keyfile_dict' of connection.*\(TypeError\)"),
        ({"keyfile_dict": {"private_key": "s3cret"}}, r"'keyfile_dict' of connection.*\(MalformedError\)"),
    ],
)
def test_unusable_connection_is_an_error_that_names_its_field(
    extra: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field that only the provider understands names the provider; an invalid key names its field, not its value."""
    conn_id = connect(monkeypatch, extra)
    with pytest.raises(ConfigurationError, match=message) as caught:
        store_from_connection("gs://bucket/audit", conn_id)
    assert "s3cret" not in str(caught.value)


@pytest.mark.usefixtures("without_provider")
def test_missing_connection_of_google_storage_is_an_error_that_names_it() -> None:
    """The error is that of every other store."""
    with pytest.raises(ConfigurationError, match="'nowhere' of the destination gs://bucket does not exist"):
        store_from_connection("gs://bucket", "nowhere")


def test_key_path_that_is_a_number_closes_no_open_file(key_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python takes a number for an open file, reads it, and closes it: it may be a socket of Airflow's API server."""
    with Path(key_file).open("rb") as opened:
        conn_id = connect(monkeypatch, {"key_path": opened.fileno()})
        with pytest.raises(
            ConfigurationError, match=r"'key_path' of connection 'google' has no key.*FileNotFoundError"
        ):
            google_file_system(conn_id)
        assert opened.read()
