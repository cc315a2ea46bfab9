"""One try of one window: what is read is staged, what is staged is committed.

Knows: what an earlier try left, what is committed already, what was read so far.
Must not know: Airflow, httpx, a store's kind, a format's inside, in which order its steps are taken (``pipeline``).
Its one rule: a record is staged when it is in no committed part and in none that an earlier try staged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.spill_file import SpillFile
from airflow_audit_provider.core.api.query import Direction
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord, is_same_record
from airflow_audit_provider.core.archive.checkpoint import Checkpoint
from airflow_audit_provider.core.archive.commit import (
    CommitEvent,
    CommitPlan,
    CommitState,
    CommittedManifest,
    check_nothing_lost,
    check_objects_present,
)
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.recount import Recount
from airflow_audit_provider.core.archive.unique_ids import DuplicateGuard
from airflow_audit_provider.core.paging.errors import contradicts_earlier_attempt
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.readiness import check_settled_by_server_clock
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    CommitConflictError,
    SourceProtocolError,
    StorageError,
    VerificationError,
)
from airflow_audit_provider.pipelines.committed import (
    absent_objects,
    absent_parts,
    check_no_overlap_since,
    committed_record_filter,
    latest_committed,
    read_part,
)
from airflow_audit_provider.pipelines.observer import Observer, Phase, Progress, PullOutcome
from airflow_audit_provider.pipelines.part_writer import PartWriter
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.staging_area import StagingArea


class PullAttempt:
    """One try of one window, from what an earlier try left to the manifest."""

    def __init__(
        self,
        order: PullSpec,
        source: AuditLogReader,
        attempt: StagingArea,
        committed: CommittedManifest | None,
        observer: Observer,
    ) -> None:
        self._order = order
        self._source = source
        self._store = attempt.store
        self._attempt = attempt
        self._committed = committed
        self._observer = observer
        self._identity = order.resume_key(committed)
        self._is_addition = committed is not None and not order.replace
        self._saved_count = 0
        self._scratch = SpillFile()
        self._adopted: Checkpoint | None = None
        self._began_at = source.clock.now()
        self._begin()

    def _begin(self) -> None:
        """Start with nothing staged."""
        order, prefix = self._order, self._attempt.prefix
        self._stager = PartWriter(
            self._store, prefix, order.part_format, order.query.version, order.max_part_bytes, self._observer
        )
        self._register = DuplicateGuard(self._scratch)
        self._known = committed_record_filter(self._store, self._committed, order.replace, self._register.add_missing)
        self._tally = ReadStats()
        self._recount = Recount() if order.recount else None
        self._remainder = order.run_window.window
        # What an earlier try staged of the second that is read again, by id; late ids of this generation.
        self._staged: dict[str, AuditRecord] = {}
        self._added_ids: list[str] = []

    def resume(self) -> None:
        """Take over what an earlier try of the same order has staged; nothing, if a byte of it is not as it was."""
        if self._recount is not None and self._is_addition:
            # The first reading's count is of all records, and staged are only the late ones.
            return
        settled_at = self._order.run_window.window.settled_at(self._order.settle_delay)
        checkpoint = self._attempt.find_checkpoint(self._identity, settled_at)
        try:
            if checkpoint is not None:
                self._adopt(checkpoint)
        except VerificationError:
            self._begin()

    def _adopt(self, checkpoint: Checkpoint) -> None:
        order, since_ns = self._order, checkpoint.remainder.start_ns
        for part in checkpoint.parts:
            staged = part.published_as(part.staged_key)
            records = read_part(self._store, staged, order.part_format, order.query.version)
            for group in self._stager.adopt(part, records):
                self._note_first(group)
                self._note_added(group)
                if not self._is_addition:
                    self._known.exclude_committed(group)
                self._staged.update((record.id, record) for record in group if record.event_ns >= since_ns)
        self._adopted, self._remainder = checkpoint, checkpoint.remainder
        self._began_at = min(self._began_at, checkpoint.began_at)
        self._saved_count = len(checkpoint.parts)
        self._tally.add(checkpoint.fetch)
        self._tally.resumed_count = checkpoint.record_count

    def fetch_and_stage(self) -> None:
        """Read what is missing of the window to its proved end; stage what is not committed yet."""
        order, window = self._order, self._order.run_window.window
        # What was taken over ends with a record of the remainder's first second.
        known = self._remainder.whole_seconds()[0] if self._tally.resumed_count else None
        request = ReadRequest(order.query.version, self._remainder, known_seconds=known)
        reading = ParallelReader(self._source, order.query, request, order.concurrency)
        read_count = self._tally.resumed_count
        for read in reading.read():
            records = self._not_staged(order.apply_privacy(read))
            self._note_first(records)
            fresh = self._fresh(records)
            self._note_added(fresh)
            with self._observer.step(Phase.STAGE, window):
                self._stager.add(fresh)
                self._save(reading.stats)
            read_count += len(records)
            share_done = window.share_before(read[-1].event_ns)
            self._observer.fetched(Progress(read_count, reading.stats.page_count, share_done, len(records)))
        self._known.finish()
        self._refuse_conflicts()
        self._refuse_what_was_read()
        self._scratch.close()
        self._tally.add(reading.stats)
        self._finish_staging()

    def _finish_staging(self) -> None:
        with self._observer.step(Phase.STAGE, self._order.run_window.window):
            self._stager.finish()
            if self._saved_count:
                self._save(ReadStats())

    def _not_staged(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Return those of some records that no earlier try has staged; what differs under a staged id is another."""
        staged = self._staged
        if not staged:
            return records
        return [each for each in records if not (each.id in staged and is_same_record(staged[each.id], each))]

    def _fresh(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Return what is to be staged of some records: those not committed, all of them for a replacement."""
        added = self._known.exclude_committed(records)
        return added if self._is_addition else records

    def _refuse_what_was_read(self) -> None:
        """Raise when what was read came too early, or lacks what a replacement would remove."""
        order = self._order
        check_settled_by_server_clock(order.run_window.window, self._source.first_response_at, order.settle_delay)
        if self._committed is not None and order.replace:
            check_nothing_lost(self._committed, self._known.missing_count - self._register.moved_count())

    def _note_first(self, records: list[AuditRecord]) -> None:
        self._register.add([record.id for record in records])
        if self._recount is not None:
            self._recount.add_first(record.id for record in records)

    def _refuse_conflicts(self) -> None:
        window_name = str(self._order.run_window.window)
        try:
            self._register.check_conflicts(self._added_ids, window_name)
        except SourceProtocolError as conflict:
            if self._adopted is None:
                raise
            # The API may tell a record otherwise than it did then: going on with that would be refused for ever.
            with suppress(StorageError):
                self._attempt.drop_adopted(self._adopted)
            # What this try has staged stands upon that: there is no checkpoint to keep when it is left.
            self._saved_count = 0
            raise contradicts_earlier_attempt(window_name) from conflict

    def _note_added(self, records: list[AuditRecord]) -> None:
        if self._is_addition:
            self._added_ids.extend(record.id for record in records)

    def _save(self, fetch: ReadStats) -> None:
        """Leave a checkpoint when a part was closed since the last one."""
        parts = self._stager.parts
        if len(parts) > self._saved_count:
            so_far = ReadStats()
            so_far.add(self._tally)
            so_far.add(fetch)
            now = self._source.clock.now()
            began_at = min(self._began_at, self._source.first_response_at or now)
            self._attempt.save(Checkpoint(self._identity, tuple(parts), so_far, began_at, now))
            self._saved_count = len(parts)

    def recount(self) -> None:
        """Read the window again from its other end; raise ``VerificationError`` when that brings other records."""
        if self._recount is None:
            return
        window = self._order.run_window.window
        second = WindowReader(ReadRequest(self._order.query.version, window, Direction.DESC))
        for records in self._source.read(self._order.query, second):
            self._recount.add_second(record.id for record in self._order.apply_privacy(records))
        self._recount.check_agreement(str(window))
        self._tally.add(second.stats)

    def commit(self) -> PullOutcome:
        """Publish the staged parts and create the next manifest; with nothing new to say, say nothing.

        Published parts are not taken back when this fails without a winner: another run of the window may be about to
        commit the same keys. The next try publishes the same bytes under the same keys.
        """
        order, committed = self._order, self._committed
        plan = CommitPlan(order.keys, committed, order.replace, self._stager.parts, order.part_format.extension)
        missing_count = 0 if self._tally.resumed_count else self._known.missing_count
        if committed is not None and plan.state is CommitState.UNCHANGED:
            return PullOutcome(committed.manifest, committed.key, committed=False, missing_count=missing_count)
        # Another try may have taken away, with its own staging, what this one had taken over from it.
        staged = {part.staged_key: part.size_bytes for part in self._stager.parts}
        check_objects_present(absent_objects(self._store, staged))
        for staged_key, key in plan.publications():
            self._store.publish(staged_key, key)
        plan.note(CommitEvent.PARTS_PUBLISHED)
        manifest = plan.manifest(self._draft_manifest())
        check_objects_present(absent_parts(self._store, manifest.parts))
        check_no_overlap_since(self._store, order.keys)
        content = manifest.to_bytes()
        created = self._store.create(plan.manifest_key, content) and self._store.read(plan.manifest_key) == content
        plan.note(CommitEvent.MANIFEST_CREATED if created else CommitEvent.MANIFEST_EXISTS)
        if plan.state is CommitState.COMMITTED:
            check_objects_present(absent_parts(self._store, manifest.parts), plan.manifest_key)
            return PullOutcome(manifest, plan.manifest_key, committed=True, missing_count=missing_count)
        winner = self._agreed_winner(plan, manifest)
        return PullOutcome(winner.manifest, winner.key, committed=False, missing_count=missing_count)

    def _agreed_winner(self, plan: CommitPlan, manifest: Manifest) -> CommittedManifest:
        """Return the commit that was first and holds the same; else take back what this one published, and raise."""
        winner = latest_committed(self._store, self._order.keys)
        try:
            agreed = plan.agreed_winner(winner, manifest)
        except CommitConflictError:
            if winner is not None:
                self.remove_leftovers(winner.manifest)
            raise
        return agreed

    def _draft_manifest(self) -> Manifest:
        """Return what this try says of the window, before parts and generation."""
        order = self._order
        return Manifest(
            query=order.query,
            window=order.run_window.window,
            window_rule=order.run_window.rule,
            partition_date=order.run_window.partition_date,
            file_format=order.part_format.file_format,
            compression=order.part_format.compression,
            record_count=0,
            added_count=0,
            records_sha256=self._stager.records_sha256,
            parts=(),
            fetch=self._tally,
            added_ids=tuple(self._added_ids),
            verified="recount" if order.recount else None,
            table=order.part_format.table,
            privacy=order.applied_privacy,
        )

    @contextmanager
    def cleanup_on_error(self) -> Iterator[None]:
        """On an error, leave staging so that the next try can go on: what a retry cannot use, nor anybody, is removed.

        A store that refuses leaves debris no reader sees; the error stands either way.
        """
        try:
            yield
        except BaseException as error:
            self._leave(error)
            raise

    def _leave(self, error: BaseException) -> None:
        self._scratch.close()
        is_worth_keeping = not isinstance(error, AuditProviderError) or error.retryable
        with suppress(StorageError):
            self._stager.discard()
            if not (is_worth_keeping and self._saved_count):
                self._attempt.clear()
            if isinstance(error, VerificationError) and self._adopted is not None:
                # The recount contradicts what was taken over: going on with it would be refused for ever.
                self._attempt.drop_adopted(self._adopted)

    def remove_leftovers(self, manifest: Manifest) -> None:
        """Remove what nobody needs after the commit; a store that refuses leaves it to the next run."""
        with suppress(StorageError):
            self._attempt.clear_committed(manifest)
            self._attempt.remove_unreferenced_parts(manifest)
