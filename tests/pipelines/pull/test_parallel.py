"""Slices of one window are fetched in parallel as long as any are left."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader, Section
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
from tests.pipelines.pull.landing import END, START, fake_with, pull_spec, true_ids

pytestmark = pytest.mark.integration

# Far more than it takes to read a page, even on a busy machine; the test counts requests, not seconds.
LATENCY_SECONDS = 0.6
# How long to wait for the other slices while the first one is delayed, and then for one slice too many.
OTHERS_WITHIN_SECONDS, SURPLUS_WITHIN_SECONDS = 120.0, 1.0
# 68 requests, seven in parallel, take at least ten round trips. The first page comes before the slices are known, and
# the pages of a slice come one after another.
MOST_SEQUENTIAL = 19


class Slow:
    """Transport with a fixed latency; ``request_times`` has the start and end of each request."""

    def __init__(self, fake: FakeCloudflare) -> None:
        self.request_times: list[tuple[float, float]] = []
        self._inner = DirectTransport(fake, ManualClock())

    def send(self, request: Request) -> Response:
        """Sends the request and waits for the latency."""
        began_at = time.perf_counter()
        response = self._inner.send(request)
        time.sleep(LATENCY_SECONDS)
        self.request_times.append((began_at, time.perf_counter()))
        return response

    @property
    def sequential_count(self) -> int:
        """The largest number of requests that started only after the previous one ended."""
        count, free_at = 0, 0.0
        for began_at, ended_at in sorted(self.request_times, key=lambda times: times[1]):
            if began_at >= free_at:
                count, free_at = count + 1, ended_at
        return count


class WaitingReader(ParallelReader):
    """Reader whose first slice is delayed until all other slices that may be fetched have come.

    ``most_held`` is the largest number of fetched slices that waited for their turn, without those that are samples.
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

    def _complete(self, piece: Slice, *fetched: Any) -> Section:
        """Returns the records of a slice, which is delivered and no longer counts as held."""
        with self._lock:
            self._held -= not piece.is_sample
        return super()._complete(piece, *fetched)

    def read_all(self) -> list[str]:
        """Returns all ids."""
        return [record.id for records in self.read() for record in records]


@pytest.mark.parametrize("concurrency", [2, 7])
def test_delayed_first_slice_limits_the_slices_in_memory(concurrency: int) -> None:
    """While the first slice is delayed, at most twice as many slices are in memory as are fetched in parallel."""
    fake = fake_with(ManualClock(), records_per_day=60_000, requests_per_window=None)
    reader = AuditLogReader(DirectTransport(fake, ManualClock()), ManualClock(), RateLimiter(), RetryLimits())
    parallel_reader = WaitingReader(
        reader, pull_spec().query, ReadRequest(ApiVersion.V1, TimeWindow(START, END)), concurrency
    )
    assert len(parallel_reader.read_all()) == 60_000
    assert concurrency // 2 < parallel_reader.most_held <= 2 * concurrency


def test_remainders_of_full_slices_are_read_in_parallel() -> None:
    """The remainders of slices that have more records than expected are read in parallel as well."""
    fake = fake_with(ManualClock(), records_per_day=60_000, requests_per_window=None)
    expected_ids = sorted(true_ids(fake))
    transport = Slow(fake)
    reader = AuditLogReader(transport, ManualClock(), RateLimiter(), RetryLimits())
    parallel_reader = ParallelReader(reader, pull_spec().query, ReadRequest(ApiVersion.V1, TimeWindow(START, END)), 7)
    assert sorted(record.id for records in parallel_reader.read() for record in records) == expected_ids
    assert len(transport.request_times) > MOST_SEQUENTIAL * 3
    assert transport.sequential_count <= MOST_SEQUENTIAL
