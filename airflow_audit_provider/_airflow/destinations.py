"""Destinations of operators: their stable URI, and the object store behind a URI and a connection.

Parsing a DAG needs the URI alone, so the object store is imported when a task runs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlunsplit

from airflow_audit_provider.adapters.storage.libraries import require_store_library, store_remedy
from airflow_audit_provider.adapters.storage.uris import AZURE_HOSTS, check_path, split_uri, without_login
from airflow_audit_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow_audit_provider.adapters.storage.read_bounds import ReadBounds
    from airflow_audit_provider.core.ports import Store


# Where the coverage page is on Airflow's own host, below the path of `[api] base_url`.
PAGE_PREFIX = "/cloudflare-audit-logs"
# Other names of a store's scheme that Airflow's providers know.
_SAME_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs", "adl": "abfs"}


def dataset_uri(destination: str) -> str:
    """Returns a destination's URI without user, password, connection id and trailing slash.

    One place has one such URI, and two places have two. A path without a scheme is a local file: ``/data/audit`` is
    ``file:///data/audit``. Raises ``ConfigurationError`` for a URI that does not name one place.
    """
    parts = split_uri(destination)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((_SAME_SCHEMES.get(parts.scheme, parts.scheme), place, parts.path.rstrip("/"), "", ""))


def local_dataset_uri(destination: str) -> str:
    """Returns a destination's URI as :func:`dataset_uri` does; a path without a scheme may be relative."""
    return dataset_uri(destination if "://" in destination else str(Path(destination).absolute()))


def dataset_id(uri: str) -> str:
    """Returns the name of a dataset in addresses of the coverage page: a digest of its URI, see :func:`dataset_uri`."""
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def is_a_place(destination: str) -> bool:
    """Returns whether a destination names a bucket or an absolute folder; an empty text and ``relative/x`` do not.

    ``abfs://container@account.dfs.core.windows.net/x`` does not either: Airflow reads the part before ``@`` as a
    connection id.
    """
    parts = split_uri(dataset_uri(destination))
    if parts.scheme == "file":
        return not parts.netloc and bool(parts.path.strip("/"))
    return bool(parts.netloc) and not parts.netloc.endswith(AZURE_HOSTS)


def check_destination(destination: object) -> None:
    """Raises ``ConfigurationError`` when a DAG is parsed for a destination that no run can use.

    That is a URI that does not name one place, or whose store's library is not installed. A template and another task's
    output are checked when the task runs.
    """
    if isinstance(destination, str):
        require_store_library(destination)
        if "{" not in destination:
            split_uri(destination)


def require_place(destination: object) -> None:
    """Raises ``ConfigurationError`` for a rendered destination that is no text, or names no bucket or folder."""
    if not isinstance(destination, str):
        raise ConfigurationError(
            f"The destination is a {type(destination).__name__}. Set it to the text of a URI, such as "
            "s3://bucket/folder."
        )
    if not is_a_place(destination):
        raise ConfigurationError(
            f"The destination {without_login(destination)!r} names neither a bucket nor an absolute folder. Set it to "
            "a URI such as s3://bucket/folder, abfs://container/folder (without the storage account) or "
            "file:///absolute/folder."
        )


def store_from_connection(
    destination: str, conn_id: str | None, bounds: ReadBounds | None = None, lake_bucket: str | None = None
) -> Store:
    """Returns the object store at a destination, without a request to it.

    With bounds it raises ``ReadLimitExceededError`` for what is beyond them. ``lake_bucket`` is the bucket of Security
    Lake that has the parts, if the caller knows it; it is opened with the destination's connection.
    """
    from airflow_audit_provider.adapters.storage.lake_store import LakeStore

    home = _store_at(destination, conn_id, bounds)
    used_conn_id = conn_id or split_uri(destination).netloc.rpartition("@")[0] or None
    return LakeStore(home, lambda bucket: _store_at(bucket, used_conn_id, bounds), lake_bucket)


def _store_at(destination: str, conn_id: str | None, bounds: ReadBounds | None) -> Store:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

    from airflow_audit_provider._airflow.file_systems import attach_file_system
    from airflow_audit_provider.adapters.storage.fsspec_store import store_from_filesystem

    require_place(destination)
    require_store_library(destination)
    _check_connection(conn_id or split_uri(destination).netloc.rpartition("@")[0])
    try:
        attach_file_system(destination, conn_id)
        path = ObjectStoragePath(destination, conn_id=conn_id)
        check_path(destination, path.path)
        return store_from_filesystem(path.fs, path.path, bounds)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"Connection {conn_id!r} of the destination {dataset_uri(destination)} does not exist. Create it with the "
            "type of the object store, or correct destination_conn_id."
        ) from error
    except (ValueError, ImportError) as error:
        raise ConfigurationError(
            f"The destination {dataset_uri(destination)} cannot be opened ({error}). {store_remedy(destination)}"
        ) from error


def _check_connection(conn_id: str) -> None:
    """Raises ``ConfigurationError`` for a connection whose extra is no object.

    Airflow's S3 provider goes on without a connection that does not exist, so that ``aws_default`` need not.
    """
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    from airflow_audit_provider._airflow.connection import check_extra

    if not conn_id:
        return
    try:
        conn = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return
    check_extra(conn_id, conn)
