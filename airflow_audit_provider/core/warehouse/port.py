"""Warehouse interface: columns, load ledger, and rows inside a transaction.

Invariant: rows and their ledger entry become visible together or not at all; every implementation guarantees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from airflow_audit_provider.core.windows.window import TimeWindow


class ColumnType(StrEnum):
    """Column types of the tables in parts and in warehouses.

    ``JSON`` is text that is JSON, ``INTEGER`` has 64 bits, ``TIMESTAMP`` is UTC with microseconds.
    """

    TEXT = "text"
    TIMESTAMP = "timestamp"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    JSON = "json"


class SqlColumn(NamedTuple):
    """A column of the loaded table; required columns are never null."""

    name: str
    type: ColumnType
    is_required: bool = False


# Dataset and window of each row; a newer generation finds the rows that it replaces by these three columns.
KEY_COLUMNS = (
    SqlColumn("dataset", ColumnType.TEXT, is_required=True),
    SqlColumn("window_start", ColumnType.TIMESTAMP, is_required=True),
    SqlColumn("window_end", ColumnType.TIMESTAMP, is_required=True),
)


class LedgerEntry(NamedTuple):
    """One generation of one window in the load ledger.

    ``manifest_sha256`` is the digest of the loaded manifest; None if a newer generation was loaded instead, so that
    this one is never loaded.
    """

    window: TimeWindow
    generation: int
    manifest_sha256: str | None
    record_count: int


class LoadClaim(NamedTuple):
    """Claim to replace one window's rows: ledger entries that must not exist yet, the newest one last."""

    dataset: str
    entries: tuple[LedgerEntry, ...]

    @property
    def newest(self) -> LedgerEntry:
        """Generation whose rows are loaded."""
        return self.entries[-1]

    @property
    def window(self) -> TimeWindow:
        """Window whose rows are replaced."""
        return self.newest.window


class RowSink(Protocol):
    """Receives one window's rows inside a transaction."""

    def add(self, rows: Any) -> None:
        """Adds the rows of an Arrow table, by column name: the key columns and those of ``prepare``."""
        ...

    def count(self) -> int:
        """Returns the number of rows of the window as the warehouse counts them in this transaction."""
        ...


class Warehouse(Protocol):
    """A table of audit records with its load ledger."""

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Creates missing tables and adds new columns; idempotent.

        Raises ``ConfigurationError`` if an existing object of that name does not fit.
        """
        ...

    def loaded(self, dataset: str) -> list[LedgerEntry]:
        """Returns the newest ledger entry of every window of a dataset."""
        ...

    def replacing(self, claim: LoadClaim) -> AbstractContextManager[RowSink]:
        """Opens a transaction that enters the claim and deletes the window's rows; commits at the end of the block.

        An error rolls back. Raises ``WarehouseBusyError`` if another loader has entered one of the claim's entries;
        nothing has changed then.
        """
        ...

    def close(self) -> None:
        """Closes the connection to the warehouse."""
        ...
