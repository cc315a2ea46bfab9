"""Finds the gaps of a dataset: missing, late and unverified windows, and what can no longer be read.

::

    list      all manifests, and the commit log
    cover     coverage of the range, by the newest manifest of each window
    decide    which spans are gaps, and which of them are due (``core/verification/gaps``)

Invariant: it reads the destination alone, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from airflow_audit_provider.core.archive.commit_log import log_entries
from airflow_audit_provider.core.archive.object_keys import COMMIT_LOG_FOLDER, MANIFEST_FOLDER, newest_manifests
from airflow_audit_provider.core.limits import DEFAULT_LATE_DELAY, DEFAULT_SETTLE_DELAY
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.coverage import RECENT_COUNT, SpanState
from airflow_audit_provider.core.verification.gaps import (
    Division,
    GapReason,
    GapReport,
    chosen,
    committed_gaps,
    late_windows,
    missing_gaps,
)
from airflow_audit_provider.core.windows.division import joined, windows_over
from airflow_audit_provider.core.windows.readiness import CLOCK_TOLERANCE
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.coverage import DatasetCoverage, coverage
from airflow_audit_provider.pipelines.stitching import check_one_version

HistoryOf = Callable[[str], datetime | None]
_LONG_AGO = timedelta(days=3650)


class GapRequest(NamedTuple):
    """What to look for.

    A ``start`` that is None is that of the first committed window; an ``end`` that is None is that of the last window
    of the division that is settled. ``late_delay`` is how long after its end a window may still get records.
    ``late_seen_at`` is when an earlier run last looked for late windows, None if no run did: windows whose
    ``late_delay`` had ended by then are not returned again. ``api_version`` is that of the log as long as nothing is
    committed, and ``history_of`` returns the instant before which a version has no records.
    """

    start: datetime | None = None
    end: datetime | None = None
    division: str = "day"
    timezone: str = "UTC"
    settle_delay: timedelta = DEFAULT_SETTLE_DELAY
    reasons: Iterable[GapReason] = (GapReason.MISSING, GapReason.LATE)
    late_delay: timedelta = DEFAULT_LATE_DELAY
    late_seen_at: datetime | None = None
    max_count: int = 1000
    api_version: str = "v1"
    history_of: HistoryOf | None = None


def find_gaps(store: Store, now: datetime, request: GapRequest) -> GapReport:
    """Returns the gaps of the dataset at the store's root, in the order in which they expire.

    Raises ``VerificationError`` for a manifest or descriptor that cannot be read.
    """
    newest = newest_manifests(store.list_keys(MANIFEST_FOLDER))
    if not newest:
        check_one_version(store)
    time_range = _range(request, newest, now)
    if time_range is None:
        return GapReport(now, None, None)
    found = coverage(store, now, time_range.start, time_range.end, request.settle_delay) if newest else ()
    held = next((one for one in found if not one.folder), None)
    version = held.dataset.query.version if held is not None else request.api_version
    history_starts_at = request.history_of(version) if request.history_of is not None else None
    division = Division(request.division, request.timezone, now, history_starts_at)
    if held is None:
        gaps = missing_gaps(_uncommitted(time_range, _settled_end_at(request, now)), division)
    else:
        own = _own_windows(newest, time_range, held)
        late = late_windows(own, log_entries(store.list_keys(COMMIT_LOG_FOLDER)), partial(_is_late, request, now))
        missing = _missing(held, newest, _settled_end_at(request, now), division)
        gaps = missing_gaps(missing, division) + committed_gaps(late, _unverified(own, held), division)
    due, remaining_count = chosen(gaps, request.reasons, request.max_count)
    other = tuple(sorted(gap for gap in gaps if not gap.is_due))
    return GapReport(now, time_range.start, time_range.end, tuple(due), other, remaining_count)


def _range(request: GapRequest, newest: Mapping[TimeWindow, str], now: datetime) -> TimeWindow | None:
    """Returns the range, None if it has no start or nothing in it is settled."""
    start = request.start or min((window.start for window in newest), default=None)
    end = request.end or _settled_end_at(request, now)
    return TimeWindow(start, end) if start is not None and start < end else None


def _settled_end_at(request: GapRequest, now: datetime) -> datetime:
    """Returns the end of the last window of the division that is settled."""
    settled_at = now - request.settle_delay
    # The window that contains the last settled instant is not over.
    last = windows_over(TimeWindow(settled_at, settled_at + timedelta(seconds=1)), request.division, request.timezone)
    return last[0].start


def _missing(
    held: DatasetCoverage, newest: Iterable[TimeWindow], settled_end_at: datetime, division: Division
) -> list[TimeWindow]:
    """Returns what is missing of a dataset.

    Coverage waits as long as the longest of the newest windows takes, because it does not know the division: for 25
    hours after a clock change, for 31 days in a month of 28. If each of them is in one window of the division, the
    windows that are settled are missing.
    """
    recent = sorted(newest)[-RECENT_COUNT:]
    missing = [TimeWindow(span.start, span.end) for span in held.coverage.missing]
    if any(len(division.windows(window)) > 1 for window in recent):
        return missing
    pending = [span for span in held.coverage.spans if span.state is SpanState.PENDING and span.start < settled_end_at]
    return joined(sorted([*missing, *(TimeWindow(one.start, min(one.end, settled_end_at)) for one in pending)]))


def _uncommitted(time_range: TimeWindow, settled_end_at: datetime) -> list[TimeWindow]:
    """Returns what is settled of a range of which nothing is committed."""
    end = min(time_range.end, settled_end_at)
    return [TimeWindow(time_range.start, end)] if time_range.start < end else []


def _own_windows(
    newest: Mapping[TimeWindow, str], time_range: TimeWindow, held: DatasetCoverage
) -> dict[TimeWindow, str]:
    """Returns the committed windows of the dataset in the range; those of other datasets are not read again."""
    spans = [span for span in held.coverage.spans if span.state is SpanState.FOREIGN]
    foreign = [TimeWindow(span.start, span.end) for span in spans]
    return {
        window: key
        for window, key in newest.items()
        if window.overlaps(time_range) and not any(window.overlaps(span) for span in foreign)
    }


def _unverified(own: Iterable[TimeWindow], held: DatasetCoverage) -> list[TimeWindow]:
    spans = [TimeWindow(one.start, one.end) for one in held.verified.spans if one.verified_at is None]
    return [window for window in own if any(span.start <= window.start and window.end <= span.end for span in spans)]


def _is_late(request: GapRequest, now: datetime, window: TimeWindow, committed_at: datetime) -> bool:
    """Returns whether a window was committed before its ``late_delay`` ended, and no run has looked since then."""
    complete_at = window.end + request.late_delay
    # The clock by which the earlier run began may be ahead of that by which it looked.
    since = (request.late_seen_at or now - _LONG_AGO) - CLOCK_TOLERANCE
    return committed_at < complete_at and since < complete_at <= now
