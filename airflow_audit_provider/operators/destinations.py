"""Destinations of operators: a URI and a connection → a store.

Knows: Airflow's object storage paths and their connections. Must not know: what is stored.
Its one rule: a destination that names no place, or cannot be opened, is a ``ConfigurationError`` with the mend.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

from airflow_audit_provider.adapters.storage import open_store
from airflow_audit_provider.assets.audit_logs import dataset_uri, is_a_place
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import ConfigurationError


def open_destination(destination: str, conn_id: str | None) -> Store:
    """Return the store at a destination; nothing is asked of it yet."""
    if not is_a_place(destination):
        raise ConfigurationError(
            f"The destination {destination!r} names no place. Give a bucket, a container without its account, or "
            "an absolute folder."
        )
    try:
        path = ObjectStoragePath(destination, conn_id=conn_id)
        return open_store(path.fs, path.path)
    except (ValueError, ImportError, AirflowNotFoundException) as error:
        raise ConfigurationError(
            f"The destination {dataset_uri(destination)} cannot be opened ({error}). Check its scheme, "
            "install the provider of that store, and check destination_conn_id."
        ) from error
