"""Destinations of operators: their stable URI, and the store behind a URI and a connection.

Parsing a DAG needs the URI alone, so the store's imports wait until a task runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from airflow_audit_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow_audit_provider.core.ports import Store

_AZURE_HOSTS = (".core.windows.net", ".fabric.microsoft.com")


def dataset_uri(destination: str) -> str:
    """Return a destination's URI without user, password, connection id, query and trailing slash.

    A path without a scheme is a local file: ``/data/audit`` is ``file:///data/audit``.
    """
    if "://" not in destination:
        destination = f"file://{destination}"
    parts = urlsplit(destination)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))


def is_a_place(destination: str) -> bool:
    """Say whether a destination names a bucket or an absolute folder; an empty template and ``relative/x`` do not.

    Nor does ``abfs://container@account.dfs.core.windows.net/x``: to Airflow the container is a connection id there.
    """
    parts = urlsplit(dataset_uri(destination))
    if parts.scheme == "file":
        return not parts.netloc and bool(parts.path.strip("/"))
    return bool(parts.netloc) and not parts.netloc.endswith(_AZURE_HOSTS)


def store_from_connection(destination: str, conn_id: str | None) -> Store:
    """Return the store at a destination; nothing is asked of it yet."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

    from airflow_audit_provider.adapters.storage.fsspec_store import store_from_filesystem

    if not is_a_place(destination):
        raise ConfigurationError(
            f"The destination {destination!r} names no place. Give a bucket, a container without its account, or "
            "an absolute folder."
        )
    try:
        path = ObjectStoragePath(destination, conn_id=conn_id)
        return store_from_filesystem(path.fs, path.path)
    except (ValueError, ImportError, AirflowNotFoundException) as error:
        raise ConfigurationError(
            f"The destination {dataset_uri(destination)} cannot be opened ({error}). Check its scheme, "
            "install the provider of that store, and check destination_conn_id."
        ) from error
