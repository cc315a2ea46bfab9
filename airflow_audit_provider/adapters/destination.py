"""A destination by its URI alone: any place fsspec knows, opened without Airflow.

Knows: fsspec's URIs. Must not know: Airflow's connections, what lies there.
Its one rule: nothing is made or asked by opening; credentials are those of the machine, as fsspec finds them.
"""

from __future__ import annotations

import fsspec

from airflow_audit_provider.adapters.storage import FsspecStore, LocalStore, open_store
from airflow_audit_provider.exceptions import ConfigurationError


def store_at(uri: str) -> FsspecStore | LocalStore:
    """Return the store at a URI or a local folder; raise ``ConfigurationError`` for one that cannot be opened."""
    try:
        fs, root = fsspec.core.url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(
            f"The destination cannot be opened ({error}). Check its scheme, and install the fsspec library of that "
            "store, such as s3fs, gcsfs or adlfs."
        ) from error
    return open_store(fs, root)
