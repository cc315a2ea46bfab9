"""Many windows pulled in one task land the same as with a pull for each, with fewer requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.exceptions import (
    AuditProviderError,
)
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.hypothesis_profiles import examples
from tests.pipelines.pull.landing import fake_with, land, reader_of, record_at, true_ids
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

pytestmark = pytest.mark.integration
BERLIN = "Europe/Berlin"


def _both(tmp_path: Path, fake: FakeCloudflare, **changes: Any) -> tuple[LocalStore, LocalStore, int, int]:
    """Lands a range in one go and by window; returns both destinations and the numbers of requests."""
    shared, alone = LocalStore(str(tmp_path / "shared")), LocalStore(str(tmp_path / "alone"))
    ranged = range_spec(**changes)
    before = len(fake.requests)
    land_range(ranged, reader_of(fake, ManualClock()), shared)
    request_count = len(fake.requests) - before
    return shared, alone, request_count, land_each(ranged, fake, alone)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("concurrency", [1, 6])
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "normalized", "ocsf"])
def test_range_equals_a_pull_for_each_window(tmp_path: Path, version: str, concurrency: int, form: str) -> None:
    """The same parts and manifests, in every form, with either version and any concurrency."""
    schema = form if form in ("normalized", "ocsf") else "raw"
    file_format = {"normalized": "parquet", "ocsf": "jsonl"}.get(form, form)
    fake = fake_with(ManualClock(), records_per_day=400, even_days=False)
    changes = {"schema": schema, "file_format": file_format, "concurrency": concurrency}
    if file_format == "parquet":
        changes["compression"] = "zstd"
    shared, alone, shared_count, alone_count = _both(tmp_path, fake, version=version, days=10, **changes)
    check_same_dataset(shared, alone)
    assert shared_count < alone_count


@pytest.mark.parametrize(
    ("partition_by", "timezone", "start", "end"),
    [
        ("hour", "UTC", "2026-10-24T00:00:00+00:00", "2026-10-26T00:00:00+00:00"),
        ("hour", BERLIN, "2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00"),
        ("day", BERLIN, "2026-10-22T22:00:00+00:00", "2026-10-27T23:00:00+00:00"),
        ("day", "Asia/Kolkata", "2026-10-22T18:30:00+00:00", "2026-10-26T18:30:00+00:00"),
        ("month", "UTC", "2026-08-01T00:00:00+00:00", "2026-11-01T00:00:00+00:00"),
    ],
)
def test_hours_months_and_local_days_equal_a_pull_for_each(
    tmp_path: Path, partition_by: str, timezone: str, start: str, end: str
) -> None:
    """Also across a clock change; the folders have the local dates."""
    fake = fake_with(ManualClock(), records_per_day=150)
    bounds = {"start": datetime.fromisoformat(start), "end": datetime.fromisoformat(end)}
    shared, alone, _, _ = _both(tmp_path, fake, partition_by=partition_by, timezone=timezone, **bounds)
    check_same_dataset(shared, alone)


SWITCHES = [
    "since_edge=exclusive", "before_edge=exclusive", "before_edge=inclusive", "grain=second", "tie_order=random",
    "tie_order=reversed", "sort_by_second", "page_ceiling=100", "fewer_than_asked=random", "repeated_row",
    "depth_cap=3000", "past_end_is_400", "empty_page", "missing_cursor", "missing_result_info", "ignored_size=100",
    "ignored_not", "odd_timestamps", "odd_fields", "pretty_json", "truncated_json,every=7", "status=503,every=5",
    "no_records,every=6", "missing_row,every=5", "cut_connection,every=9",
]  # fmt: skip


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("switch", SWITCHES)
def test_range_of_a_misbehaving_server_lands_what_is_true(tmp_path: Path, version: str, switch: str) -> None:
    """Every window has exactly the records of the log, or fails as it does when it is read alone."""
    fake = fake_with(ManualClock(), switch, records_per_day=150)
    store, ranged = LocalStore(str(tmp_path / "shared")), range_spec(days=5, version=version)
    try:
        land_range(ranged, reader_of(fake, ManualClock()), store)
    except AuditProviderError as error:
        failed = ranged.windows[len(manifests(store))]
        with pytest.raises(type(error)):
            land(spec_of(ranged, failed), reader_of(fake, ManualClock()), LocalStore(str(tmp_path / "alone")))
    for manifest in manifests(store):
        window = manifest.window
        assert manifest.record_count == len(true_ids(fake, version, window.start, window.end)), window


MIDNIGHT = datetime(2026, 10, 22, tzinfo=UTC)
TIMES = st.sampled_from([-DAY, timedelta(seconds=-1), timedelta(milliseconds=-1), timedelta(0), timedelta(seconds=1)])


@examples(8)
@given(choice=st.data(), version=st.sampled_from(["v1", "v2"]), concurrency=st.sampled_from([1, 6]))
def test_random_history_lands_equal(
    tmp_path_factory: pytest.TempPathFactory, choice: st.DataObject, version: str, concurrency: int
) -> None:
    """Empty days, bursts, equal times on and beside the borders, late records, and days that are committed already."""
    fake = fake_with(ManualClock(), records_per_day=choice.draw(st.sampled_from([0, 3, 400])), even_days=False)
    for number in range(choice.draw(st.integers(0, 6))):
        at = MIDNIGHT + choice.draw(st.integers(-2, 4)) * DAY + choice.draw(TIMES)
        for copy in range(choice.draw(st.sampled_from([1, 3, 1200]))):
            fake.add(record_at(at.isoformat().replace("+00:00", "Z"), f"added-{number}-{copy}", version))
    tmp_path = tmp_path_factory.mktemp("history")
    shared, alone = LocalStore(str(tmp_path / "shared")), LocalStore(str(tmp_path / "alone"))
    ranged = range_spec(days=9, version=version, concurrency=concurrency)
    before = choice.draw(st.sets(st.integers(0, 8), max_size=4))
    for number in before:
        for store in (shared, alone):
            land(spec_of(ranged, ranged.windows[number]), reader_of(fake, ManualClock()), store)
    fake.add(record_at("2026-10-22T12:00:00Z", "late", version))
    land_range(ranged, reader_of(fake, ManualClock()), shared)
    for number, run_window in enumerate(ranged.windows):
        if number not in before:
            land(spec_of(ranged, run_window), reader_of(fake, ManualClock()), alone)
    check_same_dataset(shared, alone)
    again = range_spec(days=9, version=version, concurrency=concurrency, reads_again=True)
    land_range(again, reader_of(fake, ManualClock()), shared)
    land_each(ranged, fake, alone)
    check_same_dataset(shared, alone)
    assert sum(manifest.added_count for manifest in manifests(shared)) == len(
        true_ids(fake, version, FIRST, FIRST + 9 * DAY)
    )
