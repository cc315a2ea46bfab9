"""Object keys: the same part of the same window always has the same key."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.archive.object_keys import (
    WindowKeys,
    announced_window,
    misplaced_manifests,
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


def test_keys_have_the_documented_layout() -> None:
    """The keys are exactly these texts, on which readers of the destination depend."""
    assert KEYS.partition == f"dt=2026-11-01/window={NAME}/"
    assert KEYS.manifest_prefix == "_manifests/dt=2026-11-01/"
    assert KEYS.manifest(1) == f"_manifests/dt=2026-11-01/{NAME}.g0001.json"
    assert KEYS.manifest(12345) == f"_manifests/dt=2026-11-01/{NAME}.g12345.json"
    assert KEYS.staging("try-1") == f"_staging/{NAME}/try-1/"
    part = KEYS.part(2, 7, "3f2a" * 16, "jsonl.gz")
    assert part == f"dt=2026-11-01/window={NAME}/part-0002-00007-3f2a3f2a3f2a3f2a.jsonl.gz"


def test_partition_date_is_local_and_window_name_is_utc() -> None:
    """A day in Berlin is in the partition of its own date, and its window is named in UTC."""
    window = TimeWindow(datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC))
    keys = WindowKeys(window, date(2026, 10, 25))
    assert keys.partition == "dt=2026-10-25/window=20261024T220000Z-20261025T230000Z/"


def test_window_name_has_a_fraction_only_if_needed() -> None:
    """Windows that differ by a microsecond have different names."""
    window = TimeWindow(_DAY.start + timedelta(microseconds=5), _DAY.end)
    assert WindowKeys(window, date(2026, 11, 1)).name == "20261101T000000.000005Z-20261102T000000Z"


@pytest.mark.parametrize("generation", [1, 9999, 10000])
def test_a_generation_is_read_back_from_its_key(generation: int) -> None:
    """``generation_of`` reads the key that ``manifest`` returns."""
    assert KEYS.generation_of(KEYS.manifest(generation)) == generation


@pytest.mark.parametrize(
    "key",
    [
        "", "x", f"_manifests/dt=2026-11-01/{NAME}.json", f"_manifests/dt=2026-11-01/{NAME}.g1.json",
        f"_manifests/dt=2026-11-01/{NAME}.g00001.json", f"_manifests/dt=2026-11-01/{NAME}.g0001.json.tmp",
        f"_manifests/dt=2026-11-02/{NAME}.g0001.json", f"_manifests/dt=2026-11-01/X{NAME}.g0001.json",
        "_manifests/dt=2026-11-01/20261101T000000Z-20261101T060000Z.g0001.json", f"{NAME}.g0001.json",
        f"_manifests/dt=2026-11-01/{NAME}.g{'9' * 5000}.json", f"_manifests/dt=2026-11-01/{NAME}.g٠٠٠١.json",
    ],
)  # fmt: skip
def test_another_key_has_no_generation(key: str) -> None:
    """The key of another window's manifest, or one that only resembles it, has no generation."""
    assert KEYS.generation_of(key) is None


_INSTANTS = st.integers(946_684_800, 4_102_444_800).map(from_seconds)


@examples(60)
@given(starts=st.tuples(_INSTANTS, _INSTANTS), seconds=st.tuples(*[st.integers(1, 10**6)] * 2))
def test_different_windows_never_share_a_name(starts: tuple[datetime, datetime], seconds: tuple[int, int]) -> None:
    """Names are equal exactly if windows are equal."""
    first, second = (
        TimeWindow(start, start + timedelta(seconds=length)) for start, length in zip(starts, seconds, strict=True)
    )
    day = date(2026, 1, 1)
    assert (WindowKeys(first, day).name == WindowKeys(second, day).name) is (first == second)


@pytest.mark.parametrize("generation", [1, 2, 10000])
def test_generation_of_a_part_is_read_from_its_key(generation: int) -> None:
    """``part_generation`` reads the key that ``part`` returns."""
    assert KEYS.part_generation(KEYS.part(generation, 123456, "ab" * 32, "csv.gz")) == generation


@pytest.mark.parametrize(
    "key",
    [
        "", "part-0001-00000-3f2a3f2a3f2a3f2a.jsonl", f"dt=2026-11-01/window={NAME}/notes.txt",
        f"dt=2026-11-01/window={NAME}/sub/part-0001-00000-3f2a3f2a3f2a3f2a.jsonl",
        f"dt=2026-11-02/window={NAME}/part-0001-00000-3f2a3f2a3f2a3f2a.jsonl",
        f"dt=2026-11-01/window={NAME}/part-0001-00000-3f2a.jsonl",
        f"dt=2026-11-01/window={NAME}/part-0001-00000-3f2a3f2a3f2a3f2a.x/../../../beside.jsonl",
        f"dt=2026-11-01/window={NAME}/part-0001-00000-3f2a3f2a3f2a3f2a.x\\..\\beside.jsonl",
        f"dt=2026-11-01/window={NAME}/part-0001-00000-3f2a3f2a3f2a3f2a.jsonl?x#y",
        f"dt=2026-11-01/window={NAME}/part-0001-00000-3f2a3f2a3f2a3f2a.jsonl\n",
        f"dt=2026-11-01/window={NAME}/part-0001-00000-3f2a3f2a3f2a3f2a..",
        f"dt=2026-11-01/window={NAME}/part-٠٠٠١-00000-3f2a3f2a3f2a3f2a.jsonl",
        f"dt=2026-11-01/window={NAME}/part-{'9' * 5000}-00000-3f2a3f2a3f2a3f2a.jsonl",
    ],
)  # fmt: skip
def test_key_of_no_part_of_this_window_has_no_generation(key: str) -> None:
    """Other objects and parts of other windows have no generation."""
    assert KEYS.part_generation(key) is None


