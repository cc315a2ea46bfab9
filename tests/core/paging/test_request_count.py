"""The estimated number of requests is what a pull of such a window sends, counted with the fake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.request_count import LogAnswers, lonely_requests, read_requests
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.settings import ACCOUNT_ID, CursorEnd
from tests.pipelines.pull.landing import END, START, fake_with, reader_of, record_at

DAY_SECONDS = 86_400.0
OMITTED, STATED = LogAnswers(), LogAnswers(states_end=True)


def counted(version: str, hours: Sequence[float], concurrency: int = 1, **settings: Any) -> int:
    """Returns the requests that read a day with records at these hours; those of other days are negative."""
    clock = ManualClock()
    fake = fake_with(clock, records_per_day=0, **settings)
    for number, hour in enumerate(hours):
        at = START + timedelta(hours=hour)
        fake.add(record_at(f"{at:%Y-%m-%dT%H:%M:%S.%f}Z", f"r{number}", version), version)
    query = audit_query(version, None, account_id=ACCOUNT_ID)
    request = ReadRequest(query.version, TimeWindow(START, END))
    for _ in ParallelReader(reader_of(fake, clock), query, request, concurrency).read():
        continue
    return len(fake.requests)


def spread(count: int) -> list[float]:
    """Returns so many hours of a day, evenly spread, and one of the day before."""
    return [-3.0, *(24 * (number + 0.5) / count for number in range(count))]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("count", [0, 1, 10, 950, 1100, 2500])
def test_requests_of_a_day_are_as_estimated(version: str, count: int) -> None:
    """A page for each thousand records, one for the rest, and one that proves the end."""
    assert counted(version, spread(count)) == read_requests(count, DAY_SECONDS, OMITTED, is_sliced=False)


@pytest.mark.parametrize("count", [1, 120, 1100])
def test_stated_end_saves_the_proof(count: int) -> None:
    """A version 2 that marks its last page needs no further response, unless the page may have been cut."""
    estimated = read_requests(count, DAY_SECONDS, STATED, is_sliced=False)
    assert counted("v2", spread(count), cursor_end=CursorEnd.NULL) == estimated


@pytest.mark.parametrize(
    ("hours", "empty", "single"),
    [([], 1.0, 0.0), ([5.0], 0.0, 1.0), ([-240.0], 1.0, 0.0), ([5.0, -240.0], 0.0, 1.0), ([5.0, 6.0], 0.0, 0.0)],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_lonely_window_needs_a_request_more(version: str, hours: list[float], empty: float, single: float) -> None:
    """A day with at most one record, and with none in the two days before, needs one request more."""
    estimated = read_requests(len([hour for hour in hours if hour > 0]), DAY_SECONDS, OMITTED, is_sliced=False)
    assert counted(version, hours) == estimated + lonely_requests(empty, single, 1.0, OMITTED)


def test_lonely_record_with_a_stated_end_needs_none_more() -> None:
    """A stated end proves a single record, and not an empty day."""
    assert counted("v2", [5.0], cursor_end=CursorEnd.NULL) == 1
    assert counted("v2", [], cursor_end=CursorEnd.NULL) == 2 + lonely_requests(1.0, 0.0, 1.0, STATED)


@pytest.mark.integration
@pytest.mark.parametrize("concurrency", [1, 6])
@pytest.mark.parametrize("count", [12_000, 30_000])
def test_requests_of_a_busy_day_are_within_a_tenth(count: int, concurrency: int) -> None:
    """A busy day that is read in slices needs about a tenth more pages than one that is read page by page."""
    estimated = read_requests(count, DAY_SECONDS, OMITTED, is_sliced=concurrency > 1)
    assert counted("v1", spread(count), concurrency) == pytest.approx(estimated, rel=0.12)


def test_dense_log_has_fewer_new_rows_a_page() -> None:
    """A page repeats two seconds of the one before, which is much of it in a log of a hundred records a second."""
    sparse, dense = (read_requests(10_000, seconds, OMITTED, is_sliced=False) for seconds in (DAY_SECONDS, 100.0))
    assert (sparse, dense) == (12, 14)
