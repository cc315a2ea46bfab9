"""JSON Lines: each record's own bytes, one a line.

Knows: lines. Must not know: compression's inside, columns.
Its one rule: the bytes between two line feeds are the bytes the API sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records
from airflow_audit_provider.formats.compression import Compressor, open_plain

_GROUP_RECORDS = 1000
# The schema ``raw`` counts nothing: its columns show what fits, and the record stands beside them.
NO_TYPE_MISMATCHES: Mapping[str, int] = MappingProxyType({})


class JsonlEncoder:
    """Encodes records as lines into a compressed stream."""

    type_mismatches = NO_TYPE_MISMATCHES

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor

    def encode(self, _records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Return the bytes ready so far for these lines."""
        return self._compressor.compress(lines)

    def finish(self) -> bytes:
        """Return the last bytes of the part."""
        return self._compressor.flush()


def read_jsonl(version: ApiVersion, compression: str, content: bytes) -> Iterator[AuditRecord]:
    """Yield the records of a part; a thousand are in memory at a time."""
    with open_plain(compression, content) as lines:
        while group := list(islice(lines, _GROUP_RECORDS)):
            yield from read_records(version, [msgspec.Raw(line.removesuffix(b"\n")) for line in group])


def read_rows(version: ApiVersion, compression: str, content: bytes, column: str) -> Iterator[AuditRecord]:
    """Yield the records of lines of JSON from the column that holds them; a thousand are in memory at a time."""
    decoder = msgspec.json.Decoder(msgspec.defstruct("_Line", [("raw", str)], rename={"raw": column}))
    with open_plain(compression, content) as lines:
        while group := list(islice(lines, _GROUP_RECORDS)):
            rows: list[Any] = decoder.decode_lines(b"".join(group))
            yield from read_records(version, [msgspec.Raw(row.raw.encode()) for row in rows])
