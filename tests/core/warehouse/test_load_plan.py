"""Load plans: which windows are pending, what a load claims, and which checks fail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.warehouse.load_plan import (
    CommittedWindows,
    LoadPlan,
    PlannedLoad,
    check_nothing_missing,
    check_part_record_count,
    check_records_in_window,
    check_row_count,
    event_windows,
    keys_to_compare,
    plan_loads,
)
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadClaim
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, NotCommittedError, VerificationError
from tests.core.archive.manifests import manifest

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
FIRST_AT = datetime(2026, 10, 26, tzinfo=UTC)


def day(number: int, length: timedelta = DAY) -> TimeWindow:
    """Returns a window that starts so many days after the first one."""
    return TimeWindow(FIRST_AT + number * DAY, FIRST_AT + number * DAY + length)


def key(window: TimeWindow, generation: int = 1) -> str:
    """Returns the key of a window's manifest."""
    return WindowKeys(window, window.start.date()).manifest(generation)


HERE, ELSEWHERE = "s3://here/audit", "s3://elsewhere/audit"
LOADED, OTHER = "0" * 64, "f" * 64


def entry(window: TimeWindow, generation: int = 1, first_sha256: str | None = LOADED) -> LedgerEntry:
    """Returns an entry of the load ledger."""
    return LedgerEntry(window, generation, generation, LOADED, first_sha256, 3, HERE)


def plan(
    keys: Sequence[str],
    ledger: Sequence[LedgerEntry],
    requested: Sequence[TimeWindow] | None = None,
    *,
    is_exact: bool = False,
) -> LoadPlan:
    """Returns the plan for a destination whose manifests all have the digest of what is loaded."""
    return plan_loads(
        CommittedWindows(HERE, tuple(keys), dict.fromkeys(keys, LOADED)), ledger, requested, is_exact=is_exact
    )


def test_with_an_empty_ledger_every_window_is_pending() -> None:
    """With an empty ledger the newest generation of every window is pending, oldest window first."""
    planned = plan([key(day(1)), key(day(0)), key(day(0), 2), "dt=2026-10-26/part.jsonl"], [])
    loads = (PlannedLoad(day(0), key(day(0), 2), 2), PlannedLoad(day(1), key(day(1)), 1))
    assert planned == LoadPlan(loads, unchanged_count=0)


def test_only_newer_generations_are_pending() -> None:
    """A window is pending only if it has a newer generation than the ledger."""
    ledger = [entry(day(0)), entry(day(1))]
    planned = plan([key(day(0)), key(day(1)), key(day(1), 2)], ledger)
    assert planned == LoadPlan((PlannedLoad(day(1), key(day(1), 2), 2, ledger[1]),), unchanged_count=1)


def test_requested_windows_alone_are_planned() -> None:
    """Only windows that overlap a requested, half-open window are planned."""
    keys = [key(day(number)) for number in range(4)]
    requested = [TimeWindow(day(1).start + timedelta(hours=1), day(2).end)]
    assert [load.window for load in plan(keys, [], requested).loads] == [day(1), day(2)]


def test_claim_is_the_next_load_of_its_window() -> None:
    """A load claims the load number after the ledger's, and records digest, first digest and destination."""
    committed = CommittedManifest(manifest(record_count=7), "", OTHER)
    first = PlannedLoad(day(0), key(day(0), 4), 4).claim("d", HERE, committed, "1" * 64)
    assert first == LoadClaim("d", LedgerEntry(day(0), 1, 4, OTHER, "1" * 64, 7, HERE))
    later = PlannedLoad(day(0), key(day(0), 5), 5, first.entry).claim("d", HERE, committed, "1" * 64)
    assert (later.entry.load_number, later.entry.generation, later.window) == (2, 5, day(0))


def test_claim_lists_the_histories_it_replaces() -> None:
    """A load of another history lists the replaced ones by their first digest; a newer generation adds none."""
    committed = CommittedManifest(manifest(record_count=7), "", OTHER)
    superseded = []
    replaced = None
    for first_sha256 in ("1", "1", "2", "3", None):
        claim = PlannedLoad(day(0), key(day(0)), 1, replaced).claim("d", HERE, committed, first_sha256)
        replaced = claim.entry
        superseded.append(sorted(replaced.superseded))
    assert superseded == [[], [], ["1"], ["1", "2"], ["1", "2", "3"]]


