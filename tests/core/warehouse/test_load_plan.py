"""The decisions of loading: what is pending, what is claimed, what is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.warehouse.load_plan import (
    LoadPlan,
    PlannedLoad,
    check_manifest_placement,
    check_nothing_missing,
    check_part_record_count,
    check_records_in_window,
    check_row_count,
    event_windows,
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
    """Return a window that starts so many days after the first."""
    return TimeWindow(FIRST_AT + number * DAY, FIRST_AT + number * DAY + length)


def key(window: TimeWindow, generation: int = 1) -> str:
    """Return the key of a manifest."""
    return WindowKeys(window, window.start.date()).manifest(generation)


def entry(window: TimeWindow, generation: int = 1) -> LedgerEntry:
    """Return a line of the ledger."""
    return LedgerEntry(window, generation, "0" * 64, 3)


def test_all_is_pending_at_first() -> None:
    """With an empty ledger every window's newest generation is to be loaded, oldest window first."""
    plan = plan_loads([key(day(1)), key(day(0)), key(day(0), 2), "dt=2026-10-26/part.jsonl"], [])
    assert plan == LoadPlan(
        (PlannedLoad(day(0), key(day(0), 2), 2, 0), PlannedLoad(day(1), key(day(1)), 1, 0)), unchanged_count=0
    )


def test_only_newer_generations_are_pending() -> None:
    """A window whose newest generation is in the ledger is left alone, one with a newer generation is replaced."""
    plan = plan_loads([key(day(0)), key(day(1)), key(day(1), 2)], [entry(day(0)), entry(day(1))])
    assert plan == LoadPlan((PlannedLoad(day(1), key(day(1), 2), 2, 1),), unchanged_count=1)


def test_asked_windows_alone_are_planned() -> None:
    """Only windows that share an instant with an asked one count, half-open."""
    keys = [key(day(number)) for number in range(4)]
    asked = [TimeWindow(day(1).start + timedelta(hours=1), day(2).end)]
    assert [load.window for load in plan_loads(keys, [], asked).loads] == [day(1), day(2)]


def test_claim_covers_what_it_jumps_over() -> None:
    """A load claims every generation after the loaded one, those it jumps over without a digest."""

    class _Manifest:
        record_count = 7

    planned = PlannedLoad(day(0), key(day(0), 4), 4, 1)
    claim = planned.claim("d", _Manifest(), "f" * 64)  # type: ignore[arg-type]  # only the count is looked at
    facts = [(one.generation, one.manifest_sha256, one.record_count) for one in claim.entries]
    assert facts == [(2, None, 0), (3, None, 0), (4, "f" * 64, 7)]
    assert (claim.newest.generation, claim.window) == (4, day(0))


@pytest.mark.parametrize(("committed", "loaded"), [([], 1), ([1], 2)])
def test_ledger_ahead_of_the_destination_is_refused(committed: list[int], loaded: int) -> None:
    """A generation that is loaded and no longer committed is refused."""
    with pytest.raises(VerificationError, match="is loaded"):
        plan_loads([key(day(0), generation) for generation in committed], [entry(day(0), loaded)])


@pytest.mark.parametrize("is_loaded", [True, False])
def test_overlapping_windows_are_refused(is_loaded: bool) -> None:
    """Windows that share records are refused, whether the other one is loaded or only committed."""
    week = day(0, 7 * DAY)
    ledger = [entry(week)] if is_loaded else []
    with pytest.raises(VerificationError, match="overlap"):
        plan_loads([key(week), key(day(3))], ledger)


def test_overlap_elsewhere_is_nobodys_business() -> None:
    """Windows that overlap outside of what is asked do not hold up the rest."""
    keys = [key(day(0, 7 * DAY)), key(day(3)), key(day(9))]
    assert [load.window for load in plan_loads(keys, [], [day(9)]).loads] == [day(9)]


@pytest.mark.parametrize("asked", [None, (day(5),)])
def test_nothing_committed_is_refused(asked: tuple[TimeWindow, ...] | None) -> None:
    """A load that finds nothing committed fails and may be tried again; one that finds all loaded does not."""
    with pytest.raises(NotCommittedError) as caught:
        check_nothing_missing(plan_loads([], [], asked), asked)
    assert caught.value.retryable
    check_nothing_missing(plan_loads([key(day(5))], [entry(day(5))], asked), asked)


