"""One crowded second, with any misbehaviour: every record lands, or a named error; never a silent gap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations

import pytest

from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import SourceProtocolError, VerificationError
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.settings import CursorEnd, CursorPlace
from tests.pipelines.pull.counted_records import crowded_instant, spaced
from tests.pipelines.pull.landing import START, fake_with, land, landed_ids, pull_spec, reader_of, record_at, true_ids
from tests.pipelines.verify.memory_store import MemoryStore

TWO_HOURS = {"start": START, "end": START + timedelta(hours=2), "concurrency": 1}
ORDERS = ["tie_order=id", "tie_order=random", "tie_order=reversed", "sort_by_second"]
CUTS = ["page_ceiling=100", "page_ceiling=37", "page_ceiling_asked_offset=100", "fewer_than_asked"]
CUTS += ["fewer_than_asked=random", "repeated_row"]
EDGES = ["since_edge=exclusive", "before_edge=exclusive", "grain=us", "expiring_edge=60"]
DEPTHS = ["depth_cap=100", "depth_cap=37", "past_end_is_400"]
CURSORS = ["cursor_expires=1", "repeated_cursor", "missing_cursor", "missing_result_info", "empty_page"]
BY_VERSION = {"v1": [*ORDERS, *CUTS, *EDGES, *DEPTHS], "v2": [*ORDERS, *CUTS, *EDGES, *CURSORS]}


def _kind(switch: str) -> str:
    kind = switch.partition("=")[0]
    return "page_ceiling" if kind.startswith("page_ceiling") else kind


def _groups(version: str, size: int) -> Iterator[tuple[str, ...]]:
    """Yields every set of this many misbehaviours of different kinds."""
    for switches in combinations(BY_VERSION[version], size):
        if len({_kind(switch) for switch in switches}) == size:
            yield switches


def _lands_or_fails(version: str, switches: tuple[str, ...], count: int, *, recount: bool, alone: bool) -> bool:
    """Lands a second of this many records; asserts that nothing is lost silently; returns whether it landed."""
    clock, store = ManualClock(), MemoryStore()
    fake = fake_with(clock, *switches, records_per_day=0 if alone else 200)
    for number in range(count):
        fake.add(record_at(f"2026-10-26T01:00:00.{number:06}Z", f"crowd-{number:04}", version), version)
    spec = pull_spec(version, verify="recount" if recount else None, **TWO_HOURS)
    try:
        land(spec, reader_of(fake, clock), store)
    except (SourceProtocolError, VerificationError):
        assert not list(store.list_keys("dt=")), switches
        return False
    assert landed_ids(spec, store) == true_ids(fake, version, START, START + timedelta(hours=2)), switches
    return True


@pytest.mark.parametrize("recount", [False, True])
@pytest.mark.parametrize(
    ("version", "switches"),
    [
        ("v2", ("page_ceiling=100", "missing_result_info", "sort_by_second")),
        ("v2", ("page_ceiling=37", "missing_result_info", "tie_order=id")),
        ("v2", ("page_ceiling=100", "missing_cursor", "tie_order=id")),
        ("v1", ("page_ceiling=100", "depth_cap=100", "sort_by_second")),
        ("v1", ("page_ceiling=37", "depth_cap=37", "tie_order=id")),
    ],
)
def test_page_ceiling_within_one_second_is_detected(version: str, switches: tuple[str, ...], recount: bool) -> None:
    """A server that hides rows beyond its page ceiling in both directions is detected."""
    assert not _lands_or_fails(version, switches, 150, recount=recount, alone=True)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("count", [1, 2, 37, 100, 150, 999])
@pytest.mark.parametrize("ties", ["tie_order=stable", "sort_by_second"])
def test_one_second_of_a_plain_server_lands(version: str, count: int, ties: str) -> None:
    """A window whose records share one second lands, unless a truncated response would look the same."""
    landed = _lands_or_fails(version, (ties,), count, recount=False, alone=True)
    assert landed == (version == "v1" or count <= 100 or ties == "tie_order=stable")


@pytest.mark.integration
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("switches", [("fewer_than_asked=random",), ("page_ceiling=37",), ("page_ceiling=100",)])
def test_short_pages_without_cursors_lose_nothing(version: str, switches: tuple[str, ...]) -> None:
    """An ordinary day is read completely from a server that returns short pages and no cursors."""
    for lost in ("missing_cursor", "missing_result_info"):
        clock, store = ManualClock(), MemoryStore()
        fake = fake_with(clock, *switches, lost)
        land(pull_spec(version), reader_of(fake, clock), store)
        assert landed_ids(pull_spec(version), store) == true_ids(fake, version)


@pytest.mark.nightly
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("first", range(4))
def test_every_pair_of_misbehaviours_in_one_second_lands_or_fails(version: str, first: int) -> None:
    """With every pair of misbehaviours all records land or a named error is raised, with and without a recount."""
    pairs = list(_groups(version, 2))[first::4]
    landed = [
        _lands_or_fails(version, switches, 150, recount=number % 2 == 0, alone=alone)
        for number, switches in enumerate(pairs)
        for alone in (True, False)
    ]
    assert len(landed) > 60
    # Most pairs can be read, so a pull that always fails does not pass this test.
    assert sum(landed) > len(landed) * 0.6


@pytest.mark.integration
@pytest.mark.parametrize("place", list(CursorPlace))
@pytest.mark.parametrize("end", list(CursorEnd))
def test_cursor_in_either_place_is_followed(place: CursorPlace, end: CursorEnd) -> None:
    """An instant of several pages lands, wherever the cursor is and whatever marks the end."""
    clock, store = ManualClock(), MemoryStore()
    fake = spaced(0, 2500, "v2", clock=clock, cursor_place=place, cursor_end=end)
    land(pull_spec("v2"), reader_of(fake, clock), store)
    assert landed_ids(pull_spec("v2"), store) == true_ids(fake, "v2")


@pytest.mark.integration
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("alone", [True, False])
def test_five_thousand_records_in_one_instant_land(version: str, alone: bool, concurrency: int) -> None:
    """An instant of five full pages lands completely, alone in its day or among other records."""
    clock, store = ManualClock(), MemoryStore()
    fake = spaced(0, 5000, version, clock=clock) if alone else crowded_instant(version, 5000, clock=clock)
    spec = pull_spec(version, concurrency=concurrency)
    land(spec, reader_of(fake, clock), store)
    landed = landed_ids(spec, store)
    assert len(landed) == 5000 + (0 if alone else 200)
    assert landed == true_ids(fake, version)


def _store_of_two(first_when: str, second_when: str, concurrency: int) -> Store:
    """Lands a day with two records of one id."""
    clock, store = ManualClock(), MemoryStore()
    fake = fake_with(clock, records_per_day=8000, requests_per_window=None)
    for when in (first_when, second_when):
        fake.add(record_at(when, "twice"))
    land(pull_spec(concurrency=concurrency), reader_of(fake, clock), store)
    return store


@pytest.mark.integration
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("second_when", ["2026-10-26T01:00:09Z", "2026-10-26T22:00:00Z"])
def test_pull_with_one_id_at_two_times_fails(second_when: str, concurrency: int) -> None:
    """Two records with one id fail the pull before anything is visible, in one page or in two slices."""
    with pytest.raises(SourceProtocolError, match="id") as caught:
        _store_of_two("2026-10-26T01:00:00Z", second_when, concurrency)
    assert caught.value.window is not None
    assert caught.value.position is not None
