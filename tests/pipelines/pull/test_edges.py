"""A second look at the edges of a window lands what a lagging replica hid while it was read."""

from __future__ import annotations

from concurrent.futures import CancelledError
from datetime import timedelta
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive.manifest import describe
from airflow_audit_provider.core.verification.coverage import facts_of
from airflow_audit_provider.exceptions import ConfigurationError, SourceUnavailableError
from airflow_audit_provider.pipelines.late_records import pull_late_records
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.misbehaviour import parse_switch
from tests.pipelines.pull.counted_records import spaced
from tests.pipelines.pull.crashing_store import KilledError
from tests.pipelines.pull.landing import (
    END,
    START,
    fake_with,
    land,
    landed,
    landed_ids,
    pull_spec,
    reader_of,
    record_at,
    staged_keys,
    true_ids,
    visible_keys,
)
from tests.pipelines.pull.resuming import check_no_findings, kill, resume_point_of, visible_parts

pytestmark = pytest.mark.integration

VERSIONS = ("v1", "v2")
MINUTE = timedelta(minutes=1)
PAUSE_SECONDS = 30.0


class InterruptedClock(ManualClock):
    """Clock that runs an action at its first sleep."""

    def __init__(self, action: Any, start: Any = END + 20 * MINUTE) -> None:
        super().__init__(start)
        self._action = action

    def sleep(self, seconds: float) -> None:
        """Runs the action once, then sleeps."""
        action, self._action = self._action, None
        if action is not None:
            action()
        super().sleep(seconds)


def recent_clock(after_end: timedelta = 20 * MINUTE) -> ManualClock:
    """Returns a clock that shows so much after the end of the usual window."""
    return ManualClock(END + after_end)


def killed() -> None:
    """Kills the worker."""
    raise KilledError("killed in the pause")


def hour(number: int) -> dict[str, Any]:
    """Returns the bounds of an hour of the usual day."""
    return {"start": START + timedelta(hours=number), "end": START + timedelta(hours=number + 1)}


def check_landed(fake: FakeCloudflare, store: LocalStore, version: str) -> None:
    """Asserts that the usual window has all its records, each once, and nothing is left in staging."""
    fake.misbehave()
    assert landed_ids(pull_spec(version), store) == true_ids(fake, version)
    assert not staged_keys(store)
    check_no_findings(store)


