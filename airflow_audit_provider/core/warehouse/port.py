"""What loading needs of a warehouse, as Protocols and plain values: columns, the load ledger, rows in a transaction.

Knows: the types a column may have, what the ledger says of a window. Must not know: SQL, Iceberg, any database.
Its one rule: rows and their ledger entry become visible together or not at all; whoever implements this holds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from airflow_audit_provider.core.windows.window import TimeWindow


class SqlType(StrEnum):
    """The types every warehouse has; ``instant`` is in UTC microseconds, JSON is text."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    INSTANT = "instant"


class SqlColumn(NamedTuple):
    """One column of the loaded table; ``is_required`` ones are never null."""

    name: str
    type: SqlType
    is_required: bool = False


# Which window of which dataset a row came with; what a newer generation replaces is found by these three.
KEY_COLUMNS = (
    SqlColumn("dataset", SqlType.TEXT, is_required=True),
    SqlColumn("window_start", SqlType.INSTANT, is_required=True),
    SqlColumn("window_end", SqlType.INSTANT, is_required=True),
)


class LedgerEntry(NamedTuple):
    """One generation of one window in the load ledger.

    ``manifest_sha256`` is the digest of the manifest that was loaded; None says that a newer generation was loaded
    before this one could be, so that nobody loads it any more.
    """

    window: TimeWindow
    generation: int
    manifest_sha256: str | None
    record_count: int


class LoadClaim(NamedTuple):
    """The right to replace one window's rows: the entries that must not be in the ledger yet, the newest one last."""

    dataset: str
    entries: tuple[LedgerEntry, ...]

    @property
    def newest(self) -> LedgerEntry:
        """The generation whose rows are loaded."""
        return self.entries[-1]

    @property
    def window(self) -> TimeWindow:
        """The window whose rows are replaced."""
        return self.newest.window


class RowSink(Protocol):
    """Takes one window's rows inside a transaction."""

    def add(self, rows: Any) -> None:
        """Take an Arrow table in, its columns by name: those of the key and those the table was prepared with."""
        ...

    def count(self) -> int:
        """Return how many rows of the window the warehouse itself counts, in this transaction."""
        ...


class Warehouse(Protocol):
    """A table of audit records with its load ledger, seen from one loader."""

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Make table and ledger if they are missing, add columns that are new; idempotent.

        Raises ``ConfigurationError`` when what is there under these names is something else.
        """
        ...

    def loaded(self, dataset: str) -> list[LedgerEntry]:
        """Return the newest ledger entry of every window of a dataset."""
        ...

    def replacing(self, claim: LoadClaim) -> AbstractContextManager[RowSink]:
        """Open a transaction that takes the claim and empties the window; commit at the block's end, else roll back.

        Raises ``WarehouseBusyError`` when another loader has entered one of the claim's entries; nothing changed then.
        """
        ...

    def close(self) -> None:
        """Let go of the warehouse."""
        ...