def test_loaded_and_first_manifests_are_compared() -> None:
    """Only manifests that are listed are compared: the loaded generation and the first of each requested window."""
    keys = [key(day(0)), key(day(0), 2), key(day(0), 3), key(day(1)), key(day(3))]
    ledger = [entry(day(0), 2), entry(day(1), 4), entry(day(2)), entry(day(3))]
    assert keys_to_compare(keys, ledger) == [key(day(0)), key(day(0), 2), key(day(1)), key(day(3))]
    assert keys_to_compare(keys, ledger, [day(3)]) == [key(day(3))]
    assert keys_to_compare(keys, []) == []


@pytest.mark.parametrize("generations", [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (2, 4)])
def test_window_landed_anew_is_loaded_again(generations: tuple[int, int]) -> None:
    """Another manifest at the same destination replaces the loaded one, with more or fewer generations than that."""
    loaded, newest = generations
    keys = tuple(key(day(0), number + 1) for number in range(newest))
    ledger = [entry(day(0), loaded), entry(day(1))]
    state = CommittedWindows(HERE, (*keys, key(day(1))), {**dict.fromkeys(keys, OTHER), key(day(1)): LOADED})
    assert plan_loads(state, ledger) == LoadPlan((PlannedLoad(day(0), keys[-1], newest, ledger[0]),), unchanged_count=1)


@pytest.mark.parametrize("digest", [OTHER, None])
def test_window_with_a_changed_loaded_generation_is_loaded_again(digest: str | None) -> None:
    """A loaded generation that is another manifest now, or is gone below a newer one, is replaced by the newest."""
    keys = tuple(key(day(0), number) for number in (1, 2, 3))
    digests = {keys[0]: LOADED, keys[1]: digest, keys[2]: OTHER}
    state = CommittedWindows(HERE, keys, {name: sha256 for name, sha256 in digests.items() if sha256})
    assert [load.generation for load in plan_loads(state, [entry(day(0), 2)]).loads] == [3]


@pytest.mark.parametrize("generations", [(1, 1), (2, 1), (1, 2), (1, 0), (3, 3)])
@pytest.mark.parametrize("digest", [OTHER, None])
def test_other_destination_under_one_dataset_fails(generations: tuple[int, int], digest: str | None) -> None:
    """A window whose loaded manifest is at another destination only is an error."""
    loaded, newest = generations
    keys = tuple(key(day(0), number + 1) for number in range(newest))
    state = CommittedWindows(ELSEWHERE, (*keys, key(day(1))), dict.fromkeys(keys, digest or LOADED) if digest else {})
    with pytest.raises(ConfigurationError, match=f"{HERE}.*{ELSEWHERE}.*dataset name of its own"):
        plan_loads(state, [entry(day(0), loaded)])


def test_destination_that_was_moved_stays_loaded() -> None:
    """A destination with another URI and the same manifests is unchanged, and its newer generations are loaded."""
    keys = (key(day(0)), key(day(1)), key(day(1), 2))
    state = CommittedWindows(ELSEWHERE, keys, dict.fromkeys(keys, LOADED))
    planned = plan_loads(state, [entry(day(0)), entry(day(1))])
    assert ([load.window for load in planned.loads], planned.unchanged_count) == ([day(1)], 1)


def test_replaced_history_that_comes_back_fails() -> None:
    """A history that the ledger lists as replaced is an error, because two stores with one URI would take turns."""
    ledger = [entry(day(0))._replace(superseded=frozenset({OTHER}))]
    with pytest.raises(ConfigurationError, match="at s3://here/audit were loaded before"):
        plan_loads(CommittedWindows(HERE, (key(day(0)),), {key(day(0)): OTHER}), ledger)


@pytest.mark.parametrize(("committed", "loaded"), [([], 1), ([1], 2)])
def test_ledger_ahead_of_the_destination_is_an_error(committed: list[int], loaded: int) -> None:
    """A generation that is loaded but no longer committed is an error of its window; the other windows are planned."""
    keys = [key(day(0), generation) for generation in committed]
    (error,) = plan(keys, [entry(day(0), loaded)]).errors
    assert f"Generation {loaded} of {day(0)} is loaded" in str(error)
    planned = plan([*keys, key(day(1))], [entry(day(0), loaded)])
    assert ([load.window for load in planned.loads], len(planned.errors)) == ([day(1)], 1)


@pytest.mark.parametrize("is_loaded", [True, False])
def test_overlapping_windows_fail(is_loaded: bool) -> None:
    """Overlapping windows are an error, whether the other one is loaded or only committed."""
    week = day(0, 7 * DAY)
    ledger = [entry(week)] if is_loaded else []
    with pytest.raises(VerificationError, match="overlap"):
        plan([key(week), key(day(3))], ledger)


