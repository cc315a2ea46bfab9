"""Rows of a part by schema: the raw record, the normalized table, OCSF events.

Each class offers its rows in the forms that the file formats take: lines of JSON, cells of CSV, Arrow columns.
OCSF events have objects inside, so they have no cells.

Invariant: every row carries the record's own text, from which the record is read back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import repeat
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.core.windows.window import format_ns
from airflow_audit_provider.formats import arrow, nested
from airflow_audit_provider.formats.lenient_json import readable
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.normalized.decode import Table, normalize
from airflow_audit_provider.formats.ocsf.events import Embed, EventForm, classes_of, ocsf_events
from airflow_audit_provider.formats.ocsf.mapping import RAW_ATTRIBUTE

_NS_PER_US, _NS_PER_MS = 1000, 1_000_000
_NORMALIZED_FRACTION_DIGITS = 6
_JSON = msgspec.json.Encoder()
_BOOLEAN_TEXTS = {None: None, True: "true", False: "false"}
_FREE_FORM = frozenset(column.name for column in normalized.COLUMNS if column.type is ColumnType.JSON)
RAW_COLUMNS = ("id", "event_time", "record")


class Rows(Protocol):
    """Rows of one schema and API version.

    The ``lines`` that the methods take are the same records as ``lines_of`` returns them.
    """

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """The number of values of another type than their column's so far, by column."""
        ...

    @property
    def layout(self) -> arrow.ParquetLayout:
        """The Arrow schema of the rows and how Parquet stores its columns."""
        ...

    def json_lines(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Returns one line of JSON for each record, each ended by a line feed."""
        ...

    def to_arrow(self, records: Sequence[AuditRecord], lines: bytes) -> arrow.ArrowRows:
        """Returns the rows as Arrow columns of the layout's schema."""
        ...


class TableRows(Rows, Protocol):
    """Rows that are flat, so that CSV can hold them."""

    @property
    def column_names(self) -> Sequence[str]:
        """The names of the columns, in order."""
        ...

    def cells(self, records: Sequence[AuditRecord], lines: bytes) -> Iterator[Sequence[Any]]:
        """Yields the cells of each row: ``str``, ``int``, or None for an empty cell."""
        ...


class RawRows:
    """Records as the API sent them; in a table beside their id and event time."""

    type_mismatches: Mapping[str, int] = MappingProxyType({})
    column_names = RAW_COLUMNS

    @property
    def layout(self) -> arrow.ParquetLayout:
        """The three columns."""
        return arrow.raw_layout()

    def json_lines(self, _records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Returns the records' own bytes; JSON Lines have no other column."""
        return lines

    def cells(self, records: Sequence[AuditRecord], _lines: bytes) -> Iterator[Sequence[Any]]:
        """Yields id, event time and record; nine fraction digits, so that texts sort as their instants do."""
        for record in records:
            yield record.id, format_ns(record.event_ns), readable(record.raw)

    def to_arrow(self, records: Sequence[AuditRecord], _lines: bytes) -> arrow.ArrowRows:
        """Returns id, event time in microseconds, and record."""
        columns = (
            [record.id for record in records],
            [record.event_ns // _NS_PER_US for record in records],
            [record.raw for record in records],
        )
        return arrow.table_to_arrow(self.layout.schema, dict(zip(RAW_COLUMNS, columns, strict=True)), RAW_COLUMNS[-1])


class NormalizedRows:
    """Rows of the normalized table in a minor version."""

    def __init__(self, version: ApiVersion, minor: int, extra: tuple[normalized.TableColumn, ...] = ()) -> None:
        self.columns = (*normalized.columns_of(minor), *extra)
        self.column_names = [column.name for column in self.columns]
        self.type_mismatches: Counter[str] = Counter()
        self._version = version
        self._minor = minor
        self._absent = {column.name for column in self.columns if column.is_absent_from(version)}
        self._json_names = {
            column.name for column in self.columns if column.type is ColumnType.JSON and column.name not in self._absent
        }
        self._booleans = [column.name for column in self.columns if column.type is ColumnType.BOOLEAN]

    @property
    def layout(self) -> arrow.ParquetLayout:
        """The columns of the minor version."""
        return arrow.normalized_layout(self._minor)

    def table(self, records: Sequence[AuditRecord], lines: bytes, *, is_json_raw: bool = False) -> Table:
        """Returns every column; ``event_time`` in microseconds since 1970, texts as ``str`` or UTF-8.

        With ``is_json_raw``, JSON may be ``msgspec.Raw``.
        """
        times = [record.event_ns // _NS_PER_US for record in records]
        values = normalize(self._version, records, lines, self.type_mismatches, is_json_raw=is_json_raw)
        return self._table(records, times, values)

    def _table(self, records: Sequence[AuditRecord], times: Sequence[Any], table: Table) -> Table:
        table["id"] = [record.id for record in records]
        table["event_time"] = times
        table["api_version"] = [str(self._version)] * len(records)
        table[normalized.RAW_COLUMN] = [record.raw for record in records]
        return {column.name: table[column.name] for column in self.columns}

    def json_lines(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Returns each row as an object with every column."""
        table = self._as_text(records, lines)
        return _JSON.encode_lines(map(_row_type(tuple(table)), *table.values()))

    def cells(self, records: Sequence[AuditRecord], lines: bytes) -> Iterator[Sequence[Any]]:
        """Yields the row's values; booleans are ``true`` and ``false``."""
        table = self._as_text(records, lines)
        for name in self._booleans:
            table[name] = [_BOOLEAN_TEXTS[value] for value in table[name]]
        return zip(*table.values(), strict=True)

    def to_arrow(self, records: Sequence[AuditRecord], lines: bytes) -> arrow.ArrowRows:
        """Returns the table as Arrow columns."""
        # ``pyarrow.array`` takes no raw JSON, so that bytes would be made of it later.
        table = self.table(records, lines, is_json_raw=arrow.uses_buffers())
        return arrow.table_to_arrow(self.layout.schema, table, normalized.RAW_COLUMN, self._absent)

    def plain_table(self, records: Sequence[AuditRecord], lines: bytes, keep: AbstractSet[str] = frozenset()) -> Table:
        """Returns the columns as text formats show them; ``event_time`` is RFC 3339 with six fraction digits.

        Columns of JSON that ``keep`` names stay as they are.
        """
        columns = self._as_text(records, lines, keep)
        return {name: values if isinstance(values, Sequence) else list(values) for name, values in columns.items()}

    def _as_text(
        self, records: Sequence[AuditRecord], lines: bytes, keep: AbstractSet[str] = frozenset()
    ) -> dict[str, Iterable[Any]]:
        """Returns the columns of ``plain_table``; each can be gone through once.

        The records' own texts are made one by one when their row is: those of a page do not fit into the processor's
        cache.
        """
        as_text = self._json_names - keep
        times = [format_ns(record.event_ns, _NORMALIZED_FRACTION_DIGITS) for record in records]
        values = normalize(self._version, records, lines, self.type_mismatches, as_text)
        table: dict[str, Iterable[Any]] = {**self._table(records, times, values)}
        table[normalized.RAW_COLUMN] = map(
            bytes.decode, table[normalized.RAW_COLUMN], repeat("utf-8"), repeat("replace")
        )
        return table


def record_values(version: ApiVersion, records: Sequence[AuditRecord]) -> Iterator[dict[str, Any]]:
    """Yields the values of each record by the columns of the normalized table."""
    table = NormalizedRows(version, normalized.MINOR).plain_table(records, lines_of(records))
    for row in zip(*table.values(), strict=True):
        yield dict(zip(table, row, strict=True))


@lru_cache(maxsize=4)
def _row_type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    return msgspec.defstruct("Row", names, gc=False)


class OcsfRows:
    """OCSF events in the release that a schema is, made of rows of the normalized table."""

    def __init__(self, version: ApiVersion, form: EventForm) -> None:
        self._form = form
        self._normalized = NormalizedRows(version, normalized.MINOR, normalized.EVENT_ONLY)

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """The number of values of another type, by the column of the normalized table that the events are made of."""
        return self._normalized.type_mismatches

    @property
    def layout(self) -> arrow.ParquetLayout:
        """The attributes of an event; objects are structs."""
        return arrow.ocsf_layout(self._form.schema)

    def json_lines(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Returns each event as an object; free-form JSON stands in it as JSON."""
        if not records:
            return b""
        table = self._normalized.plain_table(records, lines, keep=_FREE_FORM)
        return nested.json_lines(self._events(records, table, _as_json), len(records))

    def to_arrow(self, records: Sequence[AuditRecord], lines: bytes) -> arrow.ArrowRows:
        """Returns the events as Arrow structs; free-form JSON stands in them as text."""
        events = self._events(records, self._normalized.table(records, lines), _as_text)
        return arrow.objects_to_arrow(self.layout.schema, events, len(records), RAW_ATTRIBUTE)

    def class_uids(self, records: Sequence[AuditRecord], lines: bytes) -> Sequence[int]:
        """Returns the number of the class of each event."""
        return classes_of(self._normalized.table(records, lines), self._form)

    def _events(self, records: Sequence[AuditRecord], table: Table, embed: Embed) -> nested.Objects:
        times_ms = [record.event_ns // _NS_PER_MS for record in records]
        return ocsf_events({**table, "event_ms": times_ms}, embed, self._form)


def _as_text(contents: Sequence[Any]) -> Sequence[Any]:
    return contents


def _as_json(contents: Sequence[Any]) -> list[msgspec.Raw | None]:
    return [None if content is None else msgspec.Raw(_on_one_line(content)) for content in contents]


def _on_one_line(content: str | bytes) -> bytes:
    """Returns JSON as UTF-8 without line breaks, which only JSON that was text in the record can have."""
    if isinstance(content, str):
        return content.encode("utf-8", "replace").replace(b"\n", b" ").replace(b"\r", b" ")
    return content if content.isascii() else content.decode("utf-8", "replace").encode()
