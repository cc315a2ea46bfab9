"""Plans a backfill: which windows are missing, what they need, and until when they can be read.

::

    divide    the range into windows; coverage and retention decide the state of each
    sample    single pages of the log, at instants spread over the missing windows (``core/windows/sampling``). A
              backfill of many requests is worth more of them
    estimate  records, requests, minutes and bytes of the missing windows, from the pages

Invariant: it writes nothing. It sends at most as many requests as it may take samples; three times as many if the
backfill needs more than a hundred times as many.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import reduce
from itertools import groupby
from math import ceil
from typing import NamedTuple

import msgspec

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.archive.dataset import Dataset, check_one_dataset, read_dataset
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.limits import DEFAULT_CONCURRENCY, DEFAULT_SETTLE_DELAY, EDGES, RECOUNT, check_verify
from airflow_audit_provider.core.paging.request_count import EDGES_REQUESTS
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.coverage import Span, SpanState
from airflow_audit_provider.core.windows.division import joined, windows_over
from airflow_audit_provider.core.windows.readiness import expires_at, whole_windows_start_at
from airflow_audit_provider.core.windows.sampling import DEFAULT_SAMPLES, check_sample_count
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats.options import forms
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines.coverage import DatasetCoverage, coverage
from airflow_audit_provider.pipelines.plan_report import (
    Expiry,
    FormSize,
    Need,
    Plan,
    PlannedSpan,
    Sampling,
    WindowState,
    backfill_command,
    counted,
)
from airflow_audit_provider.pipelines.sampled_log import SampledLog, WindowNeed
from airflow_audit_provider.pipelines.stitching import check_one_version

DEFAULT_DAG_ID = "cloudflare_audit_backfill"
EXPIRY_DAYS = (7, 30, 90)
# A second round of samples, twice as many, where the first is less than a hundredth of the requests to come.
_SECOND_ROUND_FACTOR, _WORTHWHILE_REQUESTS = 2, 100
# Estimate: what a task of a backfill waits for beside its requests. Scheduling and start take 2 to 8 s by executor.
_TASK_START_SECONDS = 5.0
_MIN_RUNS, _MAX_RUNS = 2, 16
_MAX_COMMANDS = 10
_COMMITTED_STATES = frozenset({SpanState.COMMITTED, SpanState.EMPTY})


class PlanRequest(NamedTuple):
    """What to plan: a log, a range and how it is divided; a bound that is None is what the API can still give.

    ``history_starts_at`` is the instant before which the API version has no records. ``verify`` and ``concurrency`` are
    those of the pulls, ``dag_id`` is the DAG of the backfill.
    """

    query: AuditQuery
    start: datetime | None = None
    end: datetime | None = None
    division: str = "day"
    timezone: str = "UTC"
    settle_delay: timedelta = DEFAULT_SETTLE_DELAY
    history_starts_at: datetime | None = None
    sample_count: int = DEFAULT_SAMPLES
    verify: str | None = None
    concurrency: int = DEFAULT_CONCURRENCY
    dag_id: str = DEFAULT_DAG_ID


class _StatedWindow(NamedTuple):
    window: TimeWindow
    state: WindowState


def plan_backfill(store: Store, reader: AuditLogReader, request: PlanRequest) -> Plan:
    """Returns the plan of a backfill of the range into the store's root.

    Raises ``ConfigurationError`` for an impossible request and a range without a whole window,
    ``CommitConflictError`` if the destination holds another log, and the errors of reading the API.
    """
    check_sample_count(request.sample_count)
    check_verify(request.verify)
    now = reader.clock.now()
    windows = _windows(request, now)
    time_range = TimeWindow(windows[0].start, windows[-1].end)
    held = _held(store, request, time_range, now)
    stated = list(_stated(windows, held.coverage.spans if held else (), request, now))
    missing = [window for window, state in stated if state is WindowState.MISSING]
    log, total = _sampled(reader, request, missing)
    need = _need(total, log, request, len(missing), reader)
    spans = joined(missing)
    return Plan(
        planned_at=now,
        start=time_range.start,
        end=time_range.end,
        division=request.division,
        timezone=request.timezone,
        audit_log=f"{request.query.log_name}, version {request.query.version.removeprefix('v')} of the API",
        windows=counted([state for _, state in stated]),
        spans=tuple(_spans(stated)),
        first_expires_at=expires_at(missing[0]) if missing else None,
        expiries=tuple(_expiry(missing, now, days) for days in EXPIRY_DAYS),
        sampling=_sampling(log, missing),
        need=need,
        forms=tuple(_forms(log, total, held.dataset if held else None)),
        commands=tuple(_command(span, missing, request, need) for span in spans[:_MAX_COMMANDS]),
        more_spans=max(0, len(spans) - _MAX_COMMANDS),
    )


def held_query(store: Store) -> AuditQuery | None:
    """Returns the query of the dataset that a store's root holds; None if it holds none."""
    content = store.read(DATASET_KEY)
    return None if content is None else read_dataset(content).query


