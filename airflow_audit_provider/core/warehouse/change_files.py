"""Files with the changes of committed windows, beside the data: their rows, and the commit that names them.

Invariant: the same rows give the same bytes, so that a run that was killed writes what it would have written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.api.changes import Change
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import canonical_json
from airflow_audit_provider.core.verification.manifest_index import compressed, decompressed
from airflow_audit_provider.core.windows.window import format_ns
from airflow_audit_provider.exceptions import VerificationError

_FRACTION_DIGITS = 6


class ChangeRow(msgspec.Struct, frozen=True):
    """A row: ``id`` is that of the record; a value that is not known has no field."""

    id: str
    event_time: str
    history_status: str
    source: str
    fields: tuple[str, ...] = ()
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


_ROWS = msgspec.json.Decoder(ChangeRow)


class ChangeFile(msgspec.Struct, frozen=True):
    """A file of rows, with the SHA-256 of its bytes and the number of rows by their status."""

    key: str
    sha256: str
    statuses: dict[str, int]


class ChangesCommit(msgspec.Struct, frozen=True):
    """What was derived from one generation of a window; the manifest is named with its digest."""

    manifest_key: str
    manifest_sha256: str
    record_count: int
    files: tuple[ChangeFile, ...]

    def to_bytes(self) -> bytes:
        """Returns the commit as canonical JSON."""
        return canonical_json(self)


def change_rows(records: Iterable[AuditRecord], changes: Iterable[Change]) -> Iterator[ChangeRow]:
    """Yields the rows of records with their changes."""
    for record, change in zip(records, changes, strict=True):
        when = format_ns(record.event_ns, _FRACTION_DIGITS)
        yield ChangeRow(
            record.id, when, change.history_status, change.source, change.fields, change.before, change.after
        )


def write_rows(rows: Iterable[ChangeRow]) -> bytes:
    """Returns rows as compressed JSON Lines."""
    return compressed(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def read_rows(key: str, content: bytes | None) -> list[ChangeRow]:
    """Returns the rows of a file; raises ``VerificationError`` if it is gone or damaged."""
    try:
        return _ROWS.decode_lines(decompressed(content or b"") or b"?")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise VerificationError(
            f"The file of changes {key} is missing or damaged. Remove it and the commits in its folder, then run the "
            "task again."
        ) from None


def change_file(key: str, content: bytes) -> ChangeFile:
    """Returns how a commit names a file."""
    counts: dict[str, int] = {}
    for row in read_rows(key, content):
        counts[row.history_status] = counts.get(row.history_status, 0) + 1
    return ChangeFile(key, hashlib.sha256(content).hexdigest(), dict(sorted(counts.items())))


def statuses_of(files: Sequence[ChangeFile]) -> dict[str, int]:
    """Returns the number of rows by status."""
    names = sorted({name for file in files for name in file.statuses})
    return {name: sum(file.statuses.get(name, 0) for file in files) for name in names}
