"""A sweep removes all orphaned files of abandoned attempts and nothing else, also while other attempts are active."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.checkpoint import Checkpoint
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.pull_spec import plan_upon
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.staging_area import StagingArea
from airflow_audit_provider.pipelines.sweep import SweepReport, sweep
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.confirming_store import ConfirmingStore
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.pull.landing import (
    END,
    fake_with,
    keys_of,
    land,
    landed_ids,
    objects,
    pull_spec,
    reader_of,
    record_at,
    true_ids,
)

DAY = timedelta(days=1)
NOW = ManualClock().now()
LATER = NOW + 2 * DAY
PART = "part-0001-00000-00000000deadbeef.jsonl"
FOLDER = "dt=2026-10-26/window=20261026T000000Z-20261027T000000Z/"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty destination."""
    return LocalStore(str(tmp_path))


@pytest.fixture
def committed(store: LocalStore) -> LocalStore:
    """A destination with a window of two generations, an empty window, and seals."""
    clock = ManualClock()
    fake = fake_with(clock)
    land(pull_spec(), reader_of(fake, clock), store)
    fake.add(record_at("2026-10-26T03:00:00Z", "late"))
    land(pull_spec(), reader_of(fake, clock), store)
    empty = fake_with(clock, records_per_day=0)
    land(pull_spec(start=END, end=END + DAY), reader_of(empty, clock), store)
    seal(store)
    return store


def _stage(store: Store, attempt_id: str, began_at: datetime, saved_at: datetime | None = None) -> list[str]:
    """Leaves an attempt of the usual day in staging; returns its keys."""
    spec = pull_spec()
    attempt = StagingArea(store, keys_of(spec), attempt_id)
    attempt.open(began_at)
    store.create(f"{attempt.prefix}part-00000", b"{}\n")
    if saved_at is not None:
        checkpoint = Checkpoint(plan_upon(spec, None).resume_key, (), ReadStats(), saved_at, saved_at)
        store.create(f"{attempt.prefix}checkpoint-00001.json", checkpoint.to_bytes())
    return list(store.list_keys(attempt.prefix))


@pytest.mark.integration
def test_committed_objects_stay(committed: LocalStore) -> None:
    """Parts of the newest manifests, manifests and seals are never removed, however old they are."""
    before = objects(committed)
    assert any(key.startswith("_seals/") for key in before)
    assert sweep(committed, LATER + 1000 * DAY) == SweepReport((), 0)
    assert objects(committed) == before


@pytest.mark.integration
def test_abandoned_attempt_is_removed(committed: LocalStore) -> None:
    """Marker, part and checkpoint are removed, and a published part that the newest manifest does not name."""
    before = objects(committed)
    staged = _stage(committed, "abandoned", NOW, NOW)
    assert committed.create(FOLDER + PART, b"12345")
    size_bytes = sum(len(content) for key, content in objects(committed).items() if key not in before)
    assert sweep(committed, LATER) == SweepReport(tuple(sorted([*staged, FOLDER + PART])), size_bytes)
    assert objects(committed) == before
    assert sweep(committed, LATER) == SweepReport((), 0)


def test_parts_of_a_window_without_a_manifest_are_removed(store: LocalStore) -> None:
    """The sweep removes the published parts of an attempt without a manifest."""
    store.create(FOLDER + PART, b"12345")
    assert sweep(store, LATER) == SweepReport((FOLDER + PART,), 5)
    assert objects(store) == {}


@pytest.mark.integration
@pytest.mark.parametrize("is_sealed", [False, True])
def test_replaced_parts_are_removed_unless_a_seal_covers_them(committed: LocalStore, is_sealed: bool) -> None:
    """A part that only an older, replaced generation names is removed; if a seal covers it, it is kept."""
    if not is_sealed:
        committed.remove(list(committed.list_keys("_seals/")))
    parts = {key: content for key, content in objects(committed).items() if key.startswith(FOLDER)}
    clock = ManualClock()
    fake = fake_with(clock)
    fake.add(record_at("2026-10-26T03:00:00Z", "late"))
    land(pull_spec(replace=True), reader_of(fake, clock), committed)
    for key, content in parts.items():
        committed.create(key, content)
    assert set(sweep(committed, LATER).keys) == (set() if is_sealed else set(parts))
    assert landed_ids(pull_spec(), committed) == true_ids(fake)


@pytest.mark.parametrize(("age", "is_abandoned"), [(timedelta(days=1), False), (timedelta(days=1, seconds=1), True)])
@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_age_of_an_attempt_is_that_of_its_last_activity(
    store: LocalStore, age: timedelta, is_abandoned: bool, has_checkpoint: bool
) -> None:
    """The age of an attempt is that of its newest checkpoint, or else its marker; it must exceed the given age."""
    active_at = NOW - age
    staged = _stage(store, "one", active_at - 9 * DAY, active_at) if has_checkpoint else _stage(store, "one", active_at)
    assert sweep(store, NOW).keys == (tuple(sorted(staged)) if is_abandoned else ())


