"""Start of an attempt: resumes from the best checkpoint of an earlier attempt, or starts with nothing staged.

Invariant: a staged part is adopted only if its bytes match the digest in its checkpoint; one changed byte discards
the whole checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import NamedTuple

from airflow_audit_provider.core.api.records import AuditRecord, is_same_record, is_undated
from airflow_audit_provider.core.archive.checkpoint import Checkpoint
from airflow_audit_provider.core.limits import RECOUNT
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.committed import read_part
from airflow_audit_provider.pipelines.observer import Observer
from airflow_audit_provider.pipelines.pull_spec import PlannedPull
from airflow_audit_provider.pipelines.staged_records import StagedRecords
from airflow_audit_provider.pipelines.staging_area import StagingArea


class StartPoint(NamedTuple):
    """State in which an attempt starts to read: the records that are staged, and what is left to read.

    ``began_at`` is when the first of the attempts that resume each other began. ``adopted`` is the checkpoint it
    resumes from, None for a fresh start. ``boundary_records`` are the adopted records, by id, of the remainder's first
    second, which is read again because it may not be staged whole. ``undated_ids`` are those of adopted records
    without a time of their own, which may be shown again anywhere.
    """

    staged: StagedRecords
    remainder: TimeWindow
    began_at: datetime
    adopted: Checkpoint | None = None
    boundary_records: Mapping[str, AuditRecord] = {}
    undated_ids: frozenset[str] = frozenset()

    @property
    def known_second(self) -> int | None:
        """The second since the epoch, first of the remainder, that holds a staged record; None for a fresh start."""
        return None if self.adopted is None else self.remainder.whole_seconds()[0]

    def exclude_adopted(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Returns the records that are not adopted; one with the id of an adopted record but other content stays."""
        adopted = self.boundary_records
        if not adopted:
            return records
        return [each for each in records if not (each.id in adopted and is_same_record(adopted[each.id], each))]


def start_or_resume(planned: PlannedPull, area: StagingArea, now: datetime, observer: Observer) -> StartPoint:
    """Returns the start point upon the furthest checkpoint whose parts are intact, else a fresh start.

    A recount of late records always starts fresh: it compares all records of the window, and only the late ones are
    staged. So does a replacement in Security Lake: records are compared with the committed ones in the order of time,
    and parts of several classes are not in that order.
    """
    checkpoint = None
    is_recount = planned.spec.verify == RECOUNT and planned.is_addition
    if not is_recount and not (planned.spec.lake and planned.spec.replace):
        settled_at = planned.window.settled_at(planned.spec.settle_delay)
        checkpoint = area.find_checkpoint(planned.resume_key, settled_at)
    if checkpoint is not None:
        # An abandoned attempt's files are kept only as long as another attempt at the window is active.
        area.ensure_open()
        try:
            return _resume(planned, area, checkpoint, now, observer)
        except VerificationError:
            # A staged part is damaged. Its records can be read from the API again, so this is no reason to fail.
            checkpoint = None
    return StartPoint(StagedRecords(planned, area, observer), planned.window, now)


def _resume(
    planned: PlannedPull, area: StagingArea, checkpoint: Checkpoint, now: datetime, observer: Observer
) -> StartPoint:
    spec, since_ns = planned.spec, checkpoint.remainder.start_ns
    boundary_records: dict[str, AuditRecord] = {}
    undated_ids: set[str] = set()
    staged = StagedRecords(planned, area, observer)
    with ExitStack() as on_error:
        on_error.callback(staged.discard)
        for part in checkpoint.parts:
            staged_part = part.published_as(part.staged_key)
            records = read_part(area.store, staged_part, spec.part_format, spec.query.version)
            for group in staged.adopt(part, records):
                boundary_records.update((record.id, record) for record in group if record.event_ns >= since_ns)
                undated_ids.update(record.id for record in group if is_undated(record))
        on_error.pop_all()
    staged.stats.add(checkpoint.fetch)
    staged.stats.resumed_count = checkpoint.record_count
    began_at = min(now, checkpoint.began_at)
    return StartPoint(staged, checkpoint.remainder, began_at, checkpoint, boundary_records, frozenset(undated_ids))