def _windows(request: PlanRequest, now: datetime) -> list[TimeWindow]:
    """Returns the windows of the range; without a bound, those that the API still has whole, and that are settled."""
    oldest_at = max(filter(None, (whole_windows_start_at(now), request.history_starts_at)))
    newest_at = now - request.settle_delay
    start, end = request.start or oldest_at, request.end or newest_at
    windows = windows_over(TimeWindow(start, end), request.division, request.timezone)
    if request.start is None:
        windows = [window for window in windows if window.start >= oldest_at]
    if request.end is None:
        windows = [window for window in windows if window.end <= newest_at]
    if not windows:
        raise ConfigurationError(
            f"There is no whole {request.division} from {start.isoformat()} to {end.isoformat()} to plan for. Give an "
            "earlier start or a later end, or a shorter division."
        )
    return windows


def _held(store: Store, request: PlanRequest, time_range: TimeWindow, now: datetime) -> DatasetCoverage | None:
    """Returns the coverage of the range by the store's root, None if it holds no dataset."""
    found = coverage(store, now, time_range.start, time_range.end, request.settle_delay)
    held = next((one for one in found if not one.folder), None)
    if held is None:
        check_one_version(store)
    else:
        check_one_dataset(held.dataset, msgspec.structs.replace(held.dataset, query=request.query), DATASET_KEY)
    return held


def _stated(
    windows: Sequence[TimeWindow], spans: Sequence[Span], request: PlanRequest, now: datetime
) -> Iterator[_StatedWindow]:
    """Yields each window with its state."""
    ends = [span.end for span in spans]
    for window in windows:
        number, covering = bisect_right(ends, window.start), list[Span]()
        while number < len(spans) and spans[number].start < window.end:
            covering.append(spans[number])
            number += 1
        yield _StatedWindow(window, _covered_state(window, covering, now) or _open_state(window, request, now))


def _covered_state(window: TimeWindow, covering: Sequence[Span], now: datetime) -> WindowState | None:
    """Returns the state of a window that committed windows cover, if only in part; None if nothing of it is there."""
    states = {span.state for span in covering}
    if SpanState.FOREIGN in states:
        return WindowState.FOREIGN
    if not states & _COMMITTED_STATES:
        return None
    if states <= _COMMITTED_STATES:
        return WindowState.COMMITTED
    gap = next(span for span in covering if span.state not in _COMMITTED_STATES)
    is_lost = max(gap.start, window.start) < whole_windows_start_at(now)
    return WindowState.LOST if is_lost else WindowState.PARTIAL


def _open_state(window: TimeWindow, request: PlanRequest, now: datetime) -> WindowState:
    # First: what is older than that, version 1 does not have either.
    if window.start < whole_windows_start_at(now):
        return WindowState.LOST
    if request.history_starts_at is not None and window.start < request.history_starts_at:
        return WindowState.NO_HISTORY
    return WindowState.PENDING if window.settled_at(request.settle_delay) > now else WindowState.MISSING


