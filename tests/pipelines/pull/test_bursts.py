"""A burst in a quiet day costs few requests at any concurrency."""

from __future__ import annotations

from datetime import timedelta
from math import ceil

import pytest

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.counted_records import spaced
from tests.pipelines.pull.landing import END, START, pull_spec, reader_of, record_at

pytestmark = pytest.mark.integration

VERSIONS = ("v1", "v2")
# Records, and the seconds that they take. In the first two, a second holds a page or more.
BURSTS = ((1000, 1), (1500, 1), (4000, 600), (1000, 30))
CONCURRENCIES = (1, 4, 6, 16, 64)


def _requests(version: str, burst: tuple[int, int], second: int, concurrency: int) -> tuple[int, int]:
    """Returns the requests, and the pages, of a day with 144 evenly spread records and a burst."""
    count, length_seconds = burst
    clock = ManualClock()
    fake = spaced(600, 144, version, clock=clock)
    for number in range(count):
        when = START + timedelta(seconds=second + number * length_seconds / count)
        fake.add(record_at(f"{when:%Y-%m-%dT%H:%M:%S.%fZ}", f"burst-{number:04}", version), version)
    request = ReadRequest(ApiVersion(version), TimeWindow(START, END))
    reading = ParallelReader(reader_of(fake, clock), pull_spec(version).query, request, concurrency)
    assert sum(len(records) for records in reading.read()) == 144 + count
    return reading.stats.request_count, ceil((144 + count) / 1000)


def _days() -> list[object]:
    """Returns every version, burst, place and concurrency; before a merge, the default and the highest concurrency."""
    return [
        pytest.param(
            version,
            burst,
            second,
            concurrency,
            marks=[] if concurrency in {4, 64} and second != 3600 else [pytest.mark.nightly],
        )
        for version in VERSIONS
        for burst in BURSTS
        for second in (10, 3600, 43_200, 85_000)
        for concurrency in CONCURRENCIES
    ]


@pytest.mark.parametrize(("version", "burst", "second", "concurrency"), _days())
def test_burst_in_a_quiet_day_takes_few_requests_at_any_concurrency(
    version: str, burst: tuple[int, int], second: int, concurrency: int
) -> None:
    """A quiet day with one burst takes at most two requests a page and six more."""
    request_count, page_count = _requests(version, burst, second, concurrency)
    assert request_count <= 2 * page_count + 6


@pytest.mark.parametrize("second", [10, 43_200])
@pytest.mark.parametrize("version", VERSIONS)
def test_burst_of_two_crowded_seconds_takes_one_request_more_than_one_at_a_time(version: str, second: int) -> None:
    """Two seconds with a page each take most requests to be read at all; parallel requests add at most one."""
    one_at_a_time, _ = _requests(version, (2000, 2), second, 1)
    assert _requests(version, (2000, 2), second, 64)[0] <= one_at_a_time + 1