@pytest.mark.parametrize(
    ("count", "when"),
    [(20, "every=2"), (20, "every=2,after=1"), (700, "every=2"), (700, "first=2"), (700, "first=3"), (1500, "first=4")],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_records_that_a_lagging_replica_hid_are_landed(version: str, count: int, when: str, store: LocalStore) -> None:
    """With answers that alternate, or lag at first, the window is complete; without a second look some are not."""
    clock = recent_clock()
    fake = spaced(86_400 / count, count, version, f"lagging_replica=5,{when}", clock=clock)
    outcome = land(pull_spec(version, concurrency=1), reader_of(fake, clock), store)
    assert outcome.manifest.verified == "edges"
    assert landed(pull_spec(version), store) == sorted(landed(pull_spec(version), store))
    check_landed(fake, store, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_without_verification_a_lagging_replica_hides_records(version: str, store: LocalStore) -> None:
    """The same server and window without the second look: the newest records are missing."""
    clock = recent_clock()
    fake = spaced(60, 1400, version, "lagging_replica=5,first=3", clock=clock)
    outcome = land(pull_spec(version, concurrency=1, verify="none"), reader_of(fake, clock), store)
    assert (outcome.manifest.verified, outcome.manifest.record_count) == (None, 1395)


@pytest.mark.parametrize(
    ("after_end", "chosen", "verified"),
    [
        (59 * MINUTE, None, "edges"),
        (60 * MINUTE, None, None),
        (1 * MINUTE, "none", None),
        (999 * MINUTE, "edges", "edges"),
        (1 * MINUTE, "recount", "recount"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_recent_window_is_verified_at_its_edges_by_default(
    version: str, after_end: timedelta, chosen: str | None, verified: str | None, store: LocalStore
) -> None:
    """Within an hour of its end, unless something else is chosen; the manifest and the summary state it."""
    clock = recent_clock(after_end)
    fake = spaced(60, 1300, version, clock=clock)
    manifest = land(pull_spec(version, verify=chosen), reader_of(fake, clock), store).manifest
    assert manifest.verified == verified
    assert describe(manifest)["verified"] == (verified or "none")
    assert facts_of(manifest).is_recounted is (verified == "recount")
    assert sum(clock.sleeps) == (PAUSE_SECONDS if verified else 0)


@pytest.mark.parametrize("count", [0, 700, 2500])
@pytest.mark.parametrize("version", VERSIONS)
def test_second_look_costs_three_requests_and_its_rows_add_up(
    version: str, count: int, store: LocalStore, undisturbed_store: LocalStore
) -> None:
    """Three requests more than without it, counted like all others."""
    fetched = []
    for destination, verify in ((undisturbed_store, "none"), (store, "edges")):
        clock = recent_clock()
        fake = spaced(30, count, version, clock=clock)
        fetch = land(
            pull_spec(version, verify=verify, concurrency=1), reader_of(fake, clock), destination
        ).manifest.fetch
        assert fetch.seen_count == count + fetch.outside_count + fetch.repeated_count
        assert fetch.request_count == len(fake.requests)
        fetched.append(fetch)
    assert fetched[1].request_count == fetched[0].request_count + 3


@pytest.mark.parametrize("concurrency", [1, 6])
@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_are_those_of_a_pull_without_a_second_look(
    version: str, concurrency: int, store: LocalStore, undisturbed_store: LocalStore
) -> None:
    """An API without lag gives the same parts."""
    clock = recent_clock()
    fake = fake_with(clock, records_per_day=9000, requests_per_window=None)
    spec = pull_spec(version, concurrency=concurrency)
    for destination, verify in ((store, "edges"), (undisturbed_store, "none")):
        land(spec._replace(verify=verify), reader_of(fake, clock), destination)
    assert visible_parts(store) == visible_parts(undisturbed_store)


@pytest.mark.parametrize("seconds", [0, 7, 600])
def test_pause_is_taken_by_the_readers_clock(seconds: int, store: LocalStore) -> None:
    """As long as the spec says, in short waits that a cancelled task can end."""
    clock = recent_clock()
    spec = pull_spec(edges_pause=timedelta(seconds=seconds))
    land(spec, reader_of(spaced(60, 5, "v1", clock=clock), clock), store)
    assert sum(clock.sleeps) == seconds
    assert max(clock.sleeps, default=0) <= 2


@pytest.mark.parametrize("seconds", [-1, 601])
def test_pause_has_bounds(seconds: int, store: LocalStore) -> None:
    """At most ten minutes."""
    clock = recent_clock()
    with pytest.raises(ConfigurationError, match="Set it to a time from 0 to 0:10:00"):
        land(pull_spec(edges_pause=timedelta(seconds=seconds)), reader_of(spaced(60, 5, "v1"), clock), store)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("lag", [0, 7])
@pytest.mark.parametrize("version", VERSIONS)
def test_pull_killed_in_the_pause_is_resumed(version: str, lag: int, store: LocalStore) -> None:
    """Nothing is visible after the kill; the next attempt resumes, looks again, and the window is complete."""
    clock = InterruptedClock(killed)
    fake = spaced(10, 8000, version, f"lagging_replica={lag},first=14", clock=clock)
    spec = pull_spec(version, concurrency=1)
    with pytest.raises(KilledError):
        land(spec, reader_of(fake, clock), store)
    assert not visible_keys(store)
    assert fake.requests
    outcome = land(spec._replace(attempt_id="two"), reader_of(fake, clock), store)
    assert (outcome.manifest.verified, outcome.manifest.fetch.resumed_count > 0) == ("edges", True)
    check_landed(fake, store, version)


def test_cancelled_task_ends_in_the_pause(store: LocalStore) -> None:
    """A cancel ends the pause at once, and nothing is committed."""

    def cancel() -> None:
        reader.cancel()

    clock = InterruptedClock(cancel)
    reader = reader_of(spaced(60, 5, "v1", clock=clock), clock)
    with pytest.raises(CancelledError):
        land(pull_spec(), reader, store)
    assert len(clock.sleeps) == 1
    assert not visible_keys(store)


@pytest.mark.parametrize("version", VERSIONS)
def test_record_that_arrives_in_the_pause_is_landed(version: str, store: LocalStore) -> None:
    """The newest record belongs to the window, so it is not left to a later run."""

    def arrive() -> None:
        fake.add(record_at("2026-10-26T23:59:59.5Z", "late", version), version)

    clock = InterruptedClock(arrive)
    fake = spaced(60, 1300, version, clock=clock)
    land(pull_spec(version), reader_of(fake, clock), store)
    assert landed(pull_spec(version), store)[-1].id == "late"
    check_landed(fake, store, version)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("version", VERSIONS)
def test_more_than_a_page_of_missing_records_fails_and_is_read_again(version: str, store: LocalStore) -> None:
    """The task fails with a retryable error and keeps no staged part; the retry reads the window from its start."""

    def catch_up() -> None:
        fake.misbehave()

    clock = InterruptedClock(catch_up)
    fake = spaced(6, 12_000, version, "lagging_replica=1500", clock=clock)
    spec = pull_spec(version, concurrency=1)
    with pytest.raises(SourceUnavailableError, match=r"showed 1,000 records .* lengthen settle_delay") as caught:
        land(spec, reader_of(fake, clock), store)
    assert caught.value.retryable
    assert not visible_keys(store)
    assert not staged_keys(store)
    outcome = land(spec._replace(attempt_id="two"), reader_of(fake, clock), store)
    assert outcome.manifest.fetch.resumed_count == 0
    check_landed(fake, store, version)


@pytest.mark.usefixtures("small_parts")
def test_missing_old_record_of_a_resumed_window_fails_and_is_read_again(store: LocalStore) -> None:
    """The parts that lack it are staged already, so the attempt and what it adopted are dropped."""
    fake = spaced(4, 20_000, "v1")
    spec = pull_spec(concurrency=1, verify="edges")
    kill(fake, spec, store, 12)
    late_at = resume_point_of(store) + timedelta(seconds=9)
    clock = InterruptedClock(lambda: fake.add(record_at(f"{late_at:%Y-%m-%dT%H:%M:%SZ}", "late")))
    with pytest.raises(SourceUnavailableError, match="such as late"):
        land(spec._replace(attempt_id="two"), reader_of(fake, clock), store)
    assert not staged_keys(store)
    outcome = land(spec._replace(attempt_id="three"), reader_of(fake, clock), store)
    assert outcome.manifest.fetch.resumed_count == 0
    check_landed(fake, store, "v1")


@pytest.mark.parametrize("version", VERSIONS)
def test_addendum_has_the_late_records_of_a_second_look(version: str, store: LocalStore) -> None:
    """A second run of a recent window adds what only its second look shows."""
    clock = recent_clock()
    fake = spaced(60, 700, version, clock=clock)
    land(pull_spec(version), reader_of(fake, clock), store)
    fake.add(record_at("2026-10-26T23:59:58Z", "late-1", version), version)
    fake.add(record_at("2026-10-26T23:59:59Z", "late-2", version), version)
    fake.misbehave(parse_switch(f"lagging_replica=1,first={len(fake.requests) + 3}"))
    manifest = land(pull_spec(version, attempt_id="two"), reader_of(fake, clock), store).manifest
    assert (manifest.generation, manifest.added_ids, manifest.verified) == (2, ("late-1", "late-2"), "edges")
    check_landed(fake, store, version)


def test_lookback_looks_twice_at_recent_windows_only(store: LocalStore) -> None:
    """Each window that is read again is verified by its own age."""
    clock = ManualClock(START + timedelta(hours=5, minutes=20))
    fake = spaced(600, 40, "v1", clock=clock)
    for number in (1, 2, 3):
        land(pull_spec(**hour(number), verify="none"), reader_of(fake, clock), store)
    clock.sleeps.clear()
    clock = ManualClock(START + timedelta(hours=4, minutes=20))
    spec = pull_spec(**hour(4), settle_delay=timedelta(0))
    pull_late_records(spec, timedelta(hours=3), reader_of(fake, clock), store, NullObserver())
    assert sum(clock.sleeps) == PAUSE_SECONDS
