"""Fake Cloudflare of the backfill, and what its request log says about the use of the rate limit.

Invariant: the log is the fake's own; nothing that the provider states about itself is counted.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.core.api.rate_limiter import CLOUDFLARE_LIMIT
from airflow_audit_provider.testing import FakeCloudflare, Settings
from airflow_audit_provider.testing.faults import Exchange
from airflow_audit_provider.testing.misbehaviour import parse_switch
from airflow_audit_provider.testing.settings import ACCOUNT_ID

DAY = timedelta(days=1)
# Pages of the real API have up to 1000 records. A tenth of that makes as many requests as a log ten times as large, and
# two processors can send them at the speed of the scaled clock.
PAGE_CEILING = parse_switch("page_ceiling=100")
OUTAGE = parse_switch("status=503")
# A round trip of the real API takes about 0.3 s.
_TRIP_MS = 300.0
_BURST_COUNT, _BURST_SECONDS = 3, 600


class Setup(NamedTuple):
    """The history, how it is divided into runs, and how many times faster than a real one the clock is."""

    day_count: int = 540
    days_a_run: int = 30
    records_per_day: int = 500
    side_by_side: int = 4
    clock_scale: float = 2.0
    api_outage_minutes: float = 2.0
    machine_outage_minutes: float = 2.0

    @property
    def period_seconds(self) -> float:
        """The period of the rate limit, on the machine's clock."""
        return CLOUDFLARE_LIMIT.period_seconds / self.clock_scale

    def seconds(self, minutes: float) -> float:
        """Returns how long minutes of the scaled clock take."""
        return minutes * 60 / self.clock_scale


class Use(NamedTuple):
    """Use of the rate limit in all complete periods: requests of each, and their share of what is allowed."""

    counts: list[int]
    share: float


class HistorySource(FakeCloudflare):
    """Fake that keeps the time and the status of each request; nights, weekends and a few bursts are in its log."""

    def __init__(self, setup: Setup) -> None:
        settings = Settings(
            records_per_day=setup.records_per_day,
            requests_per_window=CLOUDFLARE_LIMIT.request_count,
            window_seconds=setup.period_seconds,
            block_seconds=setup.period_seconds,
            latency_ms=_TRIP_MS / setup.clock_scale,
        )
        super().__init__(SystemClock().now, settings, [PAGE_CEILING])
        self.setup = setup
        self.seen: list[tuple[float, int]] = []
        self.end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAY
        self.start = self.end - setup.day_count * DAY
        self._add_bursts()

    def exchange(self, method: str, path: str, params: Any, headers: Mapping[str, str]) -> Exchange:
        """Responds to one request."""
        at = time.monotonic()
        found = super().exchange(method, path, params, headers)
        self.seen.append((at, found.response.status))
        return found

    def statuses(self) -> Counter[int]:
        """Returns how often each status was returned."""
        return Counter(status for _, status in self.seen)

    def answered_at(self) -> list[float]:
        """Returns the times of the requests that were answered, in order."""
        return sorted(at for at, status in self.seen if status == 200)

    def repeated_count(self) -> int:
        """Returns the number of answered requests whose URL had been answered before."""
        counts = Counter((asked.path, asked.params) for asked in self.requests if asked.status == 200)
        return sum(count - 1 for count in counts.values())

    def _add_bursts(self) -> None:
        """Adds to some days as many records as a day has, all within ten minutes."""
        for number in range(_BURST_COUNT):
            at = self.start + (number + 1) * self.setup.day_count // (_BURST_COUNT + 1) * DAY + timedelta(hours=14)
            for index in range(self.setup.records_per_day):
                seconds = index * _BURST_SECONDS / self.setup.records_per_day
                self.add(json.dumps(_record(f"{number:04}{index:08}", at + timedelta(seconds=seconds))).encode())


def _record(digits: str, at: datetime) -> dict[str, object]:
    return {
        "id": f"b0000000-0000-4000-8000-{digits}",
        "when": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}Z",
        "action": {"type": "token_create", "result": True},
        "actor": {"email": "deployment@example.com", "type": "user"},
        "resource": {"type": "token"},
        "owner": {"id": ACCOUNT_ID},
    }


def rate_use(times: Sequence[float], pauses: Sequence[tuple[float, float]], setup: Setup) -> Use:
    """Returns the use of the limit apart from pauses.

    A period begins with its first request, as the fake's does, and lasts until the next one begins. The last period
    before a pause, or before the end of the work, is cut off by it and does not count.
    """
    counts: list[int] = []
    seconds = 0.0
    bounds = [-inf, *(bound for pause in pauses for bound in pause), inf]
    for begins_at, ends_at in zip(bounds[::2], bounds[1::2], strict=True):
        working = times[bisect_left(times, begins_at) : bisect_left(times, ends_at)]
        starts = _period_starts(working, setup.period_seconds)
        counts += [bisect_left(working, end) - bisect_left(working, start) for start, end in pairwise(starts)]
        seconds += starts[-1] - starts[0] if starts else 0.0
    allowed = CLOUDFLARE_LIMIT.request_count * seconds / setup.period_seconds
    return Use(counts, sum(counts) / allowed if allowed else 0.0)


def _period_starts(times: Sequence[float], period_seconds: float) -> list[float]:
    starts = list(times[:1])
    for at in times:
        if at >= starts[-1] + period_seconds:
            starts.append(at)
    return starts