def test_window_with_an_active_attempt_is_kept(store: LocalStore) -> None:
    """An active attempt keeps all published and staged parts of its window, because it may need them."""
    abandoned = _stage(store, "abandoned", NOW - 9 * DAY)
    active = _stage(store, "active", NOW)
    store.create(FOLDER + PART, b"12345")
    assert sweep(store, NOW).keys == ()
    assert set(objects(store)) == {*abandoned, *active, FOLDER + PART}
    other = FOLDER.replace("26T", "25T").replace("27T", "26T").replace("dt=2026-10-26", "dt=2026-10-25") + PART
    store.create(other, b"1")
    assert sweep(store, NOW).keys == (other,)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("attempt.json", b"{"),
        ("attempt.json", b'{"window": "w", "began_at": "yesterday"}'),
        ("attempt.json", b'{"window": "w", "began_at": "2026-11-04T12:00:00"}'),
        ("checkpoint-00001.json", b"{}"),
        ("part-00000", b""),
    ],
)
def test_attempt_without_a_readable_time_is_abandoned(store: LocalStore, name: str, content: bytes) -> None:
    """An attempt whose marker is unreadable, or has a time without a zone, counts as abandoned."""
    key = f"{keys_of(pull_spec()).staging('odd')}{name}"
    store.create(key, content)
    assert sweep(store, NOW).keys == (key,)


def test_foreign_objects_stay(store: LocalStore) -> None:
    """Objects that this provider does not write are never removed."""
    foreign = [
        "notes.txt",
        "_staging/notes.txt",
        "_staging/x/20261026T000000Z-20261027T000000Z/part-00000",
        f"{FOLDER}notes.txt",
        f"{FOLDER}deeper/{PART}",
        f"dt=noon/window=20261026T000000Z-20261027T000000Z/{PART}",
        f"dt=2026-10-26/{PART}",
        f"elsewhere/{FOLDER}{PART}",
    ]
    for key in foreign:
        store.create(key, b"x")
    assert sweep(store, LATER).keys == ()
    assert set(objects(store)) == set(foreign)


@pytest.mark.integration
def test_dry_run_removes_nothing(committed: LocalStore) -> None:
    """A dry run reports exactly what the sweep then removes."""
    _stage(committed, "abandoned", NOW)
    committed.create(FOLDER + PART, b"12345")
    before = objects(committed)
    found = sweep(committed, LATER, dry_run=True)
    assert found.keys
    assert objects(committed) == before
    assert sweep(committed, LATER) == found
    assert set(objects(committed)) == set(before) - set(found.keys)


@pytest.mark.parametrize("age", [timedelta(0), timedelta(seconds=-1), 24, None])
def test_invalid_age_fails(store: LocalStore, age: Any) -> None:
    """An age of zero or less, or of another type than timedelta, is a configuration error."""
    with pytest.raises(ConfigurationError, match="older_than"):
        sweep(store, NOW, age)


@pytest.mark.integration
def test_damaged_manifest_stops_the_sweep(committed: LocalStore, tmp_path: Path) -> None:
    """If a manifest cannot be read, nothing is removed, because it is unknown what is committed."""
    _stage(committed, "abandoned", NOW)
    damaged = max(path for path in (tmp_path / "_manifests/dt=2026-10-26").iterdir())
    damaged.write_bytes(b"{")
    before = objects(committed)
    with pytest.raises(VerificationError, match="g0002"):
        sweep(committed, LATER)
    assert objects(committed) == before


class BusyStore(LocalStore):
    """A destination in which another attempt acts right before the sweep's read or listing number ``at``."""

    def __init__(self, root: str, at: int, act: Callable[[], None]) -> None:
        super().__init__(root)
        self.read_count = 0
        self._at = at
        self.act = act

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Lets the other attempt act, then lists."""
        self._before_read()
        return iter(list(super().list_sizes(prefix)))

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Lets the other attempt act, then lists; a local store lists keys without sizes."""
        self._before_read()
        return iter(list(super().list_keys(prefix)))

    def read(self, key: str) -> bytes | None:
        """Lets the other attempt act, then reads."""
        self._before_read()
        return super().read(key)

    def _before_read(self) -> None:
        self.read_count += 1
        if self.read_count == self._at:
            self.act()


