"""JSON Lines: one JSON object for each record and line.

In the schema ``raw``, the bytes between two line feeds are the bytes that the API sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.formats.compression import Compressor, open_plain
from airflow_audit_provider.formats.part_rows import PIECE_BYTES, PartRows
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


def read_jsonl(compression: str, content: bytes, column: str | None, id_path: str) -> Iterator[PartRows]:
    """Yields the rows of a part, with a thousand in memory at a time.

    ``column`` names the field that holds the record's text; None means that the line itself is the record.
    """
    rows_of = _own_lines if column is None else _column_reader(column, id_path)
    with open_plain(compression, content) as lines:
        while group := list(islice(lines, _READ_RECORDS)):
            yield rows_of(group)


def read_jsonl_pieces(compression: str, content: bytes) -> Iterator[bytes]:
    """Yields the lines of a part in pieces that end anywhere."""
    with open_plain(compression, content) as lines:
        while piece := lines.read(PIECE_BYTES):
            yield piece


def _own_lines(lines: Sequence[bytes]) -> PartRows:
    return PartRows([line.removesuffix(b"\n") for line in lines])


def _column_reader(column: str, id_path: str) -> Callable[[Sequence[bytes]], PartRows]:
    """Returns a function that takes the records' text and id out of lines."""
    group, _, name = id_path.rpartition(".")
    line_type = msgspec.defstruct("_Line", [("text", str), ("id", str)], rename={"text": column})
    if group:
        inner_type = msgspec.defstruct("_Group", [("id", str)], rename={"id": name})
        line_type = msgspec.defstruct(
            "_Line", [("text", str), ("group", inner_type)], rename={"text": column, "group": group}
        )
    decoder = msgspec.json.Decoder(line_type)

    def read(lines: Sequence[bytes]) -> PartRows:
        rows: Any = decoder.decode_lines(b"".join(lines))
        texts = [row.text.encode() for row in rows]
        return PartRows(texts, [row.group.id if group else row.id for row in rows])

    return read
