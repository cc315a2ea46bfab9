"""Every misbehaviour of the API: either every record lands exactly once, or a named error and nothing lands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    SourceAuthError,
    SourceError,
    SourceProtocolError,
    SourceRateLimitedError,
    SourceUnavailableError,
)
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.misbehaviour import Misbehaviour
from tests.pipelines.pull.landing import (
    START,
    fake_with,
    land,
    landed_ids,
    pull_spec,
    reader_of,
    record_at,
    staged_keys,
    true_ids,
    visible_keys,
)

pytestmark = pytest.mark.integration

Kind = Misbehaviour
# Misbehaviours with which every record lands, by their values; "" is the default value.
LANDS: dict[Misbehaviour, tuple[str, ...]] = {
    Kind.SINCE_EDGE: ("=inclusive", "=exclusive"),
    Kind.BEFORE_EDGE: ("=inclusive", "=exclusive"),
    Kind.GRAIN: ("=second", "=ms", "=us"),
    Kind.TIE_ORDER: ("=stable", "=id", "=reversed", "=random"),
    Kind.SORT_BY_SECOND: ("",),
    Kind.PAGE_CEILING: ("", "=250"),
    Kind.PAGE_CEILING_ASKED_OFFSET: ("", "=250"),
    Kind.FEWER_THAN_ASKED: ("", "=random"),
    Kind.REPEATED_ROW: ("",),
    Kind.DEPTH_CAP: ("", "=500"),
    Kind.PAST_END_IS_400: ("",),
    Kind.EXPIRING_EDGE: ("=60",),
    Kind.LATE_ROWS: (),
    Kind.EMPTY_PAGE: ("", ",every=3"),
    Kind.CURSOR_EXPIRES: ("", "=1"),
    Kind.REPEATED_CURSOR: ("",),
    Kind.MISSING_CURSOR: ("", ",every=2"),
    Kind.MISSING_RESULT_FACTS: ("",),
    Kind.V1_TOTALS: ("",),
    Kind.NULL_RESULT: ("",),
    Kind.NO_RECORDS: (",first=1", ",first=2"),
    Kind.MISSING_ROW: (),
    Kind.LAGGING_REPLICA: ("",),
    Kind.IGNORED_SINCE: (),
    Kind.IGNORED_BEFORE: ("",),
    Kind.IGNORED_DIRECTION: (),
    Kind.IGNORED_PAGE: ("",),
    Kind.IGNORED_SIZE: ("", "=7"),
    Kind.IGNORED_NOT: ("",),
    Kind.SUCCESS_FALSE: (",first=2", ",every=3"),
    Kind.HTML: ("=200,first=2", "=502,every=2"),
    Kind.TRUNCATED_JSON: (",first=2", ",every=3"),
    Kind.WRONG_LENGTH: (",first=2", ",every=2"),
    Kind.CUT_CONNECTION: (",first=2", ",every=2"),
    Kind.NO_ANSWER: (",first=2", ",every=2"),
    Kind.STATUS: ("=500,first=3", "=503,every=2", "=520,first=1", "=524,first=1"),
    Kind.RATE_LIMITED: (",first=1", "=7,every=3", "=date,first=1", "=none,first=1"),
    Kind.SLOW: ("=5000",),
    Kind.ODD_TIMESTAMPS: ("",),
    Kind.ODD_FIELDS: ("", ",every=2"),
    Kind.HUGE_RECORDS: ("=200000",),
    Kind.PRETTY_JSON: ("",),
    Kind.REDIRECT: (),
    Kind.HISTORY_STATUS: ("",),
}
# Misbehaviours with which nothing can land, and the error of each.
FAILS: dict[str, type[AuditProviderError]] = {
    "success_false": SourceUnavailableError,
    "html=200": SourceUnavailableError,
    "html=502": SourceUnavailableError,
    "truncated_json": SourceUnavailableError,
    "wrong_length": SourceUnavailableError,
    "cut_connection": SourceUnavailableError,
    "no_answer": SourceUnavailableError,
    "status=503": SourceUnavailableError,
    "status=401": SourceAuthError,
    "status=403": SourceAuthError,
    "status=404": ConfigurationError,
    "status=400": SourceProtocolError,
    "rate_limited": SourceRateLimitedError,
    "rate_limited=none": SourceRateLimitedError,
    "ignored_since": SourceProtocolError,
    "ignored_direction": SourceProtocolError,
    "redirect": SourceProtocolError,
    "redirect,after=1": SourceProtocolError,
    "status=403,after=1": SourceAuthError,
    "status=500,after=1": SourceUnavailableError,
    "html=200,after=1": SourceUnavailableError,
}
VERSIONS = ("v1", "v2")
SPECS = [kind.value + value for kind, values in LANDS.items() for value in values]
# Kinds that change the rows of a page; only these affect a second with more records than a page.
PAGING = [
    *list(LANDS)[: list(LANDS).index(Kind.PAGE_CEILING_ASKED_OFFSET) + 1],
    Kind.FEWER_THAN_ASKED,
    Kind.REPEATED_ROW,
    Kind.DEPTH_CAP,
    Kind.PAST_END_IS_400,
    Kind.CURSOR_EXPIRES,
    Kind.REPEATED_CURSOR,
    Kind.MISSING_CURSOR,
    Kind.MISSING_RESULT_FACTS,
]
CROWDED = [kind.value + value for kind in PAGING for value in LANDS[kind]]


def test_every_misbehaviour_is_covered() -> None:
    """The tables cover every misbehaviour of the fake, also one that is added later."""
    covered = {switch.partition("=")[0].partition(",")[0] for switch in (*SPECS, *FAILS, "late_rows", "missing_row")}
    assert covered == {kind.value for kind in Misbehaviour}
    assert LANDS.keys() == set(Misbehaviour)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("switch", SPECS)
def test_misbehaving_api_lands_every_record_once(
    switch: str, version: str, clock: ManualClock, store: LocalStore
) -> None:
    """Every record of the window lands exactly once although the API misbehaves."""
    fake = fake_with(clock, switch)
    land(pull_spec(version), reader_of(fake, clock), store)
    assert landed_ids(pull_spec(version), store) == true_ids(fake, version)
    assert not staged_keys(store)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("switch", FAILS)
def test_unreadable_api_is_an_error_and_lands_nothing(
    switch: str, version: str, clock: ManualClock, store: LocalStore
) -> None:
    """A misbehaviour that cannot be read through is a named error, and the destination is empty."""
    fake = fake_with(clock, switch)
    with pytest.raises(FAILS[switch]) as caught:
        land(pull_spec(version), reader_of(fake, clock), store)
    assert type(caught.value) is FAILS[switch]
    assert list(store.list_keys("")) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("switch", CROWDED)
def test_crowded_second_lands_completely_or_fails(
    switch: str, version: str, clock: ManualClock, store: LocalStore
) -> None:
    """A second with more records than a page lands completely, or the pull fails and nothing lands."""
    fake = _crowded(clock, switch, version)
    start, end = START, START + timedelta(hours=2)
    spec = pull_spec(version, start=start, end=end)
    try:
        land(spec, reader_of(fake, clock), store)
    except SourceError:
        assert list(store.list_keys("")) == []
    else:
        assert landed_ids(spec, store) == true_ids(fake, version, start, end)


def _crowded(clock: ManualClock, switch: str, version: str) -> FakeCloudflare:
    """Returns a fake with 1300 records in one second, 700 of them at one instant, and a few others."""
    fake = fake_with(clock, switch, records_per_day=200)
    for number in range(1300):
        fraction = 500_000 if number < 700 else number
        when = f"2026-10-26T01:00:00.{fraction:06}Z"
        fake.add(record_at(when, f"crowd-{number:04}", version), version)
    return fake


@pytest.mark.parametrize("version", VERSIONS)
def test_crowded_second_of_a_plain_api_lands(version: str, clock: ManualClock, store: LocalStore) -> None:
    """A second with more records than a page lands completely if the API does not misbehave."""
    fake = _crowded(clock, "slow=1", version)
    land(pull_spec(version), reader_of(fake, clock), store)
    assert landed_ids(pull_spec(version), store) == true_ids(fake, version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("switch", ["late_rows", "late_rows,every=2", "late_rows,first=1"])
def test_late_rows_are_not_lost(switch: str, version: str, clock: ManualClock, store: LocalStore) -> None:
    """Records that appear while the window is read land once, with this run or the next one."""
    fake = fake_with(clock, switch)
    before = set(true_ids(fake, version))
    land(pull_spec(version), reader_of(fake, clock), store)
    first = landed_ids(pull_spec(version), store)
    assert len(first) == len(set(first))
    assert before <= set(first) <= set(true_ids(fake, version))
    fake.misbehave()
    land(pull_spec(version), reader_of(fake, clock), store)
    assert landed_ids(pull_spec(version), store) == true_ids(fake, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_retention_edge_that_moves_while_reading_loses_nothing(
    version: str, clock: ManualClock, store: LocalStore
) -> None:
    """A window at the edge of the retention is read from its oldest record, before that record expires."""
    fake = fake_with(clock, "expiring_edge=3600", retention=timedelta(days=546))
    start = datetime(2025, 5, 5, 14, tzinfo=UTC)
    spec = pull_spec(version, start=start, end=start + timedelta(hours=20))
    there = true_ids(fake, version, start, start + timedelta(hours=20))
    land(spec, reader_of(fake, clock), store)
    assert landed_ids(spec, store) == there


@pytest.fixture(params=["status=503,share=0.3", "no_answer,share=0.3", "rate_limited=20,share=0.2"])
def fault(request: pytest.FixtureRequest) -> str:
    """A misbehaviour that fails a share of the requests."""
    switch: str = request.param
    return switch


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("oddity", ["page_ceiling=200", "tie_order=random", "fewer_than_asked=random"])
def test_faults_and_paging_oddities_together_lose_nothing(
    fault: str, oddity: str, version: str, clock: ManualClock, store: LocalStore
) -> None:
    """Every record lands exactly once if the API both fails randomly and pages oddly."""
    fake = fake_with(clock, fault, oddity)
    land(pull_spec(version), reader_of(fake, clock), store)
    assert landed_ids(pull_spec(version), store) == true_ids(fake, version)


def test_nothing_is_visible_while_reading(clock: ManualClock, store: LocalStore) -> None:
    """Before a pull fails halfway, nothing is visible outside of staging."""
    fake = fake_with(clock, "status=500,after=2", records_per_day=6000)
    seen: list[list[str]] = []
    reader = reader_of(fake, clock)
    clock_sleep = clock.sleep

    def record_and_sleep(seconds: float) -> None:
        seen.append(visible_keys(store))
        clock_sleep(seconds)

    clock.sleep = record_and_sleep  # type: ignore[method-assign]  # observes the store during the pull
    with pytest.raises(SourceUnavailableError):
        land(pull_spec(), reader, store)
    assert len(seen) >= 7
    assert not any(seen)