_BOUNDS = (
    *("20261101T000000Z", "20261101T000000.500000Z", "20261101T000000.000000Z", "20261101T235959Z", "20261101T240000Z"),
    *("20261101T006000Z", "20261101T000060Z", "20261102T000000Z", "20261102T120000Z", "20261103T000000Z"),
    *("20261031T000000Z", "20261131T000000Z", "2026110T1000000Z", "٢٠٢٦1101T000000Z"),
)


@pytest.mark.parametrize("folder", ["_manifests/dt=2026-11-01/", "_manifests/dt=2026-11-02/", "dt=2026-11-01/"])
@pytest.mark.parametrize("ending", [".g0001.json", ".g0000.json", ".g12345.json", ".g01234.json", ".json"])
def test_manifest_is_misplaced_unless_its_key_is_read_as_one_of_the_day(folder: str, ending: str) -> None:
    """Recognizing a key by its text and parsing it agree for every pair of bounds."""
    keys = [f"{folder}{start}-{end}{ending}" for start in _BOUNDS for end in _BOUNDS]
    for day in (date(2026, 11, 1), date(2026, 11, 2)):
        parsed = {key: read_manifest_key(key) for key in keys}
        expected = [key for key, found in parsed.items() if found is None or found.day != day]
        assert list(misplaced_manifests(keys, day)) == expected


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
def test_window_and_generation_are_read_from_a_manifest_key(key: str, generation: int | None) -> None:
    """Exactly the keys that windows give are read."""
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
def test_number_is_read_from_a_seal_key(key: str, number: int | None) -> None:
    """Numbers have at least six digits, start from 1 and have one spelling."""
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
def test_gap_in_numbers_is_one_span(numbers: list[int], gaps: list[tuple[int, int]]) -> None:
    """A gap is one pair, however long it is."""
    assert list(missing_numbers(numbers)) == gaps


def test_newest_manifest_of_each_window_is_found() -> None:
    """Generations are compared as numbers, in any order of the keys; other keys are left out."""
    other = WindowKeys(TimeWindow(_DAY.end, _DAY.end + timedelta(days=1)), date(2026, 11, 2))
    keys = [KEYS.manifest(10000), KEYS.manifest(9999), other.manifest(1), other.manifest(2), "_manifests/notes.txt"]
    newest = {_DAY: KEYS.manifest(10000), other.window: other.manifest(2)}
    assert newest_manifests(keys) == newest_manifests(reversed(keys)) == newest


def test_neighbour_prefixes_start_with_the_day_before() -> None:
    """A day has two prefixes, a window of two days three, and a long window at most 63."""
    assert KEYS.neighbour_prefixes == ["_manifests/dt=2026-10-31/", "_manifests/dt=2026-11-01/"]
    longer = WindowKeys(TimeWindow(_DAY.start, _DAY.end + timedelta(hours=1)), KEYS.partition_date)
    assert longer.neighbour_prefixes[-1] == "_manifests/dt=2026-11-02/"
    longest = WindowKeys(TimeWindow(_DAY.start, _DAY.end + timedelta(days=400)), KEYS.partition_date)
    assert len(longest.neighbour_prefixes) == 63
    assert longest.has_distant_neighbours
    assert not longer.has_distant_neighbours


@pytest.mark.parametrize(("days", "is_covered"), [(62, True), (63, False)])
def test_neighbour_folders_cover_sixty_two_days(days: int, is_covered: bool) -> None:
    """A window whose last day has a folder among its neighbours has no distant ones."""
    keys = WindowKeys(TimeWindow(_DAY.start, _DAY.start + timedelta(days=days)), KEYS.partition_date)
    last_day = f"_manifests/dt={(keys.window.end - timedelta(days=1)).date()}/"
    assert (last_day in keys.neighbour_prefixes, keys.has_distant_neighbours) == (is_covered, not is_covered)


def test_only_a_window_of_more_than_a_day_is_announced() -> None:
    """Its key names the window; no other key is an announcement."""
    longer = TimeWindow(_DAY.start, _DAY.end + timedelta(microseconds=1))
    key = WindowKeys(longer, KEYS.partition_date).announcement
    assert KEYS.announcement is None
    assert key == "_long_windows/20261101T000000Z-20261102T000000.000001Z.json"
    assert announced_window(key) == longer
    for other in (key + "x", "x/" + key, KEYS.manifest(1), f"_long_windows/{KEYS.name}.json", "_long_windows/x.json"):
        assert announced_window(other) is None


def test_time_of_an_unfinished_object_is_read_from_its_key() -> None:
    """The second in which its writing began is read from its key, and from no other key."""
    began_at = datetime(2026, 11, 1, 2, 3, 4, 5, tzinfo=UTC)
    key = unfinished_key(began_at, "abc")
    assert key == "_staging/unfinished/20261101T020304Z-abc"
    assert unfinished_since(key) == began_at.replace(microsecond=0)
    assert unfinished_since("_staging/unfinished/20261399T020304Z-abc") is None
    assert unfinished_since("_staging/other/20261101T020304Z-abc") is None
