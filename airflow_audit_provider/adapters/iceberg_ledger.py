"""The load ledger of an Iceberg table, which has no second table in one commit: a table property for each window.

Knows: how an entry is spelled as a property, and as the facts in a snapshot's summary. Must not know: pyiceberg.
Its one rule: the property is what decides; the summary is for people, and goes when its snapshot expires.
"""

from __future__ import annotations

import hashlib

from airflow_audit_provider.core.keys import WindowKeys, window_in
from airflow_audit_provider.core.warehouse import LedgerEntry, LoadClaim
from airflow_audit_provider.core.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

_LEDGER = "audit.load"


def facts_of(claim: LoadClaim) -> dict[str, str]:
    """Return what a snapshot's summary says of the window it brought."""
    newest = claim.newest
    return {
        "audit.dataset": claim.dataset,
        "audit.window-start": claim.window.start.isoformat(),
        "audit.window-end": claim.window.end.isoformat(),
        "audit.generation": str(newest.generation),
        "audit.manifest-sha256": str(newest.manifest_sha256),
        "audit.record-count": str(newest.record_count),
    }


def ledger_prefix(dataset: str) -> str:
    """Return how the properties of a dataset's windows begin."""
    return f"{_LEDGER}.{hashlib.sha256(dataset.encode()).hexdigest()[:16]}."


def ledger_key(dataset: str, window: TimeWindow) -> str:
    """Return the property of a window."""
    return ledger_prefix(dataset) + WindowKeys(window, window.start.date()).name


def ledger_text(entry: LedgerEntry) -> str:
    """Return what the property says."""
    return f"{entry.generation} {entry.record_count} {entry.manifest_sha256}"


def ledger_entry(key: str, text: str) -> LedgerEntry:
    """Return the entry a property stands for."""
    window, (generation, record_count, sha256) = window_in(key), text.split()
    if window is None:
        raise ConfigurationError(f"The table property {key} is none this provider writes. Remove it.")
    return LedgerEntry(window, int(generation), sha256, int(record_count))
