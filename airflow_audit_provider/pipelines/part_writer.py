"""Writes a stream of records into bounded parts under a staging prefix.

Invariant: records are encoded in groups of 1,000, so the same records give the same bytes however they arrived; memory
holds one group, never a part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

from airflow_audit_provider.core.api.records import (
    ApiVersion,
    AuditRecord,
    count_odd,
    follow_previous,
    has_odd,
    lines_of,
)
from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.archive.manifest import sum_counts
from airflow_audit_provider.core.limits import check_part_size
from airflow_audit_provider.core.ports import StagedObject
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.formats.part_format import PartEncoder, PartFormat
from airflow_audit_provider.pipelines.observer import NullObserver, Observer, Phase

GROUP_RECORDS = 1000
# Only closed parts survive a killed attempt, so this bounds how many records are requested twice.
PART_RECORDS = 25_000
_NULL_OBSERVER = NullObserver()


class Stage(Protocol):
    """Where parts are staged."""

    def stage(self, key: str) -> StagedObject:
        """Opens a part for writing."""
        ...


class OfClass(NamedTuple):
    """OCSF class of a part's events, and what bounds its pages (``PartFormat.open_encoder``); None if neither does."""

    class_uid: int | None = None
    page_rows: int | None = None


_ANY_CLASS = OfClass()


class PartWriter:
    """Writes records into parts of at most about ``max_part_bytes`` and 25,000 records under a staging prefix.

    A part ends at the first group boundary at or past a bound. Raises ``ConfigurationError`` for a bound below
    1 MiB, ``StorageError`` if the store refuses a write. ``of_class`` is what the records to come have in common
    if each part has events of one class.
    """

    def __init__(
        self,
        stage: Stage,
        prefix: str,
        part_format: PartFormat,
        version: ApiVersion,
        max_part_bytes: int,
        observer: Observer = _NULL_OBSERVER,
    ) -> None:
        check_part_size(max_part_bytes)
        self.parts: list[StagedPart] = []
        self.of_class = _ANY_CLASS
        self._stage = stage
        self._prefix = prefix
        self._format = part_format
        self._version = version
        self._observer = observer
        self._max_part_bytes = max_part_bytes
        self._records_digest = hashlib.sha256()
        self._pending: list[AuditRecord] = []
        self._open: _OpenPart | None = None

    @property
    def records_sha256(self) -> str:
        """The SHA-256 of all records so far: their lines in the order given."""
        return self._records_digest.hexdigest()

    def adopt(self, part: StagedPart, records: Iterable[AuditRecord]) -> Iterator[list[AuditRecord]]:
        """Takes over a part that an earlier attempt closed, before any record is added; yields its records in groups.

        The caller must consume all groups, because the digest of records covers them too.
        """
        remaining = iter(records)
        while group := list(islice(remaining, GROUP_RECORDS)):
            self._records_digest.update(lines_of(group))
            yield group
        self.parts.append(part)

    def add(self, records: Iterable[AuditRecord]) -> None:
        """Adds records in order; encodes every full group."""
        self._pending.extend(records)
        while len(self._pending) >= GROUP_RECORDS:
            group, self._pending = self._pending[:GROUP_RECORDS], self._pending[GROUP_RECORDS:]
            self._encode(group)

    def finish(self) -> list[StagedPart]:
        """Closes the last part; returns all parts in order, none if there was no record."""
        if self._pending:
            group, self._pending = self._pending, []
            self._encode(group)
        self._close_part()
        return self.parts

    def discard(self) -> None:
        """Discards the open part; closed parts stay."""
        if self._open is not None:
            self._open.discard()
            self._open = None

    def _encode(self, group: list[AuditRecord]) -> None:
        if self._open is None:
            key = f"{self._prefix}part-{len(self.parts):05}"
            class_uid, page_rows = self.of_class
            encoder = self._format.open_encoder(self._version, page_rows)
            self._open = _OpenPart(self._stage.stage(key), encoder, class_uid)
        group = self._open.place(group)
        lines = lines_of(group)
        self._records_digest.update(lines)
        with self._observer.step(Phase.ENCODE):
            encoded = self._open.encode(group, lines)
        self._open.write(encoded)
        if self._open.size_bytes >= self._max_part_bytes or self._open.record_count >= PART_RECORDS:
            self._close_part()

    def _close_part(self) -> None:
        if self._open is not None:
            self.parts.append(self._open.close())
            self._open = None
            self._observer.staged(self.parts[-1])


class _OpenPart:
    """The part being written: its encoder, upload, digest and counts."""

    def __init__(self, staged: StagedObject, encoder: PartEncoder, class_uid: int | None) -> None:
        self.size_bytes = 0
        self._class_uid = class_uid
        self._staged = staged
        self._encoder = encoder
        self._digest = hashlib.sha256()
        self.record_count = 0
        self._event_bounds: tuple[int, ...] = ()
        self._odd_records: dict[str, int] = {}

    def place(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Returns records with the times with which a reader of the part will find them; counts odd ones."""
        if not has_odd(records):
            return records
        self._odd_records = sum_counts(self._odd_records, count_odd(records))
        return follow_previous(records, self._event_bounds[-1] if self._event_bounds else records[0].event_ns)

    def encode(self, records: list[AuditRecord], lines: bytes) -> bytes:
        self.record_count += len(records)
        event_times = [record.event_ns for record in records]
        event_times += self._event_bounds
        self._event_bounds = min(event_times), max(event_times)
        return self._encoder.encode(records, lines)

    def write(self, content: bytes) -> None:
        if content:
            self._staged.write(content)
            self._digest.update(content)
            self.size_bytes += len(content)

    def close(self) -> StagedPart:
        self.write(self._encoder.finish())
        self._staged.close()
        first_ns, last_ns = self._event_bounds
        sha256 = self._digest.hexdigest()
        counts = dict(self._encoder.type_mismatches), self._odd_records, self._class_uid
        return StagedPart(self._staged.key, self.size_bytes, sha256, self.record_count, first_ns, last_ns, *counts)

    def discard(self) -> None:
        try:
            self._staged.discard()
        except StorageError:
            # The upload is lost already, and the error that made the caller discard it is the one to report.
            return