@pytest.mark.parametrize("missing_hour", [0, 7, 23])
def test_gap_in_an_asked_window_is_refused(missing_hour: int) -> None:
    """A day of which one hour is not committed is refused by that hour's name; the other hours are still planned."""
    hours = [TimeWindow(FIRST_AT + n * HOUR, FIRST_AT + (n + 1) * HOUR) for n in range(24)]
    keys = [key(hour) for number, hour in enumerate(hours) if number != missing_hour]
    plan = plan_loads(keys, [], (day(0),))
    assert (len(plan.loads), plan.missing) == (23, (hours[missing_hour],))
    with pytest.raises(NotCommittedError, match=re.escape(str(hours[missing_hour]))):
        check_nothing_missing(plan, (day(0),))
    check_nothing_missing(plan_loads([*keys, key(hours[missing_hour])], [], (day(0),)), (day(0),))


def test_window_inside_a_committed_one_is_whole() -> None:
    """What is asked need not be a window itself: a committed one that reaches over it has all of it."""
    asked = (TimeWindow(FIRST_AT + HOUR, FIRST_AT + 2 * HOUR),)
    check_nothing_missing(plan_loads([key(day(0))], [], asked), asked)


@pytest.mark.parametrize("committed", [[], [day(1)], [day(0), day(1, HOUR)], [day(0), day(1, 2 * DAY)]])
def test_exact_windows_are_wanted_each(committed: list[TimeWindow]) -> None:
    """Of windows that events name each has to be committed as it is, neither shorter nor longer."""
    asked = (day(0), day(1))
    plan = plan_loads(map(key, committed), [], asked, is_exact=True)
    assert plan.missing == tuple(window for window in asked if window not in committed)
    with pytest.raises(NotCommittedError):
        check_nothing_missing(plan, asked)
    check_nothing_missing(plan_loads([key(day(0)), key(day(1))], [], asked, is_exact=True), asked)


def test_events_name_their_windows() -> None:
    """Windows of asset events are taken once each, in order."""
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
def test_events_without_windows_are_refused(extras: list[dict[str, str]]) -> None:
    """No event, or one that names no window, is an error that names the other way to load."""
    with pytest.raises(ConfigurationError, match="pending"):
        event_windows(extras)


PART = Part("part-0", 1, "0" * 64, 3, day(0).start_ns, day(0).end_ns - 1)


@pytest.mark.parametrize("found_count", [2, 4])
def test_other_counts_are_refused(found_count: int) -> None:
    """A part with fewer or more records than its manifest says is refused, and so is a table with other rows."""
    claim = LoadClaim("d", (entry(day(0)),))
    check_part_record_count(PART, 3)
    check_row_count(claim, 3)
    with pytest.raises(VerificationError, match="part-0 holds"):
        check_part_record_count(PART, found_count)
    with pytest.raises(VerificationError, match="The table has"):
        check_row_count(claim, found_count)


@pytest.mark.parametrize("stray_ns", [day(0).start_ns - 1, day(0).end_ns])
def test_records_outside_are_refused(stray_ns: int) -> None:
    """Records of the window's first and last nanosecond are in it, those just before and behind are not."""
    inside = [AuditRecord(event_ns, "r", b"{}") for event_ns in (day(0).start_ns, day(0).end_ns - 1)]
    check_records_in_window(PART, day(0), inside)
    with pytest.raises(VerificationError, match="outside"):
        check_records_in_window(PART, day(0), [*inside, AuditRecord(stray_ns, "s", b"{}")])


@pytest.mark.parametrize("changes", [{"generation": 2}, {"window": day(1)}])
def test_a_manifest_in_another_ones_place_is_refused(changes: dict[str, object]) -> None:
    """What a key says of window and generation, its manifest has to say too."""
    load = PlannedLoad(day(0), key(day(0)), 1, 0)
    said = {"window": day(0), "generation": 1}
    check_manifest_placement(load, manifest(**said))
    with pytest.raises(VerificationError, match="Restore it from a copy"):
        check_manifest_placement(load, manifest(**{**said, **changes}))
