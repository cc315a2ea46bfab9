"""JSON Lines: one JSON object for each record and line.

In the schema ``raw``, the bytes between two line feeds are the bytes that the API sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records
from airflow_audit_provider.formats.compression import Compressor, open_plain
from airflow_audit_provider.formats.tables import Rows

_READ_RECORDS = 1000


class JsonlEncoder:
    """Encodes records as lines into a compressed stream."""

    def __init__(self, compressor: Compressor, rows: Rows) -> None:
        self._compressor = compressor
        self._rows = rows

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """The number of values of another type than their column's, by column."""
        return self._rows.type_mismatches

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Returns the bytes that are ready so far."""
        return self._compressor.compress(self._rows.json_lines(records, lines))

    def finish(self) -> bytes:
        """Returns the last bytes of the part."""
        return self._compressor.flush()


def read_jsonl(version: ApiVersion, compression: str, content: bytes, column: str | None) -> Iterator[AuditRecord]:
    """Yields the records of a part, with a thousand in memory at a time.

    ``column`` names the field that holds the record's text; None means that the line itself is the record.
    """
    raws_of = _own_lines if column is None else _column_reader(column)
    with open_plain(compression, content) as lines:
        while group := list(islice(lines, _READ_RECORDS)):
            yield from read_records(version, raws_of(group))


def _own_lines(lines: Sequence[bytes]) -> list[msgspec.Raw]:
    return [msgspec.Raw(line.removesuffix(b"\n")) for line in lines]


def _column_reader(column: str) -> Callable[[Sequence[bytes]], list[msgspec.Raw]]:
    """Returns a function that takes the records' text out of lines."""
    line_type = msgspec.defstruct("_Line", [("text", str)], rename={"text": column})
    decoder = msgspec.json.Decoder(line_type)

    def read(lines: Sequence[bytes]) -> list[msgspec.Raw]:
        return [msgspec.Raw(row.text.encode()) for row in decoder.decode_lines(b"".join(lines))]  # type: ignore[attr-defined]  # defined above

    return read
