"""File system of Google Cloud Storage where Airflow's Google provider is not installed.

That provider requires about 100 libraries, of which a bucket needs gcsfs alone. Without it, gcsfs opens the bucket with
the application-default credentials, or with the key of a connection of type ``google_cloud_platform``.

Invariant: a field of a connection has the meaning that Airflow's Google provider gives it, or is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_audit_provider.exceptions import ConfigurationError

# https://airflow.apache.org/docs/apache-airflow-providers-google/stable/connections/gcp.html#configuring-the-connection
_PREFIX = "extra__google_cloud_platform__"
_DEFAULT_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_KEYS = ("key_path", "keyfile_dict")
# `num_retries` is for other services: the provider does not give it to gcsfs either.
_OTHERS = frozenset({"is_anonymous", "project", "scope", "num_retries"})
# Fields of the same extra that the provider passes on to gcsfs.
_OPTIONS = {
    "gcs.access": "access",
    "gcs.consistency": "consistency",
    "gcs.cache-timeout": "cache_timeout",
    "gcs.requester-pays": "requester_pays",
    "gcs.session-kwargs": "session_kwargs",
    "gcs.endpoint": "endpoint_url",
    "gcs.default-bucket-location": "default_location",
    "gcs.version-aware": "version_aware",
}


def google_file_system(conn_id: str | None) -> Any:
    """Returns the file system of a connection; without one, that of the application-default credentials.

    Raises ``ConfigurationError`` for a field that only Airflow's Google provider understands, and for an invalid key.
    """
    from airflow.providers.common.compat.sdk import BaseHook
    from gcsfs import GCSFileSystem

    if conn_id is None:
        return GCSFileSystem()
    fields = _fields(conn_id, BaseHook.get_connection(conn_id).extra_dejson)
    options = {option: fields[field] for field, option in _OPTIONS.items() if field in fields}
    if "version_aware" in options:
        options["version_aware"] = _is_true(options["version_aware"])
    token, project = _token(conn_id, fields)
    return GCSFileSystem(token=token, project=fields.get("project") or project, **options)


def _fields(conn_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that have a value; a field without the prefix of old connections takes precedence."""
    long = {name.removeprefix(_PREFIX): value for name, value in extra.items() if name.startswith(_PREFIX)}
    short = {name: value for name, value in extra.items() if not name.startswith(_PREFIX)}
    fields = {name: value for name, value in (long | short).items() if value not in (None, "")}
    unknown = sorted(fields.keys() - _OTHERS - _OPTIONS.keys() - set(_KEYS))
    if unknown:
        raise ConfigurationError(
            f"Connection {conn_id!r} has the field {unknown[0]!r} in its extra, which only Airflow's Google provider "
            "understands. Run: pip install apache-airflow-providers-google. Or remove the field."
        )
    return fields


def _token(conn_id: str, fields: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Returns what gcsfs takes as credentials, and their project."""
    if _is_true(fields.get("is_anonymous")):
        return "anon", None
    keys = [name for name in _KEYS if name in fields]
    scopes = [scope.strip() for scope in str(fields.get("scope", _DEFAULT_SCOPE)).split(",")]
    if len(keys) > 1:
        raise ConfigurationError(
            f"Connection {conn_id!r} has both 'key_path' and 'keyfile_dict' in its extra. Remove one of them."
        )
    if not keys:
        return _default_credentials(scopes)
    try:
        credentials = _credentials(keys[0], fields[keys[0]], scopes)
    except (ValueError, TypeError, OSError) as error:
        raise ConfigurationError(
            f"The field {keys[0]!r} of connection {conn_id!r} has no key of a Google service account "
            f"({type(error).__name__}). Set it to the JSON key file, or remove it to use the default credentials."
        ) from error
    return credentials, credentials.project_id


def _default_credentials(scopes: list[str]) -> tuple[Any, str | None]:
    import google.auth

    credentials, project = google.auth.default(scopes=scopes)
    return credentials, project


def _credentials(field: str, key: Any, scopes: list[str]) -> Any:
    """Returns the credentials of a service account, from a key file or its content."""
    from google.oauth2.service_account import Credentials

    if field == "key_path":
        # A number would be an open file of this process, which reading closes.
        return Credentials.from_service_account_file(str(key), scopes=scopes)
    account = dict(json.loads(key) if isinstance(key, str) else key)
    # Line breaks of the key that were escaped twice, as the provider accepts them.
    private_key = str(account.get("private_key", "")).replace("\\n", "\n")
    return Credentials.from_service_account_info(account | {"private_key": private_key}, scopes=scopes)


def _is_true(value: object) -> bool:
    """Returns whether a field is true, as JSON or as text."""
    return str(value).lower() == "true"
