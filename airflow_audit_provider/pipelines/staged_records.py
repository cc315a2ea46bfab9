"""Records that one attempt stages: separates new records from committed ones, detects duplicate ids, writes parts.

Adopted records of an earlier attempt and records read from the API go through the same bookkeeping.

Invariant: a record is staged only if it is in no committed part, unless the pull replaces what is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from airflow_audit_provider.adapters.spill_file import SpillFile
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord, OddRecord, has_odd
from airflow_audit_provider.core.archive.commit import StagedPart, check_nothing_lost
from airflow_audit_provider.core.archive.recount import Recount
from airflow_audit_provider.core.archive.unique_ids import DuplicateGuard
from airflow_audit_provider.core.limits import FAIL_ON_ODD_RECORDS, RECOUNT
from airflow_audit_provider.core.windows.window import format_ns
from airflow_audit_provider.exceptions import SourceProtocolError
from airflow_audit_provider.pipelines.class_writer import ClassWriter
from airflow_audit_provider.pipelines.committed import committed_record_filter
from airflow_audit_provider.pipelines.observer import Observer
from airflow_audit_provider.pipelines.part_writer import PartWriter
from airflow_audit_provider.pipelines.pull_spec import PlannedPull
from airflow_audit_provider.pipelines.staging_area import StagingArea

_ODD_EXAMPLE_COUNT = 5


class StagedRecords:
    """Takes the records of a window in order; ``stats`` is what reading them cost.

    ``added_ids`` are the ids of the late records that an addendum adds, in order; empty for any other pull.
    ``odd_examples`` describes a few of the odd records among those that are staged.
    ``first_read`` collects the ids for a recount, None if none is requested; ``shown_before`` are digests of ids that
    the window has to have then.
    """

    def __init__(
        self, planned: PlannedPull, area: StagingArea, observer: Observer, shown_before: Iterable[int] = ()
    ) -> None:
        spec = planned.spec
        self.stats = ReadStats()
        self.added_ids: list[str] = []
        self.odd_examples: list[str] = []
        self.first_read = Recount(shown_before) if spec.verify == RECOUNT else None
        self._planned = planned
        self._spill = SpillFile()
        self._duplicates = DuplicateGuard(self._spill)
        self._committed = committed_record_filter(
            area.store, planned.committed, spec.replace, self._duplicates.add_missing
        )
        writer = PartWriter(area, area.prefix, spec.part_format, spec.query.version, spec.max_part_bytes, observer)
        self._writer = ClassWriter(writer, spec.part_format, spec.query.version) if spec.lake else writer

    @property
    def parts(self) -> list[StagedPart]:
        """The closed parts, in order."""
        return self._writer.parts

    @property
    def records_sha256(self) -> str:
        """The digest of all staged records: their lines in order."""
        return self._writer.records_sha256

    @property
    def missing_count(self) -> int:
        """Number of committed records that the API did not return; 0 after a resume, which compares only a part."""
        return 0 if self.stats.resumed_count else self._committed.missing_count

    def adopt(self, part: StagedPart, records: Iterable[AuditRecord]) -> Iterator[list[AuditRecord]]:
        """Takes over a part of an earlier attempt; yields its records in groups, which the caller has to consume."""
        for group in self._writer.adopt(part, records):
            self._note_ids(group)
            self._note_odd(group)
            if self._planned.is_addition:
                self._note_added(group)
            else:
                self._committed.exclude_committed(group)
            yield group

    def select_new(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Notes records that were read; returns those to stage: not committed yet, or all for a replacement."""
        self._note_ids(records)
        not_committed = self._committed.exclude_committed(records)
        new_records = not_committed if self._planned.is_addition else records
        self._note_odd(new_records)
        if self._planned.is_addition:
            self._note_added(new_records)
        return new_records

    def write(self, records: list[AuditRecord]) -> None:
        """Stages records that :meth:`select_new` returned; closes a part when it is full."""
        self._writer.add(records)

    def read_remaining_committed(self) -> None:
        """Reads the committed parts that no record came near; raises what a damaged part raises."""
        self._committed.finish()

    def check_conflicts(self) -> None:
        """Raises ``SourceProtocolError`` if an id came twice, or is committed with another event time.

        Call it after :meth:`read_remaining_committed`.
        """
        self._duplicates.check_conflicts(self.added_ids, str(self._planned.window))

    def check_nothing_lost(self) -> None:
        """Raises ``VerificationError`` if a replacement would remove records that the API no longer returns."""
        committed, spec = self._planned.committed, self._planned.spec
        if committed is not None and spec.replace:
            missing_count = self._committed.missing_count - self._duplicates.moved_count()
            check_nothing_lost(committed, missing_count, spec.is_erasure)

    def release_spill(self) -> None:
        """Deletes the spilled ids; no check that needs them is possible afterwards."""
        self._spill.close()

    def finish(self) -> None:
        """Closes the last part."""
        self._writer.finish()
        if isinstance(self._writer, ClassWriter) and self._planned.is_addition:
            # In the order of the parts, as they are read back.
            written_ids = self._writer.written_ids
            self.added_ids[len(self.added_ids) - len(written_ids) :] = written_ids

    def discard(self) -> None:
        """Discards the open part and the spilled ids; closed parts stay."""
        self._spill.close()
        self._writer.discard()

    def _note_ids(self, records: list[AuditRecord]) -> None:
        self._duplicates.add([record.id for record in records])
        if self.first_read is not None:
            self.first_read.add_first(record.id for record in records)

    def _note_odd(self, records: list[AuditRecord]) -> None:
        """Notes examples of odd records; raises ``SourceProtocolError`` for the first if they are to fail the pull."""
        if not has_odd(records):
            return
        odd = [record for record in records if isinstance(record, OddRecord)]
        if self._planned.spec.odd_records == FAIL_ON_ODD_RECORDS:
            raise _odd_record_error(odd[0], str(self._planned.window))
        examples = (f"{record.id} ({record.kind}, {format_ns(record.event_ns)})" for record in odd)
        self.odd_examples += islice(examples, _ODD_EXAMPLE_COUNT - len(self.odd_examples))

    def _note_added(self, records: list[AuditRecord]) -> None:
        self.added_ids.extend(record.id for record in records)


def _odd_record_error(record: OddRecord, window_name: str) -> SourceProtocolError:
    excerpt = record.raw[:200].decode("utf-8", "replace")
    return SourceProtocolError(
        f"The API returned a record that breaks its own contract ({record.kind}): {excerpt}. Nothing of the window was "
        "written, because odd_records is 'fail'. Set odd_records to 'keep' to write such records as they are, or open "
        "a Cloudflare support case with the record.",
        window=window_name,
    )
