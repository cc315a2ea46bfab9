"""Entries of the load ledger and positions as JSON texts, for tables whose format has properties but no unique keys.

Invariant: a text is read as it was written, or as None; a damaged one never becomes an entry.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadPosition, settled_digests
from airflow_audit_provider.core.windows.window import TimeWindow

_POSITION_PREFIX = "audit.position"
_DIGEST_LENGTH = 16


def name_digest(name: str) -> str:
    """Returns the digest of a dataset's name or of a destination, which names it in keys."""
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]


def window_name(window: TimeWindow) -> str:
    """Returns the name of a window in keys."""
    return WindowKeys(window, window.start.date()).name


def ledger_value(entry: LedgerEntry) -> str:
    """Returns a ledger entry as text: a JSON object of all its fields but the window."""
    facts = entry._asdict() | {"superseded": sorted(entry.superseded)}
    del facts["window"]
    return json.dumps(facts, separators=(",", ":"))


def entry_of_value(window: TimeWindow, value: str) -> LedgerEntry:
    """Returns the entry in a text; raises ``ValueError``, ``TypeError`` or ``KeyError`` if it is none."""
    facts = json.loads(value)
    return LedgerEntry(**facts | {"window": window, "superseded": frozenset(facts["superseded"])})


def position_key(dataset: str, destination: str) -> str:
    """Returns the key of the property with the position in the commit log of a dataset's destination."""
    return ".".join([_POSITION_PREFIX, name_digest(dataset), name_digest(destination)])


def position_value(position: LoadPosition) -> str:
    """Returns a position as the value of its property, a JSON object."""
    times = {name: getattr(position, name).isoformat() for name in ("seen_at", "listed_at")}
    facts = position._asdict() | times | {"settled": position.settled_text}
    return json.dumps(facts, separators=(",", ":"))


def load_position(value: str) -> LoadPosition | None:
    """Returns the position in a property, None if it is none of this release: then all manifests are listed."""
    try:
        facts = json.loads(value)
        times = {name: datetime.fromisoformat(facts[name]) for name in ("seen_at", "listed_at")}
        digests = settled_digests(facts["settled"])
        if any(time.tzinfo is None for time in times.values()):
            return None
        return LoadPosition(**times, window_count=int(facts["window_count"]), settled=digests)
    except (ValueError, TypeError, KeyError):
        return None
