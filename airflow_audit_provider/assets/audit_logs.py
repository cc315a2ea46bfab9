"""Assets of audit log datasets: one stable URI for a destination, without credentials or connection ids.

Invariant: the same place is the same asset, whichever connection writes it.
"""

from __future__ import annotations

import string
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

from airflow_audit_provider._airflow.destinations import dataset_uri

_GROUP = "cloudflare-audit-logs"


def audit_log_asset(destination: str) -> Asset:
    """Returns the asset of all windows below a destination, for ``schedule`` and ``outlets``."""
    uri = _ascii_uri(destination)
    return Asset(uri=uri, name=uri, group=_GROUP)


def audit_log_gap_asset(destination: str) -> Asset:
    """Returns the asset whose events are the gaps of a destination, for ``schedule``; its URI names no object."""
    uri = f"{_ascii_uri(destination)}/_gaps"
    return Asset(uri=uri, name=uri, group=_GROUP)


def audit_log_gap_alias(destination: str) -> AssetAlias:
    """Returns the outlet with which the coverage operator creates one event of the gap asset for each gap.

    An asset as outlet would get an event from each run, also from one that finds no gap.
    """
    return AssetAlias(name=f"gaps of {_ascii_uri(destination)}", group=_GROUP)


def audit_log_alert_asset(destination: str) -> Asset:
    """Returns the asset whose events are the alerts about records of a destination, for ``schedule``."""
    uri = f"{_ascii_uri(destination)}/_detections"
    return Asset(uri=uri, name=uri, group=_GROUP)


def audit_log_alert_alias(destination: str) -> AssetAlias:
    """Returns the outlet with which the detect operator creates an event of the alert asset in a run with alerts."""
    return AssetAlias(name=f"alerts of {_ascii_uri(destination)}", group=_GROUP)


def _ascii_uri(destination: str) -> str:
    # Airflow before 3.3 accepts only ASCII.
    return quote(dataset_uri(destination), safe=string.printable)
