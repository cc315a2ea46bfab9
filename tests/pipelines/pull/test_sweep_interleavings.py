"""A run that has written its part keeps it, whenever between two operations of a sweep it makes each of its steps."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import combinations_with_replacement
from typing import NamedTuple

import pytest

from airflow_audit_provider.core.archive.object_keys import LogEntry, read_log_key
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import fake_with, land, logged_keys, pull_spec, reader_of
from tests.pipelines.verify.memory_store import MemoryStore

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NOW = ManualClock().now() + 2 * DAY
MANIFEST = "_manifests/"


class Steps(NamedTuple):
    """What a run writes into a destination, step by step, where a killed run has left the same part."""

    before: dict[str, bytes]
    written: list[tuple[str, bytes]]
    part: str


class SteppingStore(MemoryStore):
    """Store of a sweep; the steps of a run are made before the operations whose numbers are given."""

    def __init__(self, steps: Steps, moments: Iterable[int]) -> None:
        super().__init__(steps.before)
        self.operation_count = 0
        self.put_keys: list[str] = []
        self._later = list(zip(moments, steps.written, strict=True))

    def make_steps(self, *, all_of_them: bool = False) -> None:
        """Makes the steps whose moment has come."""
        self.operation_count += 1
        due = [step for at, step in self._later if all_of_them or at <= self.operation_count]
        self._later = self._later[len(due) :]
        self.objects.update(due)

    def read(self, key: str) -> bytes | None:
        """Reads after the steps."""
        self.make_steps()
        return super().read(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Lists after the steps."""
        self.make_steps()
        return iter(list(super().list_keys(prefix)))

    def put(self, key: str, content: bytes) -> bool:
        """Writes after the steps."""
        self.make_steps()
        self.put_keys.append(key)
        return super().put(key, content)

    def remove(self, keys: Iterable[str]) -> None:
        """Removes after the steps."""
        self.make_steps()
        super().remove(keys)


def _landed(at: datetime, attempt_id: str) -> dict[str, bytes]:
    store = MemoryStore()
    fake = fake_with(ManualClock(), records_per_day=3)
    land(pull_spec(attempt_id=attempt_id), reader_of(fake, ManualClock(at)), store)
    return store.objects


def _steps(clock_error: timedelta) -> Steps:
    killed, run = _landed(NOW - 2 * DAY, "killed"), _landed(NOW + clock_error, "run")
    (entry,) = logged_keys(MemoryStore(run))
    (part,) = (key for key in run if key.startswith("dt="))
    (manifest,) = (key for key in run if key.startswith(MANIFEST))
    before = {key: content for key, content in killed.items() if not key.startswith(MANIFEST)}
    return Steps(before, [(key, run[key]) for key in (entry, part, manifest)], part)


@pytest.mark.integration
@pytest.mark.parametrize("clock_error", [0 * HOUR, HOUR, -HOUR, -20 * HOUR], ids=str)
def test_part_stays_whenever_its_run_makes_its_steps(clock_error: timedelta) -> None:
    """Entry, part and manifest before any three operations of the sweep: the part of the manifest is there."""
    steps = _steps(clock_error)
    undisturbed = SteppingStore(steps, [10**6] * 3)
    assert sweep(undisturbed, NOW).keys == (steps.part,)
    put_back_count = 0
    for moments in combinations_with_replacement(range(1, undisturbed.operation_count + 2), 3):
        store = SteppingStore(steps, moments)
        report = sweep(store, NOW)
        store.make_steps(all_of_them=True)
        assert store.objects.get(steps.part) == steps.written[1][1], moments
        put_back_count += not report.keys
    assert put_back_count > undisturbed.operation_count


@pytest.mark.integration
def test_other_part_is_not_put_back_after_the_commit() -> None:
    """What a sweep removes stays removed if the run commits other records, such as those that an erasure leaves."""
    steps, other = _steps(0 * HOUR), b"another part"
    digest = hashlib.sha256(other).hexdigest()[:16]
    orphaned = re.sub(r"[0-9a-f]{16}(?=\.)", digest, steps.part)
    before = {key: content for key, content in steps.before.items() if key != steps.part} | {orphaned: other}
    removed_count = 0
    for moment in range(1, 16):
        store = SteppingStore(steps._replace(before=before), [moment] * 3)
        removed_count += orphaned in sweep(store, NOW).keys
        assert not store.put_keys, moment
    assert removed_count > 5


def _entry_only(change: Callable[[str], str]) -> Steps:
    steps = _steps(0 * HOUR)
    entry, content = steps.written[0]
    return steps._replace(written=[(change(entry), content), *steps.written[1:]])


@pytest.mark.integration
def test_entry_is_what_keeps_the_part() -> None:
    """Without its entry, or with one of another window, the same run loses its part at some moment."""
    for change in (lambda key: "_commit_log/foreign.json", lambda key: key.replace("20261026T", "20261020T")):
        steps = _entry_only(change)
        assert read_log_key(steps.written[0][0]) is None or "20261020T" in steps.written[0][0]
        lost = []
        for moments in combinations_with_replacement(range(1, 16), 3):
            store = SteppingStore(steps, moments)
            sweep(store, NOW)
            store.make_steps(all_of_them=True)
            lost += [] if steps.part in store.objects else [moments]
        assert lost


def test_entry_of_a_killed_attempt_keeps_its_part_for_a_day() -> None:
    """A part without a manifest stays while its attempt may be active, at least for an hour, and goes after that."""
    steps = _steps(0 * HOUR)
    at = NOW - 2 * DAY
    for age, older_than, is_removed in (
        (23 * HOUR, DAY, False),
        (25 * HOUR, DAY, True),
        (HOUR / 2, HOUR / 60, False),
        (2 * HOUR, HOUR / 60, True),
    ):
        report = sweep(MemoryStore(steps.before), at + age, older_than)
        assert report.keys == ((steps.part,) if is_removed else ()), age


def test_sweep_removes_old_days_of_the_log_but_the_newest() -> None:
    """Entries older than 30 days are removed, except those of the newest day."""
    window = pull_spec().run_window.window
    keys = {age: LogEntry(NOW - age * DAY, window, 1, "one").key for age in (0, 29, 31, 400)}
    store = MemoryStore(dict.fromkeys(keys.values(), b"{}"))
    assert sweep(store, NOW, dry_run=True).keys == (keys[400], keys[31])
    assert sweep(store, NOW).keys == (keys[400], keys[31])
    assert list(store.objects) == [keys[0], keys[29]]
    sweep(store, NOW + 100 * DAY)
    assert list(store.objects) == [keys[0]]
