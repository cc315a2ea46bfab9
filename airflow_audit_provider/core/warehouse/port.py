"""Warehouse interface: columns, load ledger, and rows inside a transaction.

Invariant: rows and their ledger entry become visible together or not at all; every implementation guarantees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from airflow_audit_provider.core.windows.window import TimeWindow

_DIGEST = re.compile(r"[0-9a-f]{16}", re.ASCII)


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
    """One load of one window in the load ledger.

    ``load_number`` counts the loads of the window from 1. ``manifest_sha256`` is the digest of the loaded manifest,
    ``first_sha256`` that of the window's generation 1 at the same destination, None if it is not there: it identifies
    the history that the generation belongs to. ``destination`` is the URI that the window was loaded from.
    ``superseded`` are the digests of generation 1 of the histories that later loads have replaced.
    """

    window: TimeWindow
    load_number: int
    generation: int
    manifest_sha256: str
    first_sha256: str | None
    record_count: int
    destination: str
    superseded: frozenset[str] = frozenset()


class LoadPosition(NamedTuple):
    """How far loads of a destination have followed its commit log.

    Everything that was committed before ``seen_at`` is loaded. ``listed_at`` is when all manifests were listed last.
    ``window_count`` is the number of windows in the ledger then. ``settled`` are digests of the log entries of the last
    days whose attempts commit nothing any more.
    """

    seen_at: datetime
    listed_at: datetime
    window_count: int
    settled: frozenset[str]

    @property
    def settled_text(self) -> str:
        """The digests as one text, which :func:`settled_digests` reads."""
        return "".join(sorted(self.settled))


def settled_digests(text: str) -> frozenset[str]:
    """Returns the digests in the text of a position."""
    return frozenset(_DIGEST.findall(text))


class LoadClaim(NamedTuple):
    """Claim to replace one window's rows: the ledger entry with the window's next load number."""

    dataset: str
    entry: LedgerEntry

    @property
    def window(self) -> TimeWindow:
        """Window whose rows are replaced."""
        return self.entry.window


class TablePart(Protocol):
    """A part that is a Parquet file with the table's own columns; its bytes match the digest in its manifest."""

    @property
    def content(self) -> bytes:
        """The Parquet file."""
        ...

    @property
    def column_names(self) -> Sequence[str]:
        """The names of the table's columns that the file has, without the key columns; it may have others."""
        ...

    @property
    def record_bytes(self) -> float:
        """The average size of a record's own text in its largest row group."""
        ...

    def tables(self) -> Iterator[Any]:
        """Yields the rows as Arrow tables of bounded size, as :meth:`RowSink.add` takes them."""
        ...


class RowSink(Protocol):
    """Receives one window's rows inside a transaction."""

    def add(self, rows: Any) -> None:
        """Adds the rows of an Arrow table, by column name: the key columns and those of ``prepare``."""
        ...

    def add_part(self, part: TablePart) -> None:
        """Adds the rows of a part in the way that the warehouse is fastest at."""
        ...

    def count(self) -> int:
        """Returns the number of rows of the window as the warehouse counts them in this transaction."""
        ...


class LoadLedger(Protocol):
    """States which windows of a dataset are loaded, and how far its commit log was followed."""

    def loaded(self, dataset: str, within: TimeWindow | None = None) -> list[LedgerEntry]:
        """Returns the newest ledger entry of every window of a dataset, or of those that overlap a range."""
        ...

    def window_count(self, dataset: str) -> int:
        """Returns the number of windows of a dataset in the ledger."""
        ...

    def position(self, dataset: str, destination: str) -> LoadPosition | None:
        """Returns the position that was remembered, None if there is none."""
        ...

    def remember(self, dataset: str, destination: str, position: LoadPosition) -> None:
        """Writes a position, if the warehouse can and nobody else writes at the same time: no load depends on it."""
        ...


class Warehouse(LoadLedger, Protocol):
    """A table of audit records with its load ledger."""

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Creates missing tables and adds new columns; idempotent.

        Raises ``ConfigurationError`` if an existing object of that name does not fit.
        """
        ...

    def replacing(self, claim: LoadClaim) -> AbstractContextManager[RowSink]:
        """Opens a transaction that enters the claim and deletes the window's rows; commits at the end of the block.

        An error rolls back. Raises ``WarehouseBusyError`` if another loader has entered the claim's load number;
        nothing has changed then.
        """
        ...

    def close(self) -> None:
        """Closes the connection to the warehouse."""
        ...
