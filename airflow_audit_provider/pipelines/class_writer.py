"""Writes records into parts of one OCSF class and one UTC day each, for the layout of Security Lake.

Records wait until as many are there as a part can have. Then those of each day and class are written as parts of their
own, and all of these are closed.

Invariant: closed parts hold a beginning of the records that were added, so that another attempt can resume after them;
the same records give the same parts however they arrived.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.archive.security_lake import event_day
from airflow_audit_provider.formats.part_format import PartFormat
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.part_writer import GROUP_RECORDS, OfClass, PartWriter

# Bounds the records that wait, which take about twice as much memory as their texts.
_MOST_BYTES = 32 << 20
# AWS's rules for Security Lake: "Data page size should be limited to 1 MB (uncompressed)." A page of half a MiB grows
# by at most as much before Arrow ends it, unless one record is larger.
_PAGE_GROWTH_BYTES = 400 << 10
_MOST_PAGE_ROWS = 1024


class ClassWriter:
    """Has the methods of :class:`PartWriter`, through which it writes.

    ``written_ids`` are the ids of the records added so far whose parts are closed, in the order of the parts.
    """

    def __init__(self, writer: PartWriter, part_format: PartFormat, version: ApiVersion) -> None:
        self.written_ids: list[str] = []
        self._writer = writer
        self._format = part_format
        self._version = version
        self._pending: list[AuditRecord] = []
        self._waiting: dict[tuple[date, int], list[AuditRecord]] = defaultdict(list)
        self._waiting_count = self._waiting_bytes = 0

    @property
    def parts(self) -> list[StagedPart]:
        """The closed parts, in order."""
        return self._writer.parts

    @property
    def records_sha256(self) -> str:
        """The SHA-256 of all records in closed parts: their lines in the order of the parts."""
        return self._writer.records_sha256

    def adopt(self, part: StagedPart, records: Iterable[AuditRecord]) -> Iterator[list[AuditRecord]]:
        """Takes over a part of an earlier attempt, see :meth:`PartWriter.adopt`."""
        return self._writer.adopt(part, records)

    def add(self, records: Iterable[AuditRecord]) -> None:
        """Adds records in the order of their times; writes parts when enough records wait."""
        self._pending.extend(records)
        while len(self._pending) >= GROUP_RECORDS:
            group, self._pending = self._pending[:GROUP_RECORDS], self._pending[GROUP_RECORDS:]
            self._sort_in(group)
            if self._waiting_count >= part_writer.PART_RECORDS or self._waiting_bytes >= _MOST_BYTES:
                self._write()

    def finish(self) -> list[StagedPart]:
        """Writes what waits; returns all parts in order, none if there was no record."""
        if self._pending:
            group, self._pending = self._pending, []
            self._sort_in(group)
        self._write()
        return self.parts

    def discard(self) -> None:
        """Discards what waits and the open part; closed parts stay."""
        self._pending.clear()
        self._waiting.clear()
        self._writer.discard()

    def _sort_in(self, group: list[AuditRecord]) -> None:
        lines = lines_of(group)
        for record, class_uid in zip(group, self._format.class_uids(self._version, group, lines), strict=True):
            self._waiting[event_day(record.event_ns), class_uid].append(record)
        self._waiting_count += len(group)
        self._waiting_bytes += len(lines)

    def _write(self) -> None:
        for day, class_uid in sorted(self._waiting):
            records = self._waiting.pop((day, class_uid))
            self._writer.of_class = OfClass(class_uid, _page_rows(records))
            self._writer.add(records)
            self._writer.finish()
            self.written_ids += [record.id for record in records]
        self._waiting_count = self._waiting_bytes = 0


def _page_rows(records: list[AuditRecord]) -> int:
    longest = max(len(record.raw) for record in records)
    return min(_MOST_PAGE_ROWS, max(1, _PAGE_GROWTH_BYTES // (longest + 1)))
