"""The number of requests for a window is close to its number of pages."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from math import ceil

import pytest

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.slicing import Slicer
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from airflow_audit_provider.testing.settings import CursorEnd, CursorPlace
from tests.pipelines.pull.counted_records import spaced
from tests.pipelines.pull.landing import START, fake_with, pull_spec, record_at, true_ids

pytestmark = pytest.mark.integration

VERSIONS = ("v1", "v2")
HOUR = timedelta(hours=1)
DAY = TimeWindow(START, START + 24 * HOUR)
# The busiest hours have two records a second for every 80,000 records a day.
NINE_TO_ELEVEN = TimeWindow(START + 9 * HOUR, START + 11 * HOUR)


class CountingTransport:
    """Transport that counts the requests that are sent."""

    def __init__(self, fake: FakeCloudflare, clock: ManualClock) -> None:
        self.count = 0
        self._inner = DirectTransport(fake, clock)

    def send(self, request: Request) -> Response:
        self.count += 1
        return self._inner.send(request)


class SliceCountingReader(ParallelReader):
    """Reader that counts its slices, each of which has one end."""

    @property
    def slice_count(self) -> int:
        return sum(self.stats.ended_by.values())


@cache
def _evenly(records_per_day: int) -> FakeCloudflare:
    """Returns a shared fake with this many records a day."""
    return fake_with(ManualClock(), records_per_day=records_per_day, requests_per_window=None)


def _read(
    fake: FakeCloudflare, version: str, window: TimeWindow, concurrency: int, limit: RateLimit | None = None
) -> tuple[int, int, SliceCountingReader]:
    """Reads a window; returns the number of records, the number of requests, and the reader."""
    clock = ManualClock()
    transport = CountingTransport(fake, clock)
    parallel_reader = SliceCountingReader(
        AuditLogReader(transport, clock, RateLimiter(limit), RetryLimits()),
        pull_spec(version).query,
        ReadRequest(ApiVersion(version), window),
        concurrency,
    )
    ids = [record.id for records in parallel_reader.read() for record in records]
    assert sorted(ids) == true_ids(fake, version, window.start, window.end)
    assert parallel_reader.stats.request_count == transport.count
    return len(ids), transport.count, parallel_reader


@pytest.mark.parametrize(
    ("records_per_day", "window", "concurrency", "version"),
    [
        *[(20_000, DAY, concurrency, version) for concurrency in (1, 4, 8) for version in VERSIONS],
        (86_400, DAY, 4, "v1"),
        pytest.param(86_400, DAY, 4, "v2", marks=pytest.mark.nightly),
        *[
            pytest.param(records_per_day, window, concurrency, version, marks=pytest.mark.nightly)
            for records_per_day, window, concurrencies in [(86_400, DAY, (1, 8)), (380_000, NINE_TO_ELEVEN, (1, 4, 8))]
            for concurrency in concurrencies
            for version in VERSIONS
        ],
    ],
)
def test_window_takes_hardly_more_requests_than_pages(
    records_per_day: int, window: TimeWindow, concurrency: int, version: str
) -> None:
    """Up to ten records a second take at most 1.03 requests a page, and two more for each slice."""
    count, requests, parallel_reader = _read(_evenly(records_per_day), version, window, concurrency)
    assert requests <= 1.03 * ceil(count / 1000) + 2 * parallel_reader.slice_count
    # This bounds the number of slices as well; with concurrency 1 no slices are needed.
    assert requests <= (1.03 if concurrency == 1 else 1.35) * ceil(count / 1000) + 2


@pytest.mark.parametrize("version", ["v1", pytest.param("v2", marks=pytest.mark.nightly)])
def test_throttled_window_takes_full_pages(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that the rate limit slows down takes 1.05 requests a page at most, and one for each early slice."""
    note = Slicer.note_throttling
    # Requests take no time here, but other threads advance the clock while they are under way.
    monkeypatch.setattr(Slicer, "note_throttling", lambda slicer, delay, _trip: note(slicer, delay, 0.0))
    # Without a limit it takes 97 to 112 requests for its 87 pages.
    count, requests, _ = _read(_evenly(86_400), version, DAY, 4, RateLimit(4, 1))
    assert requests <= 1.05 * ceil(count / 1000) + 4


