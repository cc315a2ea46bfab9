"""Files with the changes of committed windows, beside the data: their rows, and the commit that names them.

Invariant: the same rows give the same bytes, so that a run that was killed writes what it would have written.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.api.changes import Change
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import canonical_json
from airflow_audit_provider.core.verification.manifest_index import compressed
from airflow_audit_provider.core.windows.window import format_ns
from airflow_audit_provider.exceptions import VerificationError

_FRACTION_DIGITS = 6
_GZIP_WINDOW_BITS = 31
_STEP_BYTES = 1 << 20
# A row has two values of one record, which come in one response each.
_MOST_ROW_BYTES = 128 << 20


class ChangeRow(msgspec.Struct, frozen=True):
    """A row: ``id`` is that of the record; a value that is not known has no field."""

    id: str
    event_time: str
    history_status: str
    source: str
    fields: tuple[str, ...] = ()
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


_ROW = msgspec.json.Decoder(ChangeRow)


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


_COMMIT = msgspec.json.Decoder(ChangesCommit)


def read_commit(key: str, content: bytes | None) -> ChangesCommit:
    """Returns a commit; raises ``VerificationError`` if it is gone or damaged."""
    try:
        return _COMMIT.decode(content or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise VerificationError(
            f"The commit of changes {key} is missing or damaged. Remove its folder, then run the task again."
        ) from None


def change_rows(records: Iterable[AuditRecord], changes: Iterable[Change]) -> Iterator[ChangeRow]:
    """Yields the rows of records with their changes."""
    for record, change in zip(records, changes, strict=True):
        when = format_ns(record.event_ns, _FRACTION_DIGITS)
        yield ChangeRow(
            record.id, when, change.history_status, change.source, change.fields, change.before, change.after
        )


def write_rows(rows: Iterable[ChangeRow]) -> bytes:
    """Returns rows as compressed JSON Lines."""
    return compressed(b"".join(_encoded(row) + b"\n" for row in rows))


def _encoded(row: ChangeRow) -> bytes:
    """Returns a row as JSON; half of a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD."""
    try:
        return msgspec.json.encode(row)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(row), ensure_ascii=False)
        return msgspec.json.encode(json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")))


def read_rows(key: str, content: bytes | None) -> Iterator[ChangeRow]:
    """Yields the rows of a file, one after the other, so that a reader of the first ones decompresses no more.

    Raises ``VerificationError`` if the file is gone or damaged.
    """
    try:
        yield from map(_ROW.decode, _lines(content or b""))
    except (msgspec.DecodeError, UnicodeDecodeError, zlib.error, EOFError):
        raise VerificationError(
            f"The file of changes {key} is missing or damaged. Remove it and the commits in its folder, then run the "
            "task again."
        ) from None


def _lines(content: bytes) -> Iterator[bytes]:
    """Yields the lines of a gzip file; raises ``EOFError`` unless it is one whole member of whole lines."""
    stream, rest = zlib.decompressobj(_GZIP_WINDOW_BITS), b""
    while content and not stream.eof:
        *lines, rest = (rest + stream.decompress(content, _STEP_BYTES)).split(b"\n")
        content = stream.unconsumed_tail
        yield from lines
        if len(rest) > _MOST_ROW_BYTES:
            raise EOFError
    if rest or not stream.eof or stream.unused_data:
        raise EOFError


def change_file(key: str, content: bytes) -> ChangeFile:
    """Returns how a commit names a file."""
    counts = Counter(row.history_status for row in read_rows(key, content))
    return ChangeFile(key, hashlib.sha256(content).hexdigest(), dict(sorted(counts.items())))


def statuses_of(files: Sequence[ChangeFile]) -> dict[str, int]:
    """Returns the number of rows by status."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(file.statuses)
    return dict(sorted(counts.items()))
