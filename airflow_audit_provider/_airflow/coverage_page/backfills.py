"""Plans the backfill of a gap from the dataset itself: windows, requests, and what the retention takes; pure.

``plan`` on the command line samples Cloudflare's API instead. The page does not, because it would have to use the token
of a connection for every user who may read the page.

Invariant: a backfill has whole windows of the newest windows' length, the last of which ends where the gap does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from airflow_audit_provider._airflow.coverage_page.periods import DAY, HOUR, midnight
from airflow_audit_provider.core.api.rate_limiter import CLOUDFLARE_LIMIT
from airflow_audit_provider.core.verification.coverage import RECENT_COUNT, Span
from airflow_audit_provider.core.windows.readiness import expires_at, whole_windows_start_at
from airflow_audit_provider.core.windows.window import TimeWindow, count_of, format_instant
from airflow_audit_provider.pipelines.overview import SeenWindow
from airflow_audit_provider.pipelines.plan import EXPIRY_DAYS
from airflow_audit_provider.pipelines.plan_report import backfill_command

# Runs side by side of a backfill; the command ``plan`` computes the number that the rate limit allows.
_RUNS = 4
# The newest windows of a length are an estimate for those that are missing.
_MOST_SAMPLED = 100


class Backfill(NamedTuple):
    """A backfill of a gap: its DAG, the bounds that Airflow takes, both inclusive, the command that creates it.

    ``plan`` are sentences about what it needs.
    """

    dag_id: str
    first: str
    last: str
    runs: int
    command: str
    plan: tuple[str, ...]


class Basis(NamedTuple):
    """What backfills are planned from: the newest windows' length, and the counts of windows that have it."""

    length: timedelta
    window_count: int
    record_count: int
    request_count: int


def basis_of(windows: Sequence[SeenWindow]) -> Basis:
    """Returns the basis of the backfills of a dataset; its windows are in the order of time."""
    length = max((one.window.length for one in windows[-RECENT_COUNT:]), default=DAY)
    usable = (one for one in reversed(windows) if one.window.length == length and _is_usable(one))
    sampled = list(islice(usable, _MOST_SAMPLED))
    return Basis(
        length,
        len(sampled),
        sum(one.record_count for one in sampled),
        sum(one.request_count for one in sampled),
    )


def _is_usable(one: SeenWindow) -> bool:
    return one.is_read and not one.problem and not one.is_foreign


def backfill_of(gap: Span, basis: Basis, dag_id: str, now: datetime, lost: timedelta = timedelta()) -> Backfill | None:
    """Returns the backfill of a gap, None if no whole window fits into it; ``lost`` is what lies before the gap."""
    length = basis.length
    count = (gap.end - gap.start) // length
    if not count:
        return None
    # A gap that begins where the retention does begins inside a window.
    last_at = gap.end - length
    first_at = last_at - (count - 1) * length
    is_whole_days = length == DAY and first_at == midnight(first_at)
    command = backfill_command(dag_id, first_at, last_at, _RUNS, is_whole_days=is_whole_days)
    plan = (
        f"It fetches {count_of(count, 'window')} of {length_text(length)}, {length_text(count * length)} in all.",
        *_estimate(count, basis),
        _expiry(first_at, count, length, now),
        *_rest(first_at - gap.start, lost),
    )
    return Backfill(dag_id, format_instant(first_at), format_instant(last_at), _RUNS, command, plan)


def _estimate(count: int, basis: Basis) -> Iterator[str]:
    if not basis.window_count:
        yield "The dataset has no window of this length to estimate records and requests from."
        return
    records = round(count * basis.record_count / basis.window_count)
    # Each window takes at least one request.
    requests = max(count, round(count * basis.request_count / basis.window_count))
    minutes = requests / CLOUDFLARE_LIMIT.per_second() / 60
    yield (
        f"It needs about {count_of(requests, 'request')} for about {count_of(records, 'record')}, estimated from "
        f"{count_of(basis.window_count, 'committed window')} of this length."
    )
    yield (
        f"At Cloudflare's limit of {CLOUDFLARE_LIMIT.request_count:,} requests in "
        f"{CLOUDFLARE_LIMIT.period_seconds:g} seconds that takes {minutes:.1f} minutes or more."
    )


def _expiry(first_at: datetime, count: int, length: timedelta, now: datetime) -> str:
    """Returns until when the first window can be read, and how many windows expire soon."""
    until = format_instant(expires_at(TimeWindow(first_at, first_at + length)))[:10]
    soon = []
    for days in EXPIRY_DAYS:
        oldest_at = datetime.fromisoformat(whole_windows_start_at(now + timedelta(days=days)).isoformat())
        expired = min(count, max(0, -((first_at - oldest_at) // length)))
        if expired:
            soon.append(f"{count_of(expired, 'window')} within {days} days")
    rest = f"These expire soon: {', '.join(soon)}." if soon else f"None expires within {EXPIRY_DAYS[-1]} days."
    return f"The first window can be read until {until}. {rest}"


def _rest(cut: timedelta, lost: timedelta) -> Iterator[str]:
    """Yields what stays missing."""
    if cut:
        yield f"{length_text(cut)} at the start of the gap are less than a window and stay missing."
    if lost:
        yield f"{length_text(lost)} right before the gap are beyond the retention and stay missing."


def length_text(length: timedelta) -> str:
    """Returns a length in days and hours, e.g. ``2 days 3.5 hours``."""
    whole, rest = divmod(length, DAY)
    hours = round(rest / HOUR, 1)
    parts = [count_of(whole, "day")] if whole else []
    parts += [f"{hours:g} {'hour' if hours == 1 else 'hours'}"] if hours or not whole else []
    return " ".join(parts)
