"""Duplicate record ids: found in bounded memory, within a window and against committed records."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.archive.unique_ids import DuplicateGuard, IdHashSet
from airflow_audit_provider.exceptions import SourceProtocolError


class Memory:
    """Spill file in memory; ``content`` has all spilled bytes."""

    def __init__(self) -> None:
        self.content = b""

    def append(self, content: bytes) -> int:
        """Appends bytes; returns their offset."""
        self.content += content
        return len(self.content) - len(content)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Returns the bytes at an offset."""
        return self.content[offset : offset + size_bytes]


@pytest.mark.parametrize("id_count", [1, 20_000, 65_535, 65_536, 140_000])
def test_repeated_id_is_counted(id_count: int) -> None:
    """An id added twice is counted, however many ids are between, in memory or spilled."""
    ids = [f"id-{number}" for number in range(id_count)]
    for twice in (0, id_count - 1):
        ids_seen = IdHashSet(Memory())
        for start in range(0, id_count, 1000):
            ids_seen.add(ids[start : start + 1000])
        assert ids_seen.repeated_count() == 0
        ids_seen.add([ids[twice]])
        assert ids_seen.repeated_count() == 1


@pytest.mark.parametrize("memory_count", [1, 10, 65_536])
def test_shared_ids_of_two_sets_are_counted(memory_count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id in both sets counts once, however often it is in either, in memory or spilled."""
    monkeypatch.setattr("airflow_audit_provider.core.archive.unique_ids._MEMORY_COUNT", memory_count)
    spill_file = Memory()
    one, other, empty = IdHashSet(spill_file), IdHashSet(spill_file), IdHashSet(spill_file)
    for number in range(30):
        one.add([f"id-{number}"])
    for number in range(25, 60):
        other.add([f"id-{number}", f"id-{number}"])
    assert (one.shared_count(other), other.shared_count(one)) == (5, 5)
    assert (one.shared_count(empty), empty.shared_count(other)) == (0, 0)


def test_duplicate_guard_rejects_repeated_and_committed_ids() -> None:
    """An id read twice, or committed with another time, is an error; one committed twice is not."""
    guard = DuplicateGuard(Memory())
    guard.add(["a", "b", "new"])
    guard.add_missing(["gone", "gone", "a"])
    guard.check_conflicts(["new"], "[a, b)")
    assert guard.moved_count() == 1
    with pytest.raises(SourceProtocolError, match=r"committed with another time.*replace=True") as caught:
        guard.check_conflicts(["new", "a"], "[a, b)")
    assert (caught.value.window, caught.value.position) == ("[a, b)", "all slices together")
    guard.add(["b"])
    with pytest.raises(SourceProtocolError, match="returned 1 record with the same id as another") as caught:
        guard.check_conflicts([], "[a, b)")
    assert (caught.value.window, caught.value.position) == ("[a, b)", "all slices together")


@pytest.mark.integration
def test_ids_in_memory_are_bounded() -> None:
    """At most half a megabyte of ids is in memory; all further ids are spilled once."""
    spill_file = Memory()
    ids_seen = IdHashSet(spill_file)
    ids_seen.add(f"id-{number}" for number in range(65_535))
    assert not spill_file.content
    for start in range(65_535, 265_535, 1000):
        ids_seen.add(f"id-{number}" for number in range(start, start + 1000))
    spilled_count = len(spill_file.content) // 8
    assert 200_000 <= spilled_count <= 265_535
    assert len(set(memoryview(spill_file.content).cast("q"))) == spilled_count
    assert ids_seen.repeated_count() == 0


def test_two_sets_share_one_spill_file() -> None:
    """Ids that another set has spilled to the same file do not count."""
    spill_file = Memory()
    abandoned, ids_seen = IdHashSet(spill_file), IdHashSet(spill_file)
    for each in (abandoned, ids_seen):
        each.add(f"id-{number}" for number in range(100_000))
        each.add(["late"])
    assert (abandoned.repeated_count(), ids_seen.repeated_count()) == (0, 0)
    ids_seen.add(["late", "id-3"])
    assert ids_seen.repeated_count() == 2