def _spans(stated: Sequence[_StatedWindow]) -> Iterator[PlannedSpan]:
    for state, group in groupby(stated, key=_state_of):
        windows = [one.window for one in group]
        expiry = expires_at(windows[0]) if state is WindowState.MISSING else None
        yield PlannedSpan(windows[0].start, windows[-1].end, state, len(windows), expiry)


def _state_of(stated: _StatedWindow) -> WindowState:
    return stated.state


def _expiry(missing: Sequence[TimeWindow], now: datetime, days: int) -> Expiry:
    oldest_at = whole_windows_start_at(now + timedelta(days=days))
    return Expiry(days, sum(window.start < oldest_at for window in missing))


def _sampled(
    reader: AuditLogReader, request: PlanRequest, missing: Sequence[TimeWindow]
) -> tuple[SampledLog | None, WindowNeed]:
    """Returns the sampled log of the missing windows, and what they need together."""
    if not missing:
        return None, WindowNeed()
    log, sample_count = SampledLog(reader, request.query, joined(missing)), request.sample_count
    log.sample(sample_count)
    total = _total(log, request, missing)
    if total.request_count > sample_count * _WORTHWHILE_REQUESTS:
        log.sample(sample_count * _SECOND_ROUND_FACTOR)
        total = _total(log, request, missing)
    return log, total


def _total(log: SampledLog, request: PlanRequest, missing: Sequence[TimeWindow]) -> WindowNeed:
    needs = (log.need_of(window, is_sliced=request.concurrency > 1) for window in missing)
    read = reduce(WindowNeed.plus, needs, WindowNeed())
    if request.verify == RECOUNT:
        return read._replace(request_count=2 * read.request_count)
    again = EDGES_REQUESTS * len(missing) if request.verify == EDGES else 0
    return read._replace(request_count=read.request_count + again)


def _need(
    total: WindowNeed, log: SampledLog | None, request: PlanRequest, window_count: int, reader: AuditLogReader
) -> Need:
    limit = reader.limit
    limit_seconds = total.request_count / limit.per_second()
    trip_seconds = log.trip_seconds / log.request_count if log else 0.0
    window_seconds, runs = 0.0, 0
    if window_count:
        # The two requests of a small window follow each other; the pages of a large one come side by side.
        requests = total.request_count / window_count
        window_seconds = _TASK_START_SECONDS + trip_seconds * max(min(requests, 2.0), requests / request.concurrency)
        wanted = ceil(limit.per_second() * window_seconds / requests)
        runs = min(window_count, max(_MIN_RUNS, min(_MAX_RUNS, wanted)))
    elapsed_seconds = max(limit_seconds, window_count * window_seconds / runs if runs else 0.0)
    return Need(
        record_count=round(total.record_count),
        request_count=round(total.request_count),
        limit_request_count=limit.request_count,
        limit_period_seconds=limit.period_seconds,
        limit_seconds=round(limit_seconds, 1),
        runs_side_by_side=runs,
        elapsed_seconds=round(elapsed_seconds, 1),
    )


def _sampling(log: SampledLog | None, missing: Sequence[TimeWindow]) -> Sampling:
    if log is None:
        return Sampling(0, 0, 0.0)
    seconds = sum(window.length.total_seconds() for window in missing)
    return Sampling(log.request_count, log.record_count, round(min(1.0, log.curve.covered_seconds / seconds), 4))


def _forms(log: SampledLog | None, total: WindowNeed, dataset: Dataset | None) -> Iterator[FormSize]:
    if log is None:
        return
    for file_format, compression, schema in forms():
        size_bytes = log.size_of(total, part_format(file_format, compression, schema))
        is_dataset = dataset is not None and (dataset.file_format, dataset.schema) == (file_format, schema)
        yield FormSize(file_format, compression, schema, size_bytes, is_dataset)


def _command(span: TimeWindow, missing: Sequence[TimeWindow], request: PlanRequest, need: Need) -> str:
    last = max(window.start for window in missing if window.overlaps(span))
    is_whole_days = request.division != "hour" and request.timezone == "UTC"
    return backfill_command(request.dag_id, span.start, last, need.runs_side_by_side, is_whole_days=is_whole_days)
