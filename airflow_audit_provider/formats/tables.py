"""Records → what a part of a schema holds: columns of the normalized table, or OCSF events.

Knows: which of the two schemas is made of which values. Must not know: file formats.
Its one rule: every row carries the record's own text, from which the record is read back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.windows.window import format_ns
from airflow_audit_provider.formats.lenient_json import readable
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.normalized.decode import Table, normalize
from airflow_audit_provider.formats.ocsf.events import Embed, ocsf_event

_NS_PER_US, _NS_PER_MS = 1000, 1_000_000
Row = dict[str, Any]


class NormalizedRows:
    """The normalized table in a minor version; ``type_mismatches`` counts as records are taken."""

    def __init__(self, version: ApiVersion, minor: int) -> None:
        self.columns = normalized.columns_of(minor)
        self.type_mismatches: Counter[str] = Counter()
        self._version = version

    def table(self, records: Sequence[AuditRecord], lines: bytes) -> Table:
        """Return every column; ``event_time`` in microseconds since 1970, texts as ``str`` or UTF-8."""
        table = normalize(self._version, records, lines, self.type_mismatches)
        table["id"] = [record.id for record in records]
        table["event_time"] = [record.event_ns // _NS_PER_US for record in records]
        table["api_version"] = [str(self._version)] * len(records)
        table[normalized.RAW_COLUMN] = [record.raw for record in records]
        return {column.name: table[column.name] for column in self.columns}

    def rows(self, records: Sequence[AuditRecord], lines: bytes) -> Iterator[Row]:
        """Yield rows of plain text, numbers and booleans; ``event_time`` is RFC 3339 with six fraction digits."""
        table = self.table(records, lines)
        table["event_time"] = [instant_text(record.event_ns) for record in records]
        columns = [list(map(readable, values)) for values in table.values()]
        for row in zip(*columns, strict=True):
            yield dict(zip(table, row, strict=True))


class OcsfRows:
    """OCSF events; ``embed`` says how JSON stands in one."""

    def __init__(self, version: ApiVersion, embed: Embed | None = None) -> None:
        self._shape = NormalizedRows(version, normalized.MINOR)
        self._embed = embed or _as_json

    @property
    def type_mismatches(self) -> Counter[str]:
        """What did not fit, by the column of the normalized table that the events are made of."""
        return self._shape.type_mismatches

    def rows(self, records: Sequence[AuditRecord], lines: bytes) -> Iterator[Row]:
        """Yield one event a record."""
        for record, row in zip(records, self._shape.rows(records, lines), strict=True):
            yield ocsf_event(row | {"event_ms": record.event_ns // _NS_PER_MS}, self._embed)


def instant_text(event_ns: int) -> str:
    """Return RFC 3339 with six fraction digits; what is finer is cut."""
    return format_ns(event_ns, 6)


def _as_json(content: str | bytes) -> Any:
    return msgspec.Raw(content.encode("utf-8", "replace") if isinstance(content, str) else content)