class HaltedStore(ConfirmingStore):
    """A store of an attempt that stops right before it creates its manifest, and can continue from there."""

    def __init__(self, root: str, fake: FakeCloudflare, *, is_confirmed: bool) -> None:
        super().__init__(root, is_confirmed=is_confirmed)
        self._is_halted, self._may_continue = Event(), Event()
        self._attempt = ThreadPoolExecutor(1)
        self._fake = fake
        self._run: Future[None] | None = None

    def create(self, key: str, content: bytes) -> bool:
        """Waits before the manifest."""
        if key.startswith("_manifests/"):
            self._is_halted.set()
            assert self._may_continue.wait(60)
        return super().create(key, content)

    def halt(self) -> None:
        """Runs up to the manifest."""
        self._run = self._attempt.submit(_run, self._fake, self, LATER)
        assert self._is_halted.wait(60)

    def resume(self) -> None:
        """Runs from there to the end."""
        assert self._run is not None
        self._may_continue.set()
        self._run.result(60)
        self._attempt.shutdown()


VARIANTS = {"local": False, "confirmed": True}
SIZES = {"one part": 25_000, "staged parts": 1000}


def _marks(at: int, store: str, size: str) -> list[pytest.MarkDecorator]:
    """Returns that one variant runs before every odd read, and another before every even one; all others at night."""
    by_day = ("local", "staged parts") if at % 2 else ("confirmed", "one part")
    return [] if (store, size) == by_day else [pytest.mark.nightly]


@pytest.mark.integration
# A sweep reads: parts, attempts, manifests, the other window's manifest, unfinished files, the window's manifests and
# the seals, its manifests and attempts again, the orphaned parts and, after their removal, the commit log and the
# manifests once more.
@pytest.mark.parametrize(
    ("at", "is_confirmed", "part_records"),
    [
        pytest.param(at, VARIANTS[store], SIZES[size], id=f"{at}-{store}-{size}", marks=_marks(at, store, size))
        for at in range(1, 15)
        for store in VARIANTS
        for size in SIZES
    ],
)
@pytest.mark.parametrize("steps", ["up to its manifest", "its end", "whole run"])
def test_concurrent_attempt_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: int, steps: str, part_records: int, is_confirmed: bool
) -> None:
    """An attempt that publishes, commits or does both between any two reads of a sweep keeps all its parts."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", part_records)
    fake, store, counted = (
        fake_with(ManualClock()),
        *(LocalStore(str(tmp_path / name)) for name in ("store", "counted")),
    )
    for destination in (store, counted):
        land(pull_spec(start=END, end=END + DAY), reader_of(fake, ManualClock()), destination)
    halt_at = _manifest_operation(fake, counted)
    # An abandoned attempt has published the bytes that the new one is going to publish, without a commit.
    with pytest.raises(KilledError):
        _run(fake, CrashingStore(store, CrashPoint(halt_at)), NOW)
    store.remove(list(store.list_keys("_staging/")))
    assert any(key.startswith(FOLDER) for key in store.list_keys(""))
    halted = HaltedStore(str(tmp_path / "store"), fake, is_confirmed=is_confirmed)
    if steps == "its end":
        halted.halt()
    act = {"up to its manifest": halted.halt, "its end": halted.resume}
    whole = ConfirmingStore(str(tmp_path / "store"), is_confirmed=is_confirmed)
    busy = BusyStore(str(tmp_path / "store"), at, act.get(steps, lambda: _run(fake, whole, LATER)))
    sweep(busy, LATER)
    # Which it does not come to if it saw the attempt.
    if busy.read_count < at:
        assert at > 5
        busy.act()
    if steps == "up to its manifest":
        halted.resume()
    assert landed_ids(pull_spec(), store) == true_ids(fake)


def _run(fake: FakeCloudflare, store: Store, now: datetime) -> None:
    clock = ManualClock(now)
    land(pull_spec(concurrency=1), reader_of(fake, clock, DirectTransport(fake, clock)), store)


def _manifest_operation(fake: FakeCloudflare, store: Store) -> int:
    """Returns the number of the operation that creates the manifest."""
    crash = CrashPoint()
    _run(fake, CrashingStore(store, crash), NOW)
    return next(number for number, name in enumerate(crash.operations, 1) if name.startswith("create _manifests/"))


@pytest.mark.integration
def test_sweep_after_a_kill_removes_the_rest(committed: LocalStore) -> None:
    """A sweep that is killed after any operation has removed orphaned files only; the next one removes the rest."""
    before = objects(committed)
    number, is_over = 0, False
    while not is_over:
        number += 1
        _stage(committed, "abandoned", NOW)
        committed.create(FOLDER + PART, b"12345")
        try:
            sweep(CrashingStore(committed, CrashPoint(number, after_effect=True)), LATER)
            is_over = True
        except KilledError:
            assert before.items() <= objects(committed).items()
            sweep(committed, LATER)
        assert objects(committed) == before
    assert number > 5
