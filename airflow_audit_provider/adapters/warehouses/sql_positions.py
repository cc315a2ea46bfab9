"""Positions of loads in the commit logs of destinations, in a third table beside the load ledger.

Invariant: no load depends on it; without the table, or the right to use it, each load lists all manifests.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any, Protocol

from airflow_audit_provider.core.warehouse.port import LoadPosition, settled_digests

POSITION_COLUMNS = {
    "dataset": "TEXT NOT NULL",
    "destination": "TEXT NOT NULL",
    "seen_at": "TIMESTAMP WITH TIME ZONE NOT NULL",
    "listed_at": "TIMESTAMP WITH TIME ZONE NOT NULL",
    "window_count": "BIGINT NOT NULL",
    "settled": "TEXT NOT NULL",
}
_FACTS = tuple(POSITION_COLUMNS)[2:]


class _Statements(Protocol):
    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]: ...


class SqlPositions:
    """The rows of the table, one for each dataset and destination; the caller opens the transactions."""

    def __init__(self, session: _Statements, table: str) -> None:
        self._session = session
        self._table = table

    def read(self, dataset: str, destination: str) -> LoadPosition | None:
        """Returns a position, None if there is none."""
        rows = self._session.execute(
            f"SELECT {', '.join(_FACTS)} FROM {self._table} "  # noqa: S608 - name checked by table_name, columns our own
            "WHERE dataset = ? AND destination = ?",
            dataset,
            destination,
        )
        for seen_at, listed_at, window_count, settled in rows:
            instants = (seen_at.astimezone(UTC), listed_at.astimezone(UTC))
            return LoadPosition(*instants, int(window_count), settled_digests(settled))
        return None

    def write(self, dataset: str, destination: str, position: LoadPosition) -> None:
        """Writes a position over the one before."""
        changes = ", ".join(f"{name} = excluded.{name}" for name in _FACTS)
        self._session.execute(
            f"INSERT INTO {self._table} ({', '.join(POSITION_COLUMNS)}) "  # noqa: S608 - name checked by table_name, columns our own
            f"VALUES ({', '.join('?' * len(POSITION_COLUMNS))}) "
            f"ON CONFLICT (dataset, destination) DO UPDATE SET {changes}",
            dataset,
            destination,
            position.seen_at,
            position.listed_at,
            position.window_count,
            position.settled_text,
        )
