"""Assets of audit log datasets: one stable URI for a destination, without credentials or connection ids.

Invariant: the same place is the same asset, whichever connection writes it.
"""

from __future__ import annotations

import string
from urllib.parse import quote

from airflow.sdk import Asset

from airflow_audit_provider._airflow.destinations import dataset_uri


def audit_log_asset(destination: str) -> Asset:
    """Returns the asset of all windows below a destination, for ``schedule`` and ``outlets``."""
    # Airflow before 3.3 accepts only ASCII.
    uri = quote(dataset_uri(destination), safe=string.printable)
    return Asset(uri=uri, name=uri, group="cloudflare-audit-logs")
