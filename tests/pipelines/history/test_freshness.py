"""What ``freshness`` measures agrees with the truth of a fake whose records come late at seeded times."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import LogEntry, WindowKeys
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.committed import read_committed
from airflow_audit_provider.pipelines.freshness import freshness, freshness_report
from tests.pipelines.history.arrivals import DAY, FIRST, SETTLE, History, Late, fake_of, landed_nightly, late_records
from tests.pipelines.history.counting_store import KEYS_A_PAGE, CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.pull.landing import land, pull_spec, reader_of

LOOKBACK = 3 * DAY
DAYS = 6


def true_quantile(late: list[Late], share: float) -> float:
    """Returns the true lateness in seconds that this share of the records does not exceed."""
    ordered = sorted(one.lateness.total_seconds() for one in late)
    return ordered[max(1, -(-round(share * len(ordered) * 1000) // 1000)) - 1]


def found_late(late: list[Late], history: History) -> list[Late]:
    """Returns the records that landed, but not in the first commit of their day."""
    return [one for one in late if one.id in history.landed_ids - history.first_ids]


@pytest.mark.integration
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_true_quantiles_are_within_the_bounds(tmp_path: Path, seed: int, version: str) -> None:
    """Each true quantile of the lateness of late records is between the two that the commits show."""
    late = late_records(seed, DAYS, 150)
    history = landed_nightly(tmp_path, late, DAYS, LOOKBACK, version, records_per_day=20)
    measured = freshness_report(history.store, history.clock.now(), SETTLE, LOOKBACK).lateness
    truth = found_late(late, history)
    assert measured.late_count == len(truth) > 30
    assert measured.at_least is not None
    assert measured.at_most is not None
    for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99_9"), (1.0, "longest")):
        # Entries of the commit log are in whole seconds.
        assert getattr(measured.at_least, name) - 1 <= true_quantile(truth, share)
        assert true_quantile(truth, share) <= getattr(measured.at_most, name) + 1
    assert measured.open_count == sum(FIRST + (day + 1) * DAY > history.clock.now() - LOOKBACK for day in range(10))


@pytest.mark.integration
def test_proposed_settings_miss_what_they_say(tmp_path: Path) -> None:
    """Landing the same records again with the proposed lookback misses at most the stated number of late records."""
    late = late_records(7, DAYS, 4400, shape=0.1)
    history = landed_nightly(tmp_path / "measured", late, DAYS, LOOKBACK)
    measured = freshness_report(history.store, history.clock.now(), SETTLE, LOOKBACK).lateness
    truth = found_late(late, history)
    assert measured.lookback.record_count == len(truth) >= measured.lookback.needed_count
    assert measured.lookback.proposed is not None
    assert measured.lookback.missed_proposed is not None
    again = landed_nightly(tmp_path / "again", late, DAYS, timedelta(seconds=measured.lookback.proposed))
    missed = {one.id for one in truth} - again.landed_ids
    assert len(missed) <= measured.lookback.missed_proposed <= len(truth) // 1000
    delay = measured.settle_delay
    assert delay.proposed is not None
    assert delay.missed_proposed is not None
    inside = [one for one in late if one.id in history.landed_ids]
    after = [one for one in inside if one.visible_at > _end_of_day(one) + timedelta(seconds=delay.proposed)]
    assert len(after) <= delay.missed_proposed <= delay.record_count // 1000
    assert delay.missed_now == len(truth)


def _end_of_day(one: Late) -> datetime:
    return FIRST + ((one.event_at - FIRST) // DAY + 1) * DAY


def test_calls_follow_the_commit_log_and_not_the_history() -> None:
    """Of a long history only the windows in the log are read; their newest ones are found by ten calls."""
    of = windows(120, 24)
    store = CountingStore(dict(committed(of)))
    for window in of[-48:]:
        store.objects[LogEntry(window.end + SETTLE, window, 1, "one").key] = b"{}"
    store.calls.clear()
    found = freshness_report(store, END + SETTLE, SETTLE, DAY)
    assert (found.lateness.window_count, found.lateness.unknown_count) == (len(of), len(of) - 48)
    assert (found.lateness.open_count, found.lateness.delayed_count, found.lateness.late_count) == (24, 0, 0)
    manifest_pages = len(of) // KEYS_A_PAGE + 1
    assert store.calls["read"] <= 48 + 4
    assert store.calls["list"] <= manifest_pages + 3
    store.calls.clear()
    assert freshness(store, END + SETTLE) == found.freshness
    assert store.call_count <= 10


def test_freshness_names_the_newest_window_and_the_newest_record() -> None:
    """The lag counts from the end of the newest window, the age from the newest record, also in an earlier window."""
    of = windows(3)
    store = CountingStore(dict(committed(of[:1])))
    for window in of[1:]:
        empty = msgspec.structs.replace(_manifest(store, of[0]), window=window, partition_date=window.start.date())
        empty = msgspec.structs.replace(empty, parts=(), record_count=0, added_count=0)
        store.objects[empty.keys.manifest(1)] = empty.to_bytes()
    found = freshness(store, END + timedelta(hours=1))
    assert (found.landed_until_at, found.landed_lag_seconds) == (END, 3600)
    assert found.last_event_at == of[0].start + timedelta(hours=12)
    assert found.last_event_age_seconds == timedelta(days=2, hours=13).total_seconds()


def _manifest(store: CountingStore, window: TimeWindow) -> Manifest:
    return read_committed(store, WindowKeys(window, window.start.date()).manifest(1)).manifest


def test_destination_without_a_window_has_no_freshness() -> None:
    """All fields are None, and the report about lateness is refused."""
    found = freshness(CountingStore({}), END)
    assert set(msgspec.structs.astuple(found)) == {END, None}
    with pytest.raises(VerificationError, match="holds no committed window"):
        freshness_report(CountingStore({}), END)


def test_record_added_to_an_empty_day_is_late_and_a_replaced_day_has_none(tmp_path: Path) -> None:
    """Records that are added to an empty day count as late, and a replaced day has no late records."""
    late = [Late("one", FIRST + DAY / 2, FIRST + 2 * DAY), Late("two", FIRST + DAY / 2, FIRST + 3 * DAY)]
    history = landed_nightly(tmp_path, late, 1, LOOKBACK)
    measured = freshness_report(history.store, history.clock.now(), SETTLE, LOOKBACK).lateness
    assert (measured.late_count, measured.addition_count, measured.first_count) == (2, 2, 0)
    assert measured.at_most is not None
    assert measured.at_most.longest == (2.5 * DAY + SETTLE).total_seconds()
    spec = pull_spec(start=FIRST, end=FIRST + DAY, replace=True)
    land(spec, reader_of(fake_of(history.clock, late, "v1", 5), history.clock), history.store)
    replaced = freshness_report(history.store, history.clock.now(), SETTLE, LOOKBACK).lateness
    assert (replaced.late_count, replaced.unknown_count) == (0, 1)
