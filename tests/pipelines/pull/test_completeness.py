"""A response that omits records costs none of them: they land, or the pull fails and nothing lands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.paging.end_of_data import StopReason
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import SourceError, SourceProtocolError, SourceUnavailableError
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.counted_records import spaced
from tests.pipelines.pull.landing import (
    END,
    START,
    fake_with,
    land,
    landed_ids,
    pull_spec,
    reader_of,
    record_at,
    true_ids,
)

pytestmark = pytest.mark.integration

VERSIONS = ("v1", "v2")


def _land_or_fail(fake: FakeCloudflare, version: str, clock: ManualClock, store: LocalStore) -> bool:
    """Land the usual day completely and return True, or fail loudly with nothing landed and return False."""
    spec = pull_spec(version)
    try:
        land(spec, reader_of(fake, clock), store)
    except SourceError:
        assert list(store.list_keys("")) == []
        return False
    assert landed_ids(spec, store) == true_ids(fake, version)
    return True


@pytest.mark.parametrize(
    ("specs", "concurrency"),
    [
        (("no_records,first=1",), 1),
        pytest.param(("no_records,first=1",), 6, marks=pytest.mark.nightly),
        pytest.param(("no_records,first=2",), 1, marks=pytest.mark.nightly),
        (("no_records,first=2",), 6),
        (("no_records,first=2", "null_result"), 1),
        pytest.param(("no_records,first=2", "null_result"), 6, marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_empty_first_responses_over_a_full_day_lose_nothing(
    specs: tuple[str, ...], version: str, concurrency: int, clock: ManualClock, store: LocalStore
) -> None:
    """A day of several pages lands although the first responses are empty, or null."""
    fake, spec = fake_with(clock, *specs, records_per_day=5000), pull_spec(version, concurrency=concurrency)
    land(spec, reader_of(fake, clock), store)
    assert landed_ids(spec, store) == true_ids(fake, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_null_result_is_never_an_empty_window(version: str, clock: ManualClock, store: LocalStore) -> None:
    """A window for which the API only returns null is a retryable error, and nothing lands."""
    fake = fake_with(clock, "no_records", "null_result")
    with pytest.raises(SourceUnavailableError, match="result that is null"):
        land(pull_spec(version), reader_of(fake, clock), store)
    assert list(store.list_keys("")) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("last_record_days_before", "request_count", "reason"),
    [
        (1, 2, StopReason.OTHER_SIDE),
        (20, 3, StopReason.OTHER_SIDE),
        (None, 3, StopReason.EMPTY_PAGE),
    ],
)
def test_empty_window_is_proved_by_an_earlier_record(
    last_record_days_before: int | None, request_count: int, reason: StopReason, version: str, clock: ManualClock
) -> None:
    """The other side shows a record of the month before; without one, three responses in a row are empty."""
    fake = spaced(60, 0, version, clock=clock)
    if last_record_days_before is not None:
        when = START - timedelta(days=last_record_days_before)
        fake.add(record_at(f"{when:%Y-%m-%dT%H:%M:%SZ}", "earlier", version), version)
    reading = ParallelReader(
        reader_of(fake, clock), pull_spec(version).query, ReadRequest(ApiVersion(version), TimeWindow(START, END)), 4
    )
    assert list(reading.read()) == []
    assert (reading.stats.request_count, reading.stats.ended_by) == (request_count, {str(reason): 1})


@pytest.mark.parametrize("ceiling", ["page_ceiling=100", "slow=0"])
@pytest.mark.parametrize("place", ["middle", "end"])
@pytest.mark.parametrize("missing_at", range(2, 9))
def test_row_missing_from_a_later_page_of_a_crowded_second_loses_none(
    missing_at: int, place: str, ceiling: str, clock: ManualClock, store: LocalStore
) -> None:
    """With cursors that count rows, a row that one response lacks does not hide the row that moves up."""
    count = 180 if ceiling.startswith("page_ceiling") else 1503
    fake = spaced(
        3600,
        24 if place == "middle" else 3,
        "v2",
        ceiling,
        f"missing_row,first={missing_at},after={missing_at - 1}",
        clock=clock,
        cursor_by_offset=True,
    )
    for number in range(count):
        fake.add(record_at("2026-10-26T02:30:00.5Z", f"crowd-{number:04}", "v2"), "v2")
    assert _land_or_fail(fake, "v2", clock, store)


@pytest.mark.parametrize("place", ["middle", "end"])
@pytest.mark.parametrize("late_at", range(2, 8))
@pytest.mark.parametrize("version", VERSIONS)
def test_late_record_inside_a_crowded_second_restarts_the_pass(
    version: str, late_at: int, place: str, clock: ManualClock, store: LocalStore
) -> None:
    """A record that pushes the rows of a crowded second down while they are read fails nothing."""
    fake = spaced(3600, 24 if place == "middle" else 3, version, clock=clock, cursor_by_offset=True)
    for number in range(2300):
        fake.add(record_at("2026-10-26T02:30:00.5Z", f"crowd-{number:04}", version), version)
    fake.add(record_at("2026-10-26T02:30:00.5Z", "crowd-0000-late", version), version, at_request=late_at)
    spec = pull_spec(version)
    land(spec, reader_of(fake, clock), store)
    assert len(landed_ids(spec, store)) >= len(true_ids(fake, version)) - 1
    assert set(landed_ids(spec, store)) >= set(true_ids(fake, version)) - {"crowd-0000-late"}


@pytest.mark.parametrize("count", [1, 2, 9, 50])
def test_version_two_that_ignores_id_not_still_lands(count: int, clock: ManualClock, store: LocalStore) -> None:
    """A few records of one second land from a server that ignores negated filters, with or without earlier records."""
    fake = spaced(60, 0, "v2", "ignored_not", clock=clock)
    for number in range(count):
        fake.add(record_at("2026-10-26T02:30:00.5Z", f"tie-{number:04}", "v2"), "v2")
    assert _land_or_fail(fake, "v2", clock, store)


@pytest.mark.parametrize("count", [999, 1000, 1001, 1500, 3000])
@pytest.mark.parametrize("place", ["middle", "end"])
def test_400_behind_a_crowded_second_is_proved_by_the_other_side(
    place: str, count: int, clock: ManualClock, store: LocalStore
) -> None:
    """Version 1 lands a second of a page or more although the page behind its last row is a status 400."""
    fake = spaced(3600, 24 if place == "middle" else 3, "v1", "past_end_is_400", clock=clock)
    for number in range(count):
        fake.add(record_at("2026-10-26T02:30:00.5Z", f"crowd-{number:04}"))
    assert _land_or_fail(fake, "v1", clock, store)


def test_depth_cap_inside_a_crowded_second_is_read_from_the_other_side(clock: ManualClock, store: LocalStore) -> None:
    """Rows deeper than the API pages in one direction are read in the other."""
    fake = spaced(3600, 24, "v1", "depth_cap=2000", clock=clock)
    for number in range(3000):
        fake.add(record_at("2026-10-26T02:30:00.5Z", f"crowd-{number:04}"))
    assert _land_or_fail(fake, "v1", clock, store)


@pytest.mark.parametrize("version", VERSIONS)
def test_recount_against_a_server_that_ignores_before_ends(version: str, clock: ManualClock, store: LocalStore) -> None:
    """Reading downwards from a server that ignores the bound ends in an error after few requests."""
    fake = fake_with(clock, "ignored_before", "page_ceiling=50", records_per_day=1271, requests_per_window=None)
    spec = pull_spec(version, verify="recount")
    with pytest.raises(SourceProtocolError, match="ignores"):
        land(spec, reader_of(fake, clock), store)
    assert len(fake.requests) <= 300