@pytest.fixture
def bursty() -> FakeCloudflare:
    """Two days with a record a minute, and two bursts of 4000 records within ten minutes."""
    fake = fake_with(ManualClock(), records_per_day=1440, requests_per_window=None)
    for version in VERSIONS:
        for number in range(8000):
            place = START + timedelta(hours=5 + 11 * (number % 2), seconds=number * 600 / 8000)
            fake.add(record_at(f"{place:%Y-%m-%dT%H:%M:%S.%fZ}", f"burst-{number:04}", version), version)
    return fake


@pytest.mark.parametrize("concurrency", [1, 4, 8])
@pytest.mark.parametrize("version", VERSIONS)
def test_bursts_take_no_more_requests(bursty: FakeCloudflare, version: str, concurrency: int) -> None:
    """A quiet day with two bursts takes as few requests as an even one."""
    count, requests, parallel_reader = _read(bursty, version, DAY, concurrency)
    assert requests <= 1.03 * ceil(count / 1000) + 2 * parallel_reader.slice_count
    assert requests <= 2 * ceil(count / 1000)


@pytest.mark.parametrize(
    ("version", "count", "expected"),
    [
        *[("v1", 0, 3), ("v1", 2, 2), ("v1", 500, 2), ("v1", 999, 2)],
        *[("v2", 0, 3), ("v2", 2, 2), ("v2", 500, 2), ("v2", 999, 2)],
        # If all records share one second and the two days before are empty, both directions could omit the same row.
        *[("v1", 1, 3), ("v2", 1, 3)],
    ],
)
@pytest.mark.parametrize("concurrency", [1, 4, 8])
def test_less_than_a_page_takes_one_request_and_the_proof(
    version: str, count: int, expected: int, concurrency: int
) -> None:
    """If no response marks the last page, one more request proves the end."""
    found, requests, _ = _read(spaced(60, count, version), version, DAY, concurrency)
    assert (found, requests) == (count, expected)


@pytest.mark.parametrize("end", [CursorEnd.NULL, CursorEnd.EMPTY])
@pytest.mark.parametrize("place", list(CursorPlace))
# A page of 100 or 500 rows may be truncated by the server, so its end must be proved.
@pytest.mark.parametrize(("count", "expected"), [(0, 3), (1, 1), (2, 1), (999, 1), (100, 2), (500, 2)])
def test_less_than_a_page_with_an_explicit_end_takes_one_request(
    count: int, expected: int, place: CursorPlace, end: CursorEnd
) -> None:
    """A window with less than a page takes one request if version 2 returns an empty cursor, in either place."""
    fake = spaced(60, count, "v2", cursor_end=end, cursor_place=place)
    assert _read(fake, "v2", DAY, 4)[:2] == (count, expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_single_record_is_proved_by_an_earlier_record(version: str) -> None:
    """A window with one record takes two requests if the two days before have a record."""
    fake = spaced(5400, 2, version)
    assert _read(fake, version, TimeWindow(START + HOUR, START + 2 * HOUR), 4)[:2] == (1, 2)


@pytest.mark.parametrize(("per_second", "at_most"), [(20, 1.05), (50, 1.1), (100, 1.25), (300, 1.75)])
@pytest.mark.parametrize("version", VERSIONS)
def test_dense_window_takes_the_documented_number_of_requests(version: str, per_second: int, at_most: float) -> None:
    """More than ten records a second take as many requests as the documentation states."""
    fake = spaced(1 / per_second, 20_000, version)
    count, requests, _ = _read(fake, version, DAY, 1)
    assert count == 20_000
    assert requests <= at_most * 20 + 2


def test_read_stats_count_retries() -> None:
    """A request that is sent again is counted again."""
    clock = ManualClock()
    fake = fake_with(clock, "status=503,first=2", records_per_day=10)
    _, requests, parallel_reader = _read(fake, "v2", DAY, 4)
    assert (requests, parallel_reader.stats.retry_count) == (3, 2)
