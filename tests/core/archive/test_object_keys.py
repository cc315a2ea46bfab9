"""Keys: the same part of the same window always lies in the same place."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.archive.object_keys import (
    WindowKeys,
    missing_numbers,
    newest_manifests,
    read_manifest_key,
    seal_number,
    unfinished_key,
    unfinished_since,
)
from airflow_audit_provider.core.windows.window import TimeWindow, from_seconds
from tests.hypothesis_profiles import examples

_DAY = TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
KEYS = WindowKeys(_DAY, date(2026, 11, 1))
NAME = "20261101T000000Z-20261102T000000Z"


def test_the_layout_is_written_down_here() -> None:
    """Readers of the destination depend on these texts."""
    assert KEYS.partition == f"dt=2026-11-01/window={NAME}/"
    assert KEYS.manifest_prefix == "_manifests/dt=2026-11-01/"
    assert KEYS.manifest(1) == f"_manifests/dt=2026-11-01/{NAME}.g0001.json"
    assert KEYS.manifest(12345) == f"_manifests/dt=2026-11-01/{NAME}.g12345.json"
    assert KEYS.staging("try-1") == f"_staging/{NAME}/try-1/"
    part = KEYS.part(2, 7, "3f2a" * 16, "jsonl.gz")
    assert part == f"dt=2026-11-01/window={NAME}/part-0002-00007-3f2a3f2a3f2a3f2a.jsonl.gz"


def test_the_date_is_the_runs_and_the_window_is_utc() -> None:
    """A day in Berlin lies under its own date, while its window's name stays in UTC."""
    window = TimeWindow(datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC))
    keys = WindowKeys(window, date(2026, 10, 25))
    assert keys.partition == "dt=2026-10-25/window=20261024T220000Z-20261025T230000Z/"


def test_a_fraction_is_in_the_name_only_where_there_is_one() -> None:
    """Windows that differ by a microsecond have names that differ."""
    window = TimeWindow(_DAY.start + timedelta(microseconds=5), _DAY.end)
    assert WindowKeys(window, date(2026, 11, 1)).name == "20261101T000000.000005Z-20261102T000000Z"


@pytest.mark.parametrize("generation", [1, 9999, 10000])
def test_a_generation_is_read_back_from_its_key(generation: int) -> None:
    """What ``manifest`` writes, ``generation_of`` reads."""
    assert KEYS.generation_of(KEYS.manifest(generation)) == generation


@pytest.mark.parametrize(
    "key",
    [
        "", "x", f"_manifests/dt=2026-11-01/{NAME}.json", f"_manifests/dt=2026-11-01/{NAME}.g1.json",
        f"_manifests/dt=2026-11-01/{NAME}.g00001.json", f"_manifests/dt=2026-11-01/{NAME}.g0001.json.tmp",
        f"_manifests/dt=2026-11-02/{NAME}.g0001.json", f"_manifests/dt=2026-11-01/X{NAME}.g0001.json",
        "_manifests/dt=2026-11-01/20261101T000000Z-20261101T060000Z.g0001.json", f"{NAME}.g0001.json",
    ],
)  # fmt: skip
def test_another_key_has_no_generation(key: str) -> None:
    """A manifest of another window, or what only looks like one, is not this window's."""
    assert KEYS.generation_of(key) is None


_INSTANTS = st.integers(946_684_800, 4_102_444_800).map(from_seconds)


@examples(60)
@given(starts=st.tuples(_INSTANTS, _INSTANTS), seconds=st.tuples(*[st.integers(1, 10**6)] * 2))
def test_different_windows_never_share_a_name(starts: tuple[datetime, datetime], seconds: tuple[int, int]) -> None:
    """Names are equal exactly where windows are."""
    first, second = (
        TimeWindow(start, start + timedelta(seconds=length)) for start, length in zip(starts, seconds, strict=True)
    )
    day = date(2026, 1, 1)
    assert (WindowKeys(first, day).name == WindowKeys(second, day).name) is (first == second)


@pytest.mark.parametrize("generation", [1, 2, 10000])
def test_a_part_tells_the_generation_it_is_published_for(generation: int) -> None:
    """What ``part`` writes, ``part_generation`` reads."""
    assert KEYS.part_generation(KEYS.part(generation, 123456, "ab" * 32, "csv.gz")) == generation


@pytest.mark.parametrize(
    "key",
    [
        "", "part-0001-00000-3f2a3f2a3f2a3f2a.jsonl", f"dt=2026-11-01/window={NAME}/notes.txt",
        f"dt=2026-11-01/window={NAME}/sub/part-0001-00000-3f2a3f2a3f2a3f2a.jsonl",
        f"dt=2026-11-02/window={NAME}/part-0001-00000-3f2a3f2a3f2a3f2a.jsonl",
        f"dt=2026-11-01/window={NAME}/part-0001-00000-3f2a.jsonl",
    ],
)  # fmt: skip
def test_what_is_no_part_of_this_window_has_no_generation(key: str) -> None:
    """Other objects beside the parts, and parts of other windows, are not taken for parts of this one."""
    assert KEYS.part_generation(key) is None


