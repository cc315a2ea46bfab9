"""Pulls many windows in one task: each is read, staged and committed as by a run of its own.

::

    look up     what the destination holds around all windows, once
    skip        windows that are committed
    each        of the rest, oldest first: adjoining windows are read in one go (``shared_read``), and each is committed
                as soon as its records are complete, while the next ones are being read

What cannot be shared is read alone: a window that an earlier attempt has staged in part, one that has just ended, and
one whose shared read failed, because the reason may be a window after it.

Invariant: windows are committed in order of time; after an error all windows before the failed one are committed, and
the next attempt continues there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.readiness import is_recent
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    CommitConflictError,
    RetentionExceededError,
    SourceError,
    SourceRateLimitedError,
)
from airflow_audit_provider.pipelines.observer import Observer, PullOutcome
from airflow_audit_provider.pipelines.pull import pull_window
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.range_surroundings import RangeSurroundings
from airflow_audit_provider.pipelines.shared_read import SharedRead, UndatedRecordError
from airflow_audit_provider.pipelines.staging_area import StagingArea

# The longest range that is read in one go. The bound costs about a request for every month, and spares a server that
# is slow to answer for a long range.
_LONGEST_READ = timedelta(days=31)
# After so many shared reads in a row that failed before a window was complete, each window is read alone.
_MAX_FAILURES = 3
# How many committed windows an outcome lists; an XCom is a row of Airflow's database.
LISTED_COUNT = 100


class RangeSpec(NamedTuple):
    """Windows to pull, which follow each other without a gap, and the spec of each of them.

    ``reads_again`` is whether windows that are committed are read again for late records.
    """

    spec: PullSpec
    windows: Sequence[RunWindow]
    reads_again: bool = False

    @property
    def window(self) -> TimeWindow:
        """The range from the start of the first window to the end of the last one."""
        return TimeWindow(self.windows[0].window.start, self.windows[-1].window.end)

    def spec_of(self, run_window: RunWindow) -> PullSpec:
        """Returns the spec of one window."""
        return self.spec._replace(run_window=run_window)


class LandedWindow(NamedTuple):
    """A window that a run has committed: its start, the number of its records, and the key of its manifest."""

    start: datetime
    record_count: int
    manifest_key: str


class RangeOutcome:
    """Sums over the windows of a range, and the newest of them.

    ``window_count`` counts all committed windows, and ``committed_count`` those for which this run wrote a manifest.
    ``written_count`` and ``written_bytes`` are the records and bytes that this run wrote. ``listed`` has the first
    windows for which it wrote a manifest, at most ``LISTED_COUNT``. ``record_counts`` has every window.
    """

    def __init__(self) -> None:
        self.newest: PullOutcome | None = None
        self.window_count = self.committed_count = 0
        self.record_count = self.added_count = self.part_count = self.size_bytes = 0
        self.missing_count = self.odd_record_count = 0
        self.written_count = self.written_bytes = 0
        self.listed: list[LandedWindow] = []
        self.record_counts: dict[TimeWindow, int] = {}

    def add(self, outcome: PullOutcome) -> None:
        """Adds the outcome of a window; windows come in any order."""
        manifest = outcome.manifest
        self.window_count += 1
        self.record_count += manifest.record_count
        self.record_counts[manifest.window] = manifest.record_count
        self.part_count += len(manifest.parts)
        self.size_bytes += manifest.size_bytes
        self.missing_count += outcome.missing_count
        self.odd_record_count += sum((manifest.odd_records or {}).values())
        if outcome.committed:
            self.committed_count += 1
            self.added_count += manifest.added_count
            self.written_count += sum(part.record_count for part in outcome.written)
            self.written_bytes += sum(part.size_bytes for part in outcome.written)
            landed = LandedWindow(manifest.window.start, manifest.record_count, outcome.manifest_key)
            self.listed += [landed] if len(self.listed) < LISTED_COUNT else []
        if self.newest is None or manifest.window > self.newest.manifest.window:
            self.newest = outcome


def pull_range(range_spec: RangeSpec, reader: AuditLogReader, store: Store, observer: Observer) -> RangeOutcome:
    """Lands the windows of a range, oldest first; returns the sums over all.

    Windows that are committed are not read, unless the spec says so. Raises the errors of ``pull_window``, with the
    window at which it stopped and the number of committed ones; ``WindowNotSettledError`` once all windows before the
    first unsettled one are committed. Everything that is committed stays.
    """
    around = RangeSurroundings(store, range_spec.spec, range_spec.windows)
    outcome, windows = RangeOutcome(), range_spec.windows
    if not range_spec.reads_again:
        for committed in around.committed(windows):
            outcome.add(PullOutcome(committed.manifest, committed.key, committed=False))
            _remove_leftovers(store, range_spec.spec, committed.manifest, around, observer)
        windows = [each for each in windows if not around.is_committed(each.window)]

    _RangePull(range_spec, reader, store, observer, around).run(windows, outcome)
    return outcome


def _remove_leftovers(
    store: Store, spec: PullSpec, committed: Manifest, around: RangeSurroundings, observer: Observer
) -> None:
    """Removes what the attempt that committed a window has left, if it was killed right after that.

    As a run of the window does: its staging, and the parts that its commit replaced or erased.
    """
    area = StagingArea(store, committed.keys, spec.attempt_id, spec.seal_verifier, around.staged(committed.keys))
    observer.kept(committed.window, area.remove_leftovers(committed))


class _RangePull:
    """Pulls windows of a range in order."""

    def __init__(
        self,
        range_spec: RangeSpec,
        reader: AuditLogReader,
        store: Store,
        observer: Observer,
        around: RangeSurroundings,
    ) -> None:
        self._range_spec = range_spec
        self._reader = reader
        self._store = store
        self._observer = observer
        self._around = around
        self._failure_count = 0

    def run(self, windows: Sequence[RunWindow], outcome: RangeOutcome) -> None:
        """Pulls the windows and adds them to the outcome; states in an error how far it came."""
        at = 0
        while at < len(windows):
            group = self._adjoining(windows, at)
            with closing(self._open_shared(group)) as shared:
                for run_window in group:
                    with self._stating_progress(run_window.window, outcome):
                        landed = self._pull(run_window, shared, is_alone=len(group) == 1)
                    at += 1
                    outcome.add(landed)
                    self._around.note_claimed()
                    if shared.is_closed:
                        break

    @contextmanager
    def _stating_progress(self, window: TimeWindow, outcome: RangeOutcome) -> Iterator[None]:
        try:
            yield
        except AuditProviderError as error:
            error.progress = f"{outcome.window_count} of {len(self._range_spec.windows)} windows are committed"
            if isinstance(error, SourceError):
                # The request that failed may have been for several windows.
                error.window = str(window)
            else:
                error.progress += f", stopped at {window}"
            raise

    def _adjoining(self, windows: Sequence[RunWindow], at: int) -> Sequence[RunWindow]:
        """Returns the windows from an index on that can be read in one go; at least one."""
        now, end = self._reader.clock.now(), at + 1
        while (
            end < len(windows)
            and windows[end].window.start == windows[end - 1].window.end
            and windows[end].window.end - windows[at].window.start <= _LONGEST_READ
            and self._failure_count < _MAX_FAILURES
            and self._can_share(windows[end - 1], now)
            and self._can_share(windows[end], now)
        ):
            end += 1
        return windows[at:end]

    def _can_share(self, run_window: RunWindow, now: datetime) -> bool:
        """Returns whether a window can be read with its neighbours.

        Both edges of one that has just ended are requested again, and of one that is staged in part only the rest is
        read.
        """
        window, spec = run_window.window, self._range_spec.spec
        is_old = window.settled_at(spec.settle_delay) <= now and not is_recent(window, now)
        return is_old and not self._around.staged(WindowKeys(window, run_window.partition_date))

    def _open_shared(self, group: Sequence[RunWindow]) -> SharedRead:
        spec = self._range_spec.spec
        request = ReadRequest(spec.query.version, TimeWindow(group[0].window.start, group[-1].window.end))
        return SharedRead(ParallelReader(self._reader, spec.query, request, spec.concurrency))

    def _pull(self, run_window: RunWindow, shared: SharedRead, *, is_alone: bool) -> PullOutcome:
        """Pulls a window; if that fails for a reason that may lie in its neighbours, ends the shared read and retries.

        The second try reads the window alone, and looks up what the destination holds by now.
        """
        spec, source = self._range_spec.spec_of(run_window), None if is_alone else shared.window(run_window.window)
        around = self._around.around(run_window)
        try:
            outcome = pull_window(spec, self._reader, self._store, self._observer, around, source)
            self._failure_count = 0 if source is not None else self._failure_count
            return outcome
        except (SourceRateLimitedError, RetentionExceededError):
            raise
        except (UndatedRecordError, SourceError):
            if source is None:
                raise
            self._failure_count += 1
        except CommitConflictError:
            # The destination was looked up once for the whole range, perhaps hours ago, so the second try decides.
            pass
        shared.close()
        spec = spec._replace(attempt_id=f"{spec.attempt_id}-alone")
        return pull_window(spec, self._reader, self._store, self._observer)
