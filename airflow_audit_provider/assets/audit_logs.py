"""The asset of an audit log dataset: one stable URI for a destination, without credentials or connection ids.

Knows: Airflow's assets, what an object storage URI looks like. Must not know: windows, manifests.
Its one rule: the same place is the same asset, whoever wrote it by whichever connection.
"""

from __future__ import annotations

import string
from urllib.parse import quote, urlsplit, urlunsplit

from airflow.sdk import Asset

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


def audit_log_asset(destination: str) -> Asset:
    """Return the asset that stands for all windows below a destination; use it in ``schedule`` and ``outlets``."""
    # Airflow before 3.3 takes nothing but ASCII.
    uri = quote(dataset_uri(destination), safe=string.printable)
    return Asset(uri=uri, name=uri, group="cloudflare-audit-logs")
