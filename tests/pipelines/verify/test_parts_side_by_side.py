"""Parts that are read and checked side by side: the same findings in the same order, within a bound of bytes."""

from __future__ import annotations

import os
import threading
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest

from airflow_audit_provider.core.archive.object_keys import PARTITION_START
from airflow_audit_provider.core.verification.findings import Finding
from airflow_audit_provider.exceptions import StorageUnavailableError
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines import parts_side_by_side
from airflow_audit_provider.pipelines.parts_side_by_side import check_part_records
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.verify.dataset import commit, record, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

pytestmark = pytest.mark.integration

WINDOWS = 12
GZIP = part_format("jsonl", "gzip")


class MeetingStore(MemoryStore):
    """Each read of a part waits until so many reads of parts are under way."""

    def __init__(self, objects: dict[str, bytes], count: int, *, patience: float) -> None:
        super().__init__(objects)
        self.met = 0
        self._meeting = Barrier(count)
        self._patience = patience

    def read(self, key: str) -> bytes | None:
        """Returns an object; counts in ``met`` the parts whose read met the others."""
        if key.startswith(PARTITION_START):
            try:
                self._meeting.wait(self._patience)
                self.met += 1
            except BrokenBarrierError:
                pass
        return super().read(key)


def small_windows() -> dict[str, bytes]:
    """Returns the objects of windows with one small part each."""
    store = MemoryStore()
    for number in range(WINDOWS):
        commit(store, window(number), records_in(window(number), 3, f"{number}-"), format_=GZIP)
    return store.objects


def large_window() -> dict[str, bytes]:
    """Returns the objects of one window with several parts, whose records one digest covers."""
    store, of = MemoryStore(), window()
    step = of.length / 4000
    commit(store, of, [record(of.start + n * step, str(n), "x" * 1000) for n in range(4000)])
    return store.objects


def part_keys(objects: dict[str, bytes]) -> list[str]:
    """Returns the keys of parts."""
    return sorted(key for key in objects if key.startswith(PARTITION_START))


@pytest.mark.parametrize("objects", [small_windows(), large_window()], ids=["windows", "parts of a window"])
def test_parts_are_read_at_the_same_time(objects: dict[str, bytes]) -> None:
    """Reads of several parts wait for the store together."""
    store = MeetingStore(objects, 4, patience=30)
    assert verify(store).findings == ()
    assert store.met >= 4


def test_part_that_does_not_fit_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of all parts in memory are bounded."""
    objects = small_windows()
    most = max(len(objects[key]) for key in part_keys(objects))
    monkeypatch.setattr(parts_side_by_side, "MOST_BYTES", 2 * most)
    store = MeetingStore(objects, 3, patience=0.2)
    assert verify(store).findings == ()
    assert store.met == 0


def findings_one_by_one(objects: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> tuple[Finding, ...]:
    """Returns the findings if only one part is in memory at a time."""
    with monkeypatch.context() as patched:
        patched.setattr(parts_side_by_side, "MOST_BYTES", 1)
        return verify(MemoryStore(objects)).findings


def damage(objects: dict[str, bytes]) -> dict[str, bytes]:
    """Returns objects with a missing, a short and a changed part among every four."""
    damaged = dict(objects)
    for number, key in enumerate(part_keys(objects)):
        content = objects[key]
        changed = {1: None, 2: content[:-1], 3: content[:-9] + b"!" + content[-8:]}.get(number % 4, content)
        damaged |= {key: changed} if changed is not None else {}
        if changed is None:
            del damaged[key]
    return damaged


@pytest.mark.parametrize("objects", [small_windows(), large_window()], ids=["windows", "parts of a window"])
def test_findings_come_in_the_order_of_parts(objects: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged parts have the findings that they have one after the other."""
    damaged = damage(objects)
    found = verify(MemoryStore(damaged)).findings
    assert len({one.kind for one in found}) >= 3
    assert found == findings_one_by_one(damaged, monkeypatch)


class FailingStore(MemoryStore):
    """Does not return one part."""

    def __init__(self, objects: dict[str, bytes], failing: str) -> None:
        super().__init__(objects)
        self._failing = failing

    def read(self, key: str) -> bytes | None:
        """Returns an object, or raises."""
        if key == self._failing:
            raise StorageUnavailableError(f"{key} cannot be read. Try again.")
        return super().read(key)


def checking_threads() -> list[str]:
    """Returns the names of the threads that read and check parts."""
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name.startswith(("audit-log-read", "audit-log-check"))]


@pytest.mark.parametrize(("is_remote", "most_reads"), [(True, 16), (False, 4)], ids=["remote", "local"])
def test_no_more_threads_than_useful_read_and_check(
    is_remote: bool, most_reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More checks than processors would wait for the interpreter's lock, and so would many reads of a local disk."""
    monkeypatch.setattr(MemoryStore, "is_remote", is_remote)
    seen: set[str] = set()

    def check(*given: Any) -> None:
        seen.update(checking_threads())
        check_part_records(*given)

    monkeypatch.setattr(parts_side_by_side, "check_part_records", check)
    assert verify(MemoryStore(small_windows())).findings == ()
    checks = {name for name in seen if name.startswith("audit-log-check")}
    assert 1 <= len(checks) <= min(4, len(os.sched_getaffinity(0)))
    assert 1 <= len(seen - checks) <= most_reads


@pytest.mark.parametrize("objects", [small_windows(), large_window()], ids=["windows", "parts of a window"])
def test_error_of_the_store_ends_the_verification(objects: dict[str, bytes]) -> None:
    """The error is raised as it came, and no thread goes on."""
    failing = part_keys(objects)[1]
    with pytest.raises(StorageUnavailableError, match=failing):
        verify(FailingStore(objects, failing))
    assert not checking_threads()
