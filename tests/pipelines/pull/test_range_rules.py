"""What a range reads, skips, refuses, and how it goes on after an error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.ports import Request, Response, Transport
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    CommitConflictError,
    RetentionExceededError,
    SourceProtocolError,
    WindowNotSettledError,
)
from airflow_audit_provider.pipelines.observer import NullObserver, PullOutcome
from airflow_audit_provider.pipelines.pull_range import pull_range
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.hypothesis_profiles import examples
from tests.pipelines.pull.crashing_store import CrashingTransport, CrashPoint, KilledError
from tests.pipelines.pull.landing import (
    fake_with,
    land,
    objects,
    pull_spec,
    reader_of,
    record_at,
    staged_keys,
    true_ids,
)
from tests.pipelines.pull.many_windows import (
    DAY,
    FIRST,
    check_same_dataset,
    land_each,
    land_range,
    manifests,
    range_spec,
    spec_of,
)
from tests.pipelines.pull.meanwhile import Meanwhile
from tests.pipelines.pull.odd_log import OddLog, Row, odd_raws

pytestmark = pytest.mark.integration


@pytest.fixture
def fake() -> FakeCloudflare:
    """A fake of 500 records a day."""
    return fake_with(ManualClock(), records_per_day=500)


def _reader(transport: Transport) -> AuditLogReader:
    return AuditLogReader(transport, ManualClock(), RateLimiter(), RetryLimits())


def test_days_of_half_a_page_take_one_request_for_two(fake: FakeCloudflare, store: LocalStore) -> None:
    """60 days of 500 records are 30 pages; sixty pulls take a request each at least."""
    ranged = range_spec(start=FIRST - 50 * DAY, days=60, concurrency=1)
    outcome = land_range(ranged, reader_of(fake, ManualClock()), store)
    assert (outcome.window_count, outcome.record_count) == (60, 30_000)
    assert len(fake.requests) <= 30 + 4
    assert sum(manifest.fetch.request_count for manifest in manifests(store)) == len(fake.requests)


def test_parallel_reading_of_shared_pages_takes_few_more_requests(fake: FakeCloudflare, store: LocalStore) -> None:
    """With six requests at a time, the last page of each slice is not full."""
    land_range(range_spec(start=FIRST - 50 * DAY, days=60, concurrency=6), reader_of(fake, ManualClock()), store)
    assert len(fake.requests) <= 45


def test_committed_windows_are_not_read_again(fake: FakeCloudflare, store: LocalStore) -> None:
    """A second run sends no request and changes no byte; its sums are those of the whole range."""
    ranged = range_spec()
    land_range(ranged, reader_of(fake, ManualClock()), store)
    before, request_count = objects(store), len(fake.requests)
    fake.add(record_at("2026-10-20T12:00:00Z", "late"))
    outcome = land_range(ranged, reader_of(fake, ManualClock()), store)
    assert (len(fake.requests), objects(store)) == (request_count, before)
    assert (outcome.window_count, outcome.committed_count, outcome.record_count) == (7, 0, 3500)
    assert outcome.newest is not None
    assert outcome.newest.manifest.window == ranged.windows[-1].window


def test_committed_windows_are_read_again_on_request(fake: FakeCloudflare, store: LocalStore) -> None:
    """A late record becomes the next generation of its day; the other days do not change."""
    land_range(range_spec(), reader_of(fake, ManualClock()), store)
    fake.add(record_at("2026-10-20T12:00:00Z", "late"))
    outcome = land_range(range_spec(reads_again=True, attempt_id="two"), reader_of(fake, ManualClock()), store)
    assert (outcome.committed_count, outcome.added_count, outcome.record_count) == (1, 1, 3501)
    assert [manifest.generation for manifest in manifests(store)].count(2) == 1


def test_committed_days_inside_the_range_are_left_out(tmp_path: Path, fake: FakeCloudflare) -> None:
    """Single runs before and after, and a range between them, land each day once."""
    shared, alone = LocalStore(str(tmp_path / "shared")), LocalStore(str(tmp_path / "alone"))
    ranged = range_spec()
    for number in (0, 3):
        land(spec_of(ranged, ranged.windows[number]), reader_of(fake, ManualClock()), shared)
    outcome = land_range(ranged, reader_of(fake, ManualClock()), shared)
    assert (outcome.window_count, outcome.committed_count) == (7, 5)
    land_each(ranged, fake, alone)
    check_same_dataset(shared, alone)


def test_unsettled_end_is_an_error_after_the_rest_is_committed(fake: FakeCloudflare, store: LocalStore) -> None:
    """The error names when the next window settles; nothing of that window is written."""
    now = ManualClock().now()
    start = now.replace(hour=0) - 3 * DAY
    ranged = range_spec(start=start, days=4, settle_delay=timedelta(minutes=15))
    with pytest.raises(WindowNotSettledError) as error:
        land_range(ranged, reader_of(fake, ManualClock()), store)
    assert error.value.settled_at == start + 4 * DAY + timedelta(minutes=15)
    assert error.value.progress == f"3 of 4 windows are committed, stopped at {ranged.windows[-1].window}"
    assert len(manifests(store)) == 3
    assert not staged_keys(store)


def test_range_before_the_retention_is_refused_before_the_first_request(
    fake: FakeCloudflare, store: LocalStore
) -> None:
    """As for one window: the oldest day to start with is named, and nothing is written."""
    ranged = range_spec(start=datetime(2025, 5, 1, tzinfo=UTC), days=10)
    with pytest.raises(RetentionExceededError, match="2025-05-05"):
        land_range(ranged, reader_of(fake, ManualClock()), store)
    assert not fake.requests
    assert not objects(store)


def test_days_that_expired_since_they_were_committed_do_not_block_the_rest(
    fake: FakeCloudflare, store: LocalStore
) -> None:
    """A retry some days later continues although the first days can no longer be read."""
    ranged = range_spec(start=datetime(2025, 5, 6, tzinfo=UTC), days=10)
    for number in range(4):
        land(spec_of(ranged, ranged.windows[number]), reader_of(fake, ManualClock()), store)
    later = ManualClock()
    later.sleep(timedelta(days=3).total_seconds())
    assert land_range(ranged, reader_of(fake, later), store).committed_count == 6


def test_overlapping_window_is_refused_before_the_first_request(fake: FakeCloudflare, store: LocalStore) -> None:
    """An hour that is committed inside one of the days blocks the whole range, as it would that day."""
    hour = FIRST + 3 * DAY + timedelta(hours=5)
    land(pull_spec(start=hour, end=hour + timedelta(hours=1)), reader_of(fake, ManualClock()), store)
    request_count = len(fake.requests)
    with pytest.raises(CommitConflictError, match="overlaps"):
        land_range(range_spec(), reader_of(fake, ManualClock()), store)
    assert len(fake.requests) == request_count


@pytest.mark.parametrize("changes", [{"file_format": "csv"}, {"version": "v2"}, {"filters": {"action_type": "login"}}])
def test_another_dataset_is_refused_before_the_first_request(
    fake: FakeCloudflare, store: LocalStore, changes: dict[str, Any]
) -> None:
    """Also if all windows of the range are committed."""
    land_range(range_spec(), reader_of(fake, ManualClock()), store)
    request_count = len(fake.requests)
    with pytest.raises(CommitConflictError, match="another dataset"):
        land_range(range_spec(**changes), reader_of(fake, ManualClock()), store)
    assert len(fake.requests) == request_count


class FailingFrom:
    """Transport whose log is refused from an instant on: any page that reaches it is an error of the server."""

    def __init__(self, fake: FakeCloudflare, instant: datetime, status: int) -> None:
        self._transport = DirectTransport(fake, ManualClock())
        self._instant = instant
        self._status = status

    def send(self, request: Request) -> Response:
        """Sends the request unless it begins near the instant."""
        since = datetime.fromisoformat(dict(request.params)["since"])
        before = datetime.fromisoformat(dict(request.params)["before"])
        if since >= self._instant - DAY or (before <= self._instant + 2 * DAY and before > self._instant):
            return Response(self._status, {}, b'{"success":false,"errors":[{"code":1,"message":"broken"}]}')
        return self._transport.send(request)


@pytest.mark.parametrize("status", [500, 400, 403])
def test_failed_window_is_named_and_the_next_attempt_continues_there(
    fake: FakeCloudflare, store: LocalStore, status: int
) -> None:
    """All days before it stay committed and are not read again."""
    ranged = range_spec(days=10, concurrency=1)
    failing = _reader(FailingFrom(fake, FIRST + 6 * DAY, status))
    with pytest.raises(AuditProviderError) as error:
        land_range(ranged, failing, store)
    done = len(manifests(store))
    assert 3 <= done < 7
    assert error.value.progress == f"{done} of 10 windows are committed"
    assert f"{done} of 10" in str(error.value)
    assert str(ranged.windows[done].window) in str(error.value)
    request_count = len(fake.requests)
    outcome = land_range(ranged, reader_of(fake, ManualClock()), store)
    assert (outcome.committed_count, outcome.window_count) == (10 - done, 10)
    since = [dict(asked.params)["since"] for asked in fake.requests[request_count:]]
    assert min(map(datetime.fromisoformat, since)) >= ranged.windows[done].window.start - timedelta(days=2, seconds=2)


class RefusesLongRanges:
    """Transport of a server that answers a range of more than two days with status 400."""

    def __init__(self, fake: FakeCloudflare) -> None:
        self.refused_count = 0
        self._transport = DirectTransport(fake, ManualClock())

    def send(self, request: Request) -> Response:
        """Sends the request unless its range is too long."""
        params = dict(request.params)
        length = datetime.fromisoformat(params["before"]) - datetime.fromisoformat(params["since"])
        if params["direction"] == "asc" and length > 2 * DAY:
            self.refused_count += 1
            return Response(400, {}, b'{"success":false,"errors":[{"code":1,"message":"range too long"}]}')
        return self._transport.send(request)


def test_server_that_refuses_long_ranges_is_asked_for_single_days(fake: FakeCloudflare, store: LocalStore) -> None:
    """After three refused shared reads each window is read alone."""
    transport = RefusesLongRanges(fake)
    outcome = land_range(range_spec(days=10, concurrency=1), _reader(transport), store)
    assert (outcome.committed_count, outcome.record_count) == (10, 5000)
    assert transport.refused_count == 3
    assert verify(store).findings == ()


def test_window_committed_meanwhile_by_another_run_is_added_to(fake: FakeCloudflare, store: LocalStore) -> None:
    """Reads the window again and adds the late record, whatever the look-up of the range has found."""
    ranged = range_spec(concurrency=1)
    spec = spec_of(ranged, ranged.windows[5])._replace(attempt_id="other")

    def land_other() -> None:
        land(spec, reader_of(fake, ManualClock()), store)
        fake.add(record_at("2026-10-24T12:00:00Z", "late"))

    outcome = land_range(ranged, _reader(Meanwhile(fake, land_other)), store)
    assert outcome.record_count == len(true_ids(fake, "v1", FIRST, FIRST + 7 * DAY)) == 3501
    assert [manifest.generation for manifest in manifests(store)].count(2) == 1
    assert verify(store).findings == ()


def test_two_ranges_side_by_side_land_every_window_once(tmp_path: Path, fake: FakeCloudflare) -> None:
    """The one that comes second to a window finds the same records committed."""
    store, ranged = LocalStore(str(tmp_path / "shared")), range_spec(concurrency=1)
    other = range_spec(concurrency=1, attempt_id="other")

    def land_other() -> None:
        land_range(other, reader_of(fake, ManualClock()), store)

    land_range(ranged, _reader(Meanwhile(fake, land_other)), store)
    assert len(manifests(store)) == 7
    assert verify(store).findings == ()
    alone = LocalStore(str(tmp_path / "alone"))
    land_each(ranged, fake, alone)
    check_same_dataset(store, alone)


@pytest.mark.usefixtures("small_parts")
def test_window_staged_in_part_is_resumed(tmp_path: Path) -> None:
    """A killed attempt of a large day leaves parts; the next one reads only the rest of that day."""
    fake = fake_with(ManualClock(), records_per_day=8000, requests_per_window=None)
    shared, alone = LocalStore(str(tmp_path / "shared")), LocalStore(str(tmp_path / "alone"))
    ranged = range_spec(days=3, concurrency=1)
    crash, clock = CrashPoint(15), ManualClock()
    with pytest.raises(KilledError):
        land_range(ranged, _reader(CrashingTransport(DirectTransport(fake, clock), crash)), shared)
    assert any("/checkpoint-" in key for key in staged_keys(shared))
    again = range_spec(days=3, concurrency=1, attempt_id="two")
    land_range(again, reader_of(fake, ManualClock()), shared)
    assert [manifest.fetch.resumed_count > 0 for manifest in manifests(shared)] == [False, True, False]
    land_each(ranged, fake, alone)
    assert [manifest.record_count for manifest in manifests(shared)] == [8000, 8000, 8000]
    check_same_dataset(shared, alone)
    assert not staged_keys(shared)


@pytest.mark.parametrize("verify_by", ["recount", "edges", "none"])
def test_each_way_to_verify_holds_for_every_window(fake: FakeCloudflare, store: LocalStore, verify_by: str) -> None:
    """Each manifest states it, as that of a pull of its own does."""
    land_range(range_spec(days=3, verify=verify_by), reader_of(fake, ManualClock()), store)
    stated = None if verify_by == "none" else verify_by
    assert [manifest.verified for manifest in manifests(store)] == [stated] * 3


@pytest.mark.parametrize("version", ["v1", "v2"])
@examples(12)
@given(choice=st.data())
def test_undated_records_lie_where_a_pull_of_their_window_puts_them(
    tmp_path_factory: pytest.TempPathFactory, version: str, choice: st.DataObject
) -> None:
    """Whatever lies around them: the neighbours across a border would place them otherwise."""
    hours = choice.draw(st.lists(st.integers(1, 5 * 24 - 2), min_size=1, max_size=12, unique=True))
    undated = choice.draw(st.sets(st.sampled_from(hours), min_size=1, max_size=4))
    rows = []
    for hour in hours:
        at = FIRST + timedelta(hours=hour, minutes=30)
        text = at.isoformat().replace("+00:00", "Z")
        raw = odd_raws(version, at)["time missing"].replace(b'"odd"', b'"odd-%d"' % hour)
        rows.append(Row(at, raw if hour in undated else record_at(text, f"record-{hour}", version)))
    log, tmp_path = OddLog(version, rows, choice.draw(st.sampled_from([2, 5, 1000]))), tmp_path_factory.mktemp("odd")
    shared, alone = LocalStore(str(tmp_path / "shared")), LocalStore(str(tmp_path / "alone"))
    ranged = range_spec(days=5, version=version, concurrency=choice.draw(st.sampled_from([1, 6])))
    try:
        for run_window in ranged.windows:
            land(spec_of(ranged, run_window), _reader(log), alone)
    except SourceProtocolError as refusal:
        # A page of two rows that both are undated: the range stops where the pulls do.
        with pytest.raises(SourceProtocolError, match=str(refusal).partition(". Nothing")[0]):
            land_range(ranged, _reader(log), shared)
    else:
        land_range(ranged, _reader(log), shared)
    assert len(manifests(shared)) == len(manifests(alone))
    if manifests(alone):
        check_same_dataset(shared, alone)


def test_odd_record_that_must_fail_the_pull_fails_its_window_only(store: LocalStore) -> None:
    """The days before it are committed."""
    odd = odd_raws("v1", FIRST + 2.5 * DAY)["id float"]
    rows = [Row(FIRST + 2.5 * DAY, odd)]
    for number in range(5):
        at = FIRST + (number + 0.25) * DAY
        rows.append(Row(at, record_at(at.isoformat().replace("+00:00", "Z"), f"record-{number}")))
    with pytest.raises(SourceProtocolError) as error:
        land_range(range_spec(days=5, odd_records="fail"), _reader(OddLog("v1", rows)), store)
    assert error.value.progress == "2 of 5 windows are committed"
    assert len(manifests(store)) == 2


class _Noting(NullObserver):
    """Observer that notes the windows that are committed."""

    def __init__(self) -> None:
        self.windows: list[TimeWindow] = []

    def committed(self, outcome: PullOutcome) -> None:
        """Notes the window."""
        self.windows.append(outcome.manifest.window)


def test_each_window_is_observed_once_in_order(fake: FakeCloudflare, store: LocalStore) -> None:
    """As by a pull of its own, so logs and metrics are the same."""
    ranged, noting = range_spec(), _Noting()
    pull_range(ranged, reader_of(fake, ManualClock()), store, noting)
    assert noting.windows == [each.window for each in ranged.windows]


def test_outcome_lists_a_hundred_windows_at_most(store: LocalStore) -> None:
    """The sums are over all of them."""
    fake = fake_with(ManualClock(), records_per_day=24)
    outcome = land_range(range_spec(days=5, partition_by="hour"), reader_of(fake, ManualClock()), store)
    assert (outcome.window_count, len(outcome.listed)) == (120, 100)
    assert outcome.listed[0].start == FIRST
    assert outcome.record_count == 120
