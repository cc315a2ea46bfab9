"""One attempt at one window: reads the rest of it, stages what is new, keeps checkpoints, recounts on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import Direction
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.checkpoint import Checkpoint
from airflow_audit_provider.core.archive.recount import Agreement, Recount
from airflow_audit_provider.core.paging.edge_check import LOOKS, EdgeCheck
from airflow_audit_provider.core.paging.errors import contradicts_earlier_attempt
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.undated import UndatedOnce
from airflow_audit_provider.core.paging.window_reader import SinglePageReader, WindowReader
from airflow_audit_provider.core.windows.readiness import check_settled_by_server_clock
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    SourceProtocolError,
    SourceUnavailableError,
    StorageError,
    VerificationError,
)
from airflow_audit_provider.pipelines.observer import Observer, Phase, Progress
from airflow_audit_provider.pipelines.pull_spec import PlannedPull
from airflow_audit_provider.pipelines.resume import StartPoint
from airflow_audit_provider.pipelines.shared_read import RecordSource
from airflow_audit_provider.pipelines.staged_records import StagedRecords
from airflow_audit_provider.pipelines.staging_area import StagingArea


class PullAttempt:
    """Reads a window from its start point to its end and stages what is not committed.

    ``shared`` has the window's records, if several windows are read at once; it is used for the first reading of a
    window that no earlier attempt has staged in part.
    """

    def __init__(
        self,
        planned: PlannedPull,
        area: StagingArea,
        start: StartPoint,
        reader: AuditLogReader,
        observer: Observer,
        shared: RecordSource | None = None,
    ) -> None:
        self._planned = planned
        self._area = area
        self._start = start
        self._staged = start.staged
        self._reader = reader
        self._observer = observer
        self._shared = shared if start.adopted is None else None
        # How many closed parts the newest checkpoint has.
        self._saved_count = len(start.staged.parts)

    def fetch_and_stage(self) -> None:
        """Reads the rest of the window to its proved end and stages the records that are not committed yet."""
        planned, staged, start = self._planned, self._staged, self._start
        spec, window = planned.spec, planned.window
        source = self._open_source()
        read_count = staged.stats.resumed_count
        undated_once = UndatedOnce(start.undated_ids)
        for delivered in self._delivered(source):
            records = start.exclude_adopted(undated_once.first_of(spec.apply_privacy(delivered)))
            new_records = staged.select_new(records)
            with self._observer.step(Phase.STAGE, window):
                if new_records:
                    self._area.prove_writable(planned.descriptor)
                staged.write(new_records)
                self._save_checkpoint(source.stats)
            read_count += len(records)
            share_done = window.share_before(delivered[-1].event_ns)
            self._observer.fetched(Progress(read_count, source.stats.page_count, share_done, len(records)))
        self._check_conflicts()
        check_settled_by_server_clock(window, self._reader.first_response_at, spec.settle_delay)
        staged.check_nothing_lost()
        staged.release_spill()
        staged.stats.add(source.stats)
        self._finish_staging()

    @property
    def staged(self) -> StagedRecords:
        """The staged records."""
        return self._staged

    def recount(self) -> VerificationError | None:
        """Reads the window again from its other end; returns the error to raise if the ids differ.

        If it only lacks records, a third reading from the other end shows whether they have vanished; what ends a
        reading too early rarely leaves out the same records from both ends.
        """
        recount = self._staged.first_read
        if recount is None:
            return None
        agreement = self._compare(recount, Direction.DESC)
        if agreement is Agreement.LACKS:
            agreement = self._compare(recount, Direction.ASC)
        return None if agreement is Agreement.AGREES else recount.disagreement(str(self._planned.window))

    def start_again(self) -> None:
        """Discards what is staged, and makes the attempt read from the window's start all that was shown so far."""
        before, now = self._staged, self._reader.clock.now()
        before.discard()
        self._forget_staged()
        self._area.clear()
        self._area.begin(now)
        shown = before.first_read.shown if before.first_read is not None else ()
        self._staged = StagedRecords(self._planned, self._area, self._observer, shown)
        self._start = StartPoint(self._staged, self._planned.window, now)
        self._staged.stats.add(before.stats)
        self._staged.stats.resumed_count = 0

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

    def _open_source(self) -> RecordSource:
        """Returns where the records of the remainder come from."""
        source, self._shared = self._shared, None
        if source is not None:
            return source
        spec, start = self._planned.spec, self._start
        request = ReadRequest(spec.query.version, start.remainder, known_second=start.known_second)
        return ParallelReader(self._reader, spec.query, request, spec.concurrency)

    def _delivered(self, source: RecordSource) -> Iterator[list[AuditRecord]]:
        """Yields the records of the remainder in order; with verification of its edges, the newest ones after that."""
        if not self._planned.has_second_look:
            yield from source.read()
            return
        check = EdgeCheck(self._start.remainder)
        for records in source.read():
            yield from check.hold(records)
        with self._observer.step(Phase.VERIFY, self._planned.window):
            self._look_again(check)
        newest = self._release(check)
        source.stats.add(check.stats)
        yield from newest

    def _look_again(self, check: EdgeCheck) -> None:
        """Requests both edges of the remainder once more, after a pause in which a replica can catch up."""
        query, window = self._planned.spec.query, self._start.remainder
        self._reader.pause(self._planned.spec.edges_pause.total_seconds())
        for direction in LOOKS:
            page = SinglePageReader(ReadRequest(query.version, window, direction, known_second=check.known_second))
            check.receive(direction, list(chain.from_iterable(self._reader.read(query, page))))
            check.stats.add(page.stats)

    def _release(self, check: EdgeCheck) -> list[list[AuditRecord]]:
        try:
            return check.release()
        except SourceUnavailableError:
            # Records may be missing among the staged ones, so the next attempt has to read the window from its start.
            self._forget_staged()
            raise

    def _compare(self, recount: Recount, direction: Direction) -> Agreement:
        spec = self._planned.spec
        second_read = WindowReader(ReadRequest(spec.query.version, self._planned.window, direction))
        recount.begin_second()
        for records in self._reader.read(spec.query, second_read):
            recount.add_second(record.id for record in spec.apply_privacy(records))
        self._staged.stats.add(second_read.stats)
        return recount.judge()

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
            self._forget_staged()
            raise contradicts_earlier_attempt(str(self._planned.window)) from conflict

    def _forget_staged(self) -> None:
        """Makes the next attempt start fresh: drops what was adopted, and the checkpoints of this attempt with it."""
        if self._start.adopted is not None:
            with suppress(StorageError):
                self._area.drop_adopted(self._start.adopted)
        # The parts of this attempt follow the dropped ones, so its checkpoints are of no use either.
        self._saved_count = 0

    def _clean_up(self, error: BaseException) -> None:
        is_resumable = not isinstance(error, AuditProviderError) or error.retryable
        with suppress(StorageError):
            self._staged.discard()
            if not (is_resumable and self._saved_count):
                self._area.clear()
            if isinstance(error, VerificationError) and self._start.adopted is not None:
                # The recount contradicts the adopted records; resuming from them would fail every time.
                self._area.drop_adopted(self._start.adopted)
        self._area.withdraw()
