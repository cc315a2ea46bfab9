"""Reading a part takes bounded memory, however large it is when decompressed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.formats.part_format import PartFormat, part_format

pytestmark = pytest.mark.integration

_RAW = b'{"id":"%d","when":"2026-10-26T00:00:00Z","pad":"%s"}'


def _part(format_: PartFormat, thousands: int) -> bytes:
    encoder = format_.open_encoder(ApiVersion.V1)
    pieces: list[bytes] = []
    for first in range(0, thousands * 1000, 1000):
        raws = [_RAW % (number, b"x" * 500) for number in range(first, first + 1000)]
        records = [AuditRecord(number, str(number), raw) for number, raw in enumerate(raws, first)]
        pieces.append(encoder.encode(records, lines_of(records)))
    return b"".join([*pieces, encoder.finish()])


def _single(format_: PartFormat, content: bytes) -> int:
    return sum(1 for _ in format_.read(ApiVersion.V1, content))


def _at_once(format_: PartFormat, content: bytes) -> int:
    return sum(len(records.ids) for records in format_.read_plain(ApiVersion.V1, content))


def _peak_bytes(read: Callable[[PartFormat, bytes], int], format_: PartFormat, thousands: int) -> int:
    content = _part(format_, thousands)
    # What the first read imports stays in memory.
    read(format_, _part(format_, 1))
    tracemalloc.start()
    try:
        assert read(format_, content) == thousands * 1000
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("file_format", "compression"),
    [("jsonl", "gzip"), ("jsonl", "zstd"), ("jsonl", "none"), ("csv", "gzip"), ("csv", "zstd"), ("parquet", "zstd")],
)
@pytest.mark.parametrize("read", [_single, _at_once])
def test_five_times_the_records_take_no_more_memory(
    read: Callable[[PartFormat, bytes], int], file_format: str, compression: str
) -> None:
    """Records are read in groups while the part is decompressed."""
    format_ = part_format(file_format, compression)
    assert _peak_bytes(read, format_, 40) < 1.2 * _peak_bytes(read, format_, 8)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_groups_lose_nothing(file_format: str, compression: str) -> None:
    """A part of any number of records is read completely and in order."""
    format_ = part_format(file_format, compression)
    for count in (0, 1, 999, 1000, 1001, 2500):
        encoder = format_.open_encoder(ApiVersion.V1)
        records = [AuditRecord(0, str(number), _RAW % (number, b"")) for number in range(count)]
        content = encoder.encode(records, lines_of(records)) + encoder.finish()
        assert [record.id for record in format_.read(ApiVersion.V1, content)] == [record.id for record in records]
