"""One attempt at one window: reads the rest of it, stages what is new, keeps checkpoints, recounts on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import Direction
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.checkpoint import Checkpoint
from airflow_audit_provider.core.paging.errors import contradicts_earlier_attempt
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.undated import UndatedOnce
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.readiness import check_settled_by_server_clock
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    SourceProtocolError,
    StorageError,
    VerificationError,
)
from airflow_audit_provider.pipelines.observer import Observer, Phase, Progress
from airflow_audit_provider.pipelines.pull_spec import PlannedPull
from airflow_audit_provider.pipelines.resume import StartPoint
from airflow_audit_provider.pipelines.staging_area import StagingArea


class PullAttempt:
    """Reads a window from its start point to its end and stages what is not committed."""

    def __init__(
        self, planned: PlannedPull, area: StagingArea, start: StartPoint, reader: AuditLogReader, observer: Observer
    ) -> None:
        self._planned = planned
        self._area = area
        self._start = start
        self._staged = start.staged
        self._reader = reader
        self._observer = observer
        # How many closed parts the newest checkpoint has.
        self._saved_count = len(start.staged.parts)

    def fetch_and_stage(self) -> None:
        """Reads the rest of the window to its proved end and stages the records that are not committed yet."""
        planned, staged, start = self._planned, self._staged, self._start
        spec, window = planned.spec, planned.window
        request = ReadRequest(spec.query.version, start.remainder, known_second=start.known_second)
        parallel = ParallelReader(self._reader, spec.query, request, spec.concurrency)
        read_count = staged.stats.resumed_count
        undated_once = UndatedOnce(start.undated_ids)
        for delivered in parallel.read():
            records = start.exclude_adopted(undated_once.first_of(spec.apply_privacy(delivered)))
            new_records = staged.select_new(records)
            with self._observer.step(Phase.STAGE, window):
                staged.write(new_records)
                self._save_checkpoint(parallel.stats)
            read_count += len(records)
            share_done = window.share_before(delivered[-1].event_ns)
            self._observer.fetched(Progress(read_count, parallel.stats.page_count, share_done, len(records)))
        self._check_conflicts()
        check_settled_by_server_clock(window, self._reader.first_response_at, spec.settle_delay)
        staged.check_nothing_lost()
        staged.release_spill()
        staged.stats.add(parallel.stats)
        self._finish_staging()

    def recount(self) -> None:
        """Reads the window again from its other end; raises ``VerificationError`` if the ids differ."""
        recount = self._staged.first_read
        if recount is None:
            return
        spec, window = self._planned.spec, self._planned.window
        second_read = WindowReader(ReadRequest(spec.query.version, window, Direction.DESC))
        for records in self._reader.read(spec.query, second_read):
            recount.add_second(record.id for record in spec.apply_privacy(records))
        recount.check_agreement(str(window))
        self._staged.stats.add(second_read.stats)

    @contextmanager
    def cleanup_on_error(self) -> Iterator[None]:
        """On error, keeps checkpointed parts for the next attempt and removes everything else from staging.

        Nothing is kept after an error that no retry can fix. If the store refuses to remove objects, they stay in
        staging, where no reader looks, and the original error propagates.
        """
        try:
            yield
        except BaseException as error:
            self._clean_up(error)
            raise

    def _finish_staging(self) -> None:
        with self._observer.step(Phase.STAGE, self._planned.window):
            self._staged.finish()
            if self._saved_count:
                self._save_checkpoint(ReadStats())

    def _save_checkpoint(self, stats: ReadStats) -> None:
        """Writes a checkpoint if a part was closed since the last one; ``stats`` are not yet in the staged records'."""
        parts = self._staged.parts
        if len(parts) > self._saved_count:
            total = ReadStats()
            total.add(self._staged.stats)
            total.add(stats)
            now = self._reader.clock.now()
            began_at = min(self._start.began_at, self._reader.first_response_at or now)
            self._area.save(Checkpoint(self._planned.resume_key, tuple(parts), total, began_at, now))
            self._saved_count = len(parts)

    def _check_conflicts(self) -> None:
        """Raises if ids conflict; a conflict after a resume is retryable, because the next attempt starts fresh."""
        # Outside of the handler: an error in a committed part is not a conflict with the earlier attempt.
        self._staged.read_remaining_committed()
        try:
            self._staged.check_conflicts()
        except SourceProtocolError as conflict:
            if self._start.adopted is None:
                raise
            # The API may have changed a record since it was staged; resuming from that would fail every time.
            with suppress(StorageError):
                self._area.drop_adopted(self._start.adopted)
            # The parts of this attempt follow the dropped ones, so its checkpoints are of no use either.
            self._saved_count = 0
            raise contradicts_earlier_attempt(str(self._planned.window)) from conflict

    def _clean_up(self, error: BaseException) -> None:
        is_resumable = not isinstance(error, AuditProviderError) or error.retryable
        with suppress(StorageError):
            self._staged.discard()
            if not (is_resumable and self._saved_count):
                self._area.clear()
            if isinstance(error, VerificationError) and self._start.adopted is not None:
                # The recount contradicts the adopted records; resuming from them would fail every time.
                self._area.drop_adopted(self._start.adopted)
