"""Slices of one window are fetched side by side for as long as there are any."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.slicing import Slice
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.landing import END, START, fake_with, order, true_ids

pytestmark = pytest.mark.integration

# Far more than handling a page takes, on a busy machine too: the count below is of trips, not of seconds.
LATENCY_SECONDS = 0.6
# How long the other slices may take to come while the front is kept back, and how long one too many is waited for.
OTHERS_WITHIN_SECONDS, SURPLUS_WITHIN_SECONDS = 120.0, 1.0
# 68 requests, seven at a time, are ten after each other at best. The first page has to come before it is known what
# the others are, and a slice's pages come one after another.
MOST_AFTER_EACH_OTHER = 19


class Slow:
    """A transport whose answers take their time, side by side; ``trips`` are the seconds each began and ended at."""

    def __init__(self, fake: FakeCloudflare) -> None:
        self.trips: list[tuple[float, float]] = []
        self._inner = DirectTransport(fake, ManualClock())

    def send(self, request: Request) -> Response:
        """Answer late."""
        began_at = time.perf_counter()
        answer = self._inner.send(request)
        time.sleep(LATENCY_SECONDS)
        self.trips.append((began_at, time.perf_counter()))
        return answer

    @property
    def after_each_other(self) -> int:
        """How many requests, at most, came each after another's end: what the pull had to wait for."""
        count, free_at = 0, 0.0
        for began_at, ended_at in sorted(self.trips, key=lambda trip: trip[1]):
            if began_at >= free_at:
                count, free_at = count + 1, ended_at
        return count


class Waiting(ParallelReader):
    """A reading whose first slice behind the first page comes only when all others that may be fetched have come.

    ``most_held`` is how many slices waited for their turn at most, of those that are no first pages of a stretch.
    """

    most_held = 0
    _held = 0
    _is_first = True
    _lock = threading.Lock()

    def _fetch(self, piece: Slice) -> Any:
        with self._lock:
            is_front = self._is_first and not piece.is_sample
            self._is_first = self._is_first and not is_front
        if is_front:
            self._await_others()
        fetched = super()._fetch(piece)
        with self._lock:
            self._held += not piece.is_sample
            self.most_held = max(self.most_held, self._held)
        return fetched

    def _await_others(self) -> None:
        deadline = time.monotonic() + OTHERS_WITHIN_SECONDS
        while self.most_held <= self._concurrency // 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(SURPLUS_WITHIN_SECONDS)

    def read_all(self) -> list[str]:
        """Return the ids; what is handed on is held no more."""
        ids = []
        for records in self.read():
            with self._lock:
                self._held -= len(records) > 1000
            ids += [record.id for record in records]
        return ids


@pytest.mark.parametrize("concurrency", [2, 7])
def test_few_slices_wait_for_a_late_one(concurrency: int) -> None:
    """While the front does not come, at most twice as many slices are held as are fetched side by side."""
    fake = fake_with(ManualClock(), records_per_day=60_000, requests_per_window=None)
    source = AuditLogReader(DirectTransport(fake, ManualClock()), ManualClock(), RateLimiter(), RetryLimits())
    reading = Waiting(source, order().query, ReadRequest(ApiVersion.V1, TimeWindow(START, END)), concurrency)
    assert len(reading.read_all()) == 60_000
    assert concurrency // 2 < reading.most_held <= 2 * concurrency


def test_workers_are_not_left_without_work() -> None:
    """What is left of slices that hold more than expected, because the day grows busy, is read side by side as well."""
    fake = fake_with(ManualClock(), records_per_day=60_000, requests_per_window=None)
    expected_ids = sorted(true_ids(fake))
    transport = Slow(fake)
    source = AuditLogReader(transport, ManualClock(), RateLimiter(), RetryLimits())
    reading = ParallelReader(source, order().query, ReadRequest(ApiVersion.V1, TimeWindow(START, END)), 7)
    assert sorted(record.id for records in reading.read() for record in records) == expected_ids
    assert len(transport.trips) > MOST_AFTER_EACH_OTHER * 3
    assert transport.after_each_other <= MOST_AFTER_EACH_OTHER
