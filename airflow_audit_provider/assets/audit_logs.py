"""The asset of an audit log dataset: one stable URI for a destination, without credentials or connection ids.

Knows: Airflow's assets, what an object storage URI looks like. Must not know: windows, manifests.
Its one rule: the same place is the same asset, whoever wrote it by whichever connection.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from airflow.providers.common.compat.sdk import Asset


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
    """Say whether a destination names a bucket or an absolute folder; an empty template and ``relative/x`` do not."""
    parts = urlsplit(dataset_uri(destination))
    if parts.scheme == "file":
        return not parts.netloc and bool(parts.path.strip("/"))
    return bool(parts.netloc)


def audit_log_asset(destination: str) -> Asset:
    """Return the asset that stands for all windows below a destination; use it in ``schedule`` and ``outlets``."""
    return Asset(uri=dataset_uri(destination), name=dataset_uri(destination), group="cloudflare-audit-logs")
