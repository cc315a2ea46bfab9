"""Rows of a part as a reader finds them, and the records they stand for.

Invariant: a record read back has the id and the time with which it was written, whatever the format kept of its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.api.plain_lines import NotPlainError, PlainLineReader, PlainRecords
from airflow_audit_provider.core.api.records import (
    DIGEST_PREFIX,
    ApiVersion,
    AuditRecord,
    follow_previous,
    read_records,
)

# CSV, Parquet and the schemas with columns hold text, so bytes that are not UTF-8 are stored as this character.
_REPLACEMENT = "\ufffd".encode()


# Of the lines that are read at once. With smaller pieces, threads that read parts side by side hand the interpreter's
# lock over more often. Larger ones leave the processor's cache between decompression, digest and decoder.
PIECE_BYTES = 512 << 10


class PartRows(NamedTuple):
    """Consecutive rows: the records' own text, and their ids where a column has them."""

    texts: Sequence[bytes]
    ids: Sequence[str] | None = None


def records_in(version: ApiVersion, groups: Iterable[PartRows], first_event_ns: int | None) -> Iterator[AuditRecord]:
    """Yields the records of a part.

    An undated record has the time of the record before it in the part, the first one ``first_event_ns``.
    """
    previous_ns = first_event_ns
    for rows in groups:
        records = read_records(version, rows.texts)
        if rows.ids is not None:
            records = _with_stored_ids(records, rows.ids)
        records = follow_previous(records, previous_ns)
        yield from records
        previous_ns = records[-1].event_ns


def _with_stored_ids(records: list[AuditRecord], ids: Sequence[str]) -> list[AuditRecord]:
    """Returns records with the id as stored where the text, and so its digest, is not the one that was read."""
    if [record.id for record in records] == ids:
        return records
    return [
        msgspec.structs.replace(record, id=stored) if _has_lost_its_digest(record) else record
        for record, stored in zip(records, ids, strict=True)
    ]


def _has_lost_its_digest(record: AuditRecord) -> bool:
    return record.id.startswith(DIGEST_PREFIX) and _REPLACEMENT in record.raw


def plain_records_in(version: ApiVersion, pieces: Iterable[tuple[bytes, int | None]]) -> Iterator[PlainRecords]:
    """Yields the records of a part whose lines are all plain; raises for any other part.

    ``pieces`` are lines, with the number of texts where a piece consists of whole ones.
    """
    reader = PlainLineReader(version)
    for lines, count in pieces:
        if count != 0:
            records = reader.read(lines)
            if count is not None and len(records.ids) != count:
                raise NotPlainError("a text has a line break")
            yield records
    reader.finish()