@pytest.mark.parametrize(
    ("key", "generation"),
    [
        ("_manifests/dt=2026-11-01/20261101T000000Z-20261102T000000Z.g0001.json", 1),
        ("_manifests/dt=2026-11-01/20261101T000000Z-20261102T000000Z.g12345.json", 12345),
        ("_manifests/dt=2026-11-01/20261101T000000.000001Z-20261102T000000Z.g0001.json", 1),
        ("_manifests/dt=2026-11-01/20261101T000000Z-20261102T000000Z.g0000.json", None),
        ("_manifests/dt=2026-11-01/20261101T000000Z-20261102T000000Z.g1.json", None),
        ("_manifests/dt=2026-11-01/20261101T000000Z-20261102T000000Z.g00001.json", None),
        ("_manifests/dt=2026-11-02/20261101T000000Z-20261102T000000Z.g0001.json", None),
        ("_manifests/dt=2026-11-01/20261102T000000Z-20261101T000000Z.g0001.json", None),
        ("_manifests/dt=2026-11-01/20261131T000000Z-20261202T000000Z.g0001.json", None),
        ("x/_manifests/dt=2026-11-01/20261101T000000Z-20261102T000000Z.g0001.json", None),
        ("_manifests/dt=2026-11-01/20261101T000000Z-20261102T000000Z.g0001.json.bak", None),
        ("_manifests/dt=2026-11-01/notes.g0001.json", None),
        ("", None),
    ],
)
def test_a_manifests_key_says_its_window_and_generation(key: str, generation: int | None) -> None:
    """Exactly the keys that windows give are read, and nothing like them."""
    found = read_manifest_key(key)
    assert (found and found.generation) == generation
    if found is not None:
        assert WindowKeys(found.window, found.day).manifest(found.generation) == key


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("_seals/000001.json", 1),
        ("_seals/000001.sig", 1),
        ("_seals/1234567.json", 1234567),
        ("_seals/000000.json", None),
        ("_seals/0000001.json", None),
        ("_seals/1.json", None),
        ("_seals/000001.txt", None),
        ("x/_seals/000001.json", None),
        ("_seals/000001.json/x", None),
        ("", None),
    ],
)
def test_a_seals_key_says_its_number(key: str, number: int | None) -> None:
    """Numbers have six digits or more, count from 1 and are written one way."""
    assert seal_number(key) == number


@pytest.mark.parametrize(
    ("numbers", "gaps"),
    [
        ([], []),
        ([1], []),
        ([3, 1, 2], []),
        ([2], [(1, 1)]),
        ([1, 5, 7], [(2, 4), (6, 6)]),
        ([10**12], [(1, 10**12 - 1)]),
    ],
)
def test_gaps_in_numbers_are_told_as_spans(numbers: list[int], gaps: list[tuple[int, int]]) -> None:
    """However far a number is, a gap is one pair."""
    assert list(missing_numbers(numbers)) == gaps


def test_the_newest_manifest_of_each_window() -> None:
    """Generations count as numbers, in any order of the keys, and keys of anything else are left out."""
    other = WindowKeys(TimeWindow(_DAY.end, _DAY.end + timedelta(days=1)), date(2026, 11, 2))
    keys = [KEYS.manifest(10000), KEYS.manifest(9999), other.manifest(1), other.manifest(2), "_manifests/notes.txt"]
    newest = {_DAY: KEYS.manifest(10000), other.window: other.manifest(2)}
    assert newest_manifests(keys) == newest_manifests(reversed(keys)) == newest


def test_neighbours_are_looked_for_from_the_day_before_to_the_last() -> None:
    """A day has two folders to look through, a window of two days three, and a long one no more than 63."""
    assert KEYS.neighbour_prefixes == ["_manifests/dt=2026-10-31/", "_manifests/dt=2026-11-01/"]
    longer = WindowKeys(TimeWindow(_DAY.start, _DAY.end + timedelta(hours=1)), KEYS.partition_date)
    assert longer.neighbour_prefixes[-1] == "_manifests/dt=2026-11-02/"
    longest = WindowKeys(TimeWindow(_DAY.start, _DAY.end + timedelta(days=400)), KEYS.partition_date)
    assert len(longest.neighbour_prefixes) == 63


def test_an_unfinished_object_tells_since_when() -> None:
    """The second its writing began is read back from its key, and from no other key."""
    began_at = datetime(2026, 11, 1, 2, 3, 4, 5, tzinfo=UTC)
    key = unfinished_key(began_at, "abc")
    assert key == "_staging/unfinished/20261101T020304Z-abc"
    assert unfinished_since(key) == began_at.replace(microsecond=0)
    assert unfinished_since("_staging/unfinished/20261399T020304Z-abc") is None
    assert unfinished_since("_staging/other/20261101T020304Z-abc") is None