def test_overlap_outside_the_request_is_ignored() -> None:
    """Windows that overlap outside of the request do not stop the load."""
    keys = [key(day(0, 7 * DAY)), key(day(3)), key(day(9))]
    assert [load.window for load in plan(keys, [], [day(9)]).loads] == [day(9)]


@pytest.mark.parametrize("requested", [None, (day(5),)])
def test_load_without_committed_windows_fails(requested: tuple[TimeWindow, ...] | None) -> None:
    """A load that finds nothing committed fails with a retryable error; one that finds all loaded succeeds."""
    with pytest.raises(NotCommittedError) as caught:
        check_nothing_missing(plan([], [], requested), requested)
    assert caught.value.retryable
    check_nothing_missing(plan([key(day(5))], [entry(day(5))], requested), requested)


@pytest.mark.parametrize("missing_hour", [0, 7, 23])
def test_gap_in_a_requested_window_fails(missing_hour: int) -> None:
    """A day with one hour that is not committed fails and names that hour; the other hours are planned."""
    hours = [TimeWindow(FIRST_AT + n * HOUR, FIRST_AT + (n + 1) * HOUR) for n in range(24)]
    keys = [key(hour) for number, hour in enumerate(hours) if number != missing_hour]
    planned = plan(keys, [], (day(0),))
    assert (len(planned.loads), planned.missing) == (23, (hours[missing_hour],))
    with pytest.raises(NotCommittedError, match=re.escape(str(hours[missing_hour]))):
        check_nothing_missing(planned, (day(0),))
    check_nothing_missing(plan([*keys, key(hours[missing_hour])], [], (day(0),)), (day(0),))


def test_request_inside_a_committed_window_is_complete() -> None:
    """A requested range inside a larger committed window is complete."""
    requested = (TimeWindow(FIRST_AT + HOUR, FIRST_AT + 2 * HOUR),)
    check_nothing_missing(plan([key(day(0))], [], requested), requested)


@pytest.mark.parametrize("committed", [[], [day(1)], [day(0), day(1, HOUR)], [day(0), day(1, 2 * DAY)]])
def test_exact_windows_must_be_committed_as_such(committed: list[TimeWindow]) -> None:
    """With ``is_exact`` each requested window must be committed as such, neither shorter nor longer."""
    requested = (day(0), day(1))
    planned = plan([key(window) for window in committed], [], requested, is_exact=True)
    assert planned.missing == tuple(window for window in requested if window not in committed)
    with pytest.raises(NotCommittedError):
        check_nothing_missing(planned, requested)
    check_nothing_missing(plan([key(day(0)), key(day(1))], [], requested, is_exact=True), requested)


def test_windows_of_events_are_read() -> None:
    """The windows of asset events are returned once each, in order."""
    extras = [
        {"window_start": day(number).start.isoformat(), "window_end": day(number).end.isoformat()}
        for number in (1, 0, 1)
    ]
    assert event_windows(extras) == (day(0), day(1))


@pytest.mark.parametrize(
    "extras",
    [
        [],
        [{}],
        [{"window_start": "2026-10-26T00:00:00+00:00", "window_end": None}],
        [{"window_start": "yesterday", "window_end": "2026-10-27T00:00:00+00:00"}],
    ],
)
def test_events_without_windows_fail(extras: list[dict[str, str]]) -> None:
    """No event, or an event without a window, is an error that names the alternative."""
    with pytest.raises(ConfigurationError, match="pending"):
        event_windows(extras)


PART = Part("part-0", 1, "0" * 64, 3, day(0).start_ns, day(0).end_ns - 1)


@pytest.mark.parametrize("found_count", [2, 4])
def test_counts_that_differ_from_the_manifest_fail(found_count: int) -> None:
    """A part or a table with another number of records than the manifest is an error."""
    claim = LoadClaim("d", entry(day(0)))
    check_part_record_count(PART, 3)
    check_row_count(claim, 3)
    with pytest.raises(VerificationError, match="part-0 holds"):
        check_part_record_count(PART, found_count)
    with pytest.raises(VerificationError, match="The table has"):
        check_row_count(claim, found_count)


@pytest.mark.parametrize("stray_ns", [day(0).start_ns - 1, day(0).end_ns])
def test_records_outside_the_window_fail(stray_ns: int) -> None:
    """The first and last nanosecond of a window are inside; a record just before or after is an error."""
    inside = [AuditRecord(event_ns, "r", b"{}") for event_ns in (day(0).start_ns, day(0).end_ns - 1)]
    check_records_in_window(PART, day(0), inside)
    with pytest.raises(VerificationError, match="outside"):
        check_records_in_window(PART, day(0), [*inside, AuditRecord(stray_ns, "s", b"{}")])
