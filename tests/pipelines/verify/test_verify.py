"""Verification and coverage of a destination: which windows and objects are read, and how often."""

from __future__ import annotations

import tracemalloc
from datetime import datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import FsspecStore, LocalStore, store_from_uri
from airflow_audit_provider.core.archive.dataset import dataset_of
from airflow_audit_provider.core.archive.manifest import read_manifest
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.verification.coverage import Coverage, SpanState
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, StorageUnavailableError, VerificationError
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines import parts_side_by_side
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of
from tests.pipelines.verify.dataset import DAY, DAY_1, HALF, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    """A destination with two days."""
    store = MemoryStore()
    two_days(store)
    return store


def kinds(store: MemoryStore | LocalStore) -> list[str]:
    """Returns the kinds of all findings."""
    return [str(found.kind) for found in verify(store).findings]


@pytest.mark.integration
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("file_format", "compression"),
    [("jsonl", "gzip"), ("jsonl", "zstd"), ("csv", "gzip"), ("csv", "none"), ("parquet", "zstd")],
)
def test_landed_window_has_no_findings(version: str, file_format: str, compression: str, tmp_path: Path) -> None:
    """Every format of both API versions is verified without a finding."""
    clock, store = ManualClock(), LocalStore(str(tmp_path))
    spec = pull_spec(version, file_format=file_format, compression=compression)
    land(spec, reader_of(fake_with(clock), clock), store)
    land(spec._replace(replace=True), reader_of(fake_with(clock), clock), store)
    report = verify(store)
    assert report.findings == ()
    assert report.record_count == 1200


def test_superseded_part_is_recognized_by_its_digest(store: MemoryStore) -> None:
    """A part that a replacement left behind is a mild finding; with other bytes it is unexpected."""
    before = MemoryStore()
    commit(before, window(2), records_in(window(2), 2))
    (key,) = (key for key in before.objects if key.startswith("dt="))
    store.objects.update(before.objects)
    commit(store, window(2), records_in(window(2), 2), replace=True)
    assert kinds(store) == []
    store.objects[key] = before.objects[key]
    assert kinds(store) == ["part_superseded"]
    store.objects[key] += b"x"
    assert kinds(store) == ["object_unexpected"]


@pytest.mark.parametrize("name", ["20261025T000000Z-20261026T000000Z", "20200101T000000Z-20200102T000000Z"])
def test_part_of_another_window_in_a_partition_of_the_range_is_unexpected(store: MemoryStore, name: str) -> None:
    """A reader of the partition reads it, so a verification of the partition's day reports it, too."""
    key = f"dt=2026-10-26/window={name}/part-0001-00000-0123456789abcdef.jsonl"
    store.objects[key] = b"{}"
    found = verify(store, DAY_1, DAY_1 + DAY).findings
    assert [(str(one.kind), one.key) for one in found] == [("object_unexpected", key)]
    assert verify(store, DAY_1 + DAY, DAY_1 + 2 * DAY).findings == ()


@pytest.mark.parametrize("day", ["9999-12-31", "9999-12-30", "0001-01-01"])
def test_object_in_a_partition_at_the_end_of_time_does_not_stop_verify(store: MemoryStore, day: str) -> None:
    """An object that somebody added in such a partition is outside of every range, and a finding without a range."""
    key = f"dt={day}/window=20200101T000000Z-20200102T000000Z/x"
    store.objects[key] = b"x"
    assert verify(store, DAY_1, DAY_1 + DAY).findings == ()
    assert [one.key for one in verify(store).findings] == [key]


def test_part_of_another_window_of_the_same_day_is_not_in_the_range(store: MemoryStore) -> None:
    """A run that publishes the day's other half does not disturb the verification of one half."""
    store.objects["dt=2026-10-26/window=20261026T120000Z-20261027T000000Z/part-0001-00000-0123456789abcdef.jsonl"] = (
        b"x"
    )
    assert verify(store, DAY_1, DAY_1 + HALF).findings == ()


@pytest.mark.integration
def test_part_in_the_partition_of_its_local_day_is_expected(tmp_path: Path) -> None:
    """A window whose local date is not its UTC date is no finding of the range that it does not overlap."""
    store, of = LocalStore(str(tmp_path)), TimeWindow(DAY_1 - timedelta(hours=2), DAY_1)
    spec = pull_spec(run_window=RunWindow(of, "explicit bounds", DAY_1.date()))
    land(spec, reader_of(fake_with(ManualClock()), ManualClock()), store)
    land(pull_spec(attempt_id="day"), reader_of(fake_with(ManualClock()), ManualClock()), store)
    assert any(key.startswith("dt=2026-10-26/window=20261025T22") for key in store.list_keys(""))
    assert verify(store, DAY_1, DAY_1 + DAY).findings == ()
    assert verify(store).findings == ()


def test_staged_objects_are_mild(store: MemoryStore) -> None:
    """An object in staging is a mild finding."""
    store.objects["_staging/w/a/part-00000"] = b"x"
    report = verify(store)
    assert ([str(found.kind) for found in report.findings], report.severe_count) == (["staging_leftover"], 0)


def test_overlapping_windows_are_found(store: MemoryStore) -> None:
    """Each window that overlaps another one is a finding, because records may be there twice."""
    other = MemoryStore()
    commit(other, window(0.25), records_in(window(0.25), 1, "o"))
    store.objects.update(other.objects)
    assert kinds(store) == ["windows_overlap", "windows_overlap"]


@pytest.mark.parametrize(
    ("start", "end", "window_count"),
    [
        (None, None, 3),
        (DAY_1, DAY_1 + HALF, 1),
        (DAY_1, DAY_1 + HALF + timedelta(microseconds=1), 2),
        (DAY_1 + HALF, None, 2),
        (DAY_1 + HALF - timedelta(microseconds=1), None, 3),
        (None, DAY_1 + DAY, 2),
        (DAY_1 + timedelta(hours=1), DAY_1 + timedelta(hours=2), 1),
    ],
)  # fmt: skip
def test_range_selects_overlapping_windows(store: MemoryStore, start: object, end: object, window_count: int) -> None:
    """A range is half-open: a window that only touches it is not verified, and its parts are not read."""
    seal(store)
    store.reads.clear()
    report = verify(store, start, end)  # type: ignore[arg-type]  # drawn from the table
    assert report.window_count == window_count
    assert report.findings == ()
    parts = {key for key in store.reads if key.startswith("dt=")}
    assert len(parts) == report.part_count


def test_damage_outside_the_range_is_not_found(store: MemoryStore) -> None:
    """Damage in a window outside the range is not found, except for a missing sealed manifest."""
    seal(store)
    key = next(key for key in store.objects if key.startswith("dt=2026-10-27"))
    store.objects[key] = b""
    store.objects[key.rsplit("/", 1)[0] + "/more"] = b""
    assert verify(store, None, DAY_1 + DAY).findings == ()
    del store.objects[next(key for key in store.objects if key.startswith("_manifests/dt=2026-10-27"))]
    assert [str(found.kind) for found in verify(store, None, DAY_1 + DAY).findings] == ["sealed_manifest_missing"]


def test_window_committed_during_verification_is_no_finding(store: MemoryStore) -> None:
    """Objects are listed before manifests, so a commit in between has no unexpected objects."""

    class CommittingStore(MemoryStore):
        def list_keys(self, prefix: str):  # type: ignore[no-untyped-def]  # as the port's
            if prefix == "_manifests/" and not any("20261028" in key for key in self.objects):
                commit(MemoryStoreView(self.objects), window(2), records_in(window(2), 2))
            return super().list_keys(prefix)

    committing = CommittingStore(store.objects)
    report = verify(committing)
    assert report.findings == ()
    assert report.window_count == 4


class MemoryStoreView(MemoryStore):
    """Another client of the same objects."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__()
        self.objects = objects


def test_unreadable_part_is_a_finding(store: MemoryStore) -> None:
    """A part with the right digest but of another format is a finding, and nothing is raised."""
    text = part_format("jsonl", "none")
    other = MemoryStore()
    commit(other, window(), records_in(window(), 2), format_=text)
    manifest_key = next(key for key in other.objects if key.startswith("_manifests/"))
    for name in (b"parquet", b"avro"):
        changed = other.objects[manifest_key].replace(b'"jsonl"', b'"' + name + b'"')
        dataset = dataset_of(read_manifest(manifest_key, changed)).to_bytes()
        relabelled = MemoryStore({**other.objects, manifest_key: changed, DATASET_KEY: dataset})
        assert kinds(relabelled) == ["part_unreadable"]


def test_unavailable_store_is_an_error(store: MemoryStore) -> None:
    """A store that fails at any operation raises; it gives no finding."""
    count = CrashPoint()
    verify(CrashingStore(store, count))
    for number in range(1, len(count.operations) + 1):
        with pytest.raises(StorageUnavailableError):
            verify(CrashingStore(store, CrashPoint(number, is_kill=False)))


def test_verifying_writes_nothing(store: MemoryStore) -> None:
    """Verification and coverage change no object."""
    before = dict(store.objects)
    verify(store)
    coverage(store, DAY_1)
    assert store.objects == before


def test_every_object_is_read_once() -> None:
    """Verification reads each object exactly once."""
    store = MemoryStore()
    two_days(store)
    seal(store)
    store.reads.clear()
    verify(store)
    assert len(store.reads) == len(set(store.reads)) == len(store.objects)


def _peak_bytes(folder: Path, window_count: int) -> int:
    store = LocalStore(str(folder))
    for number in range(window_count):
        of = window(number)
        step = of.length / 2000
        commit(store, of, [record(of.start + n * step, f"{number}-{n}", "x" * 1000) for n in range(2000)])
    tracemalloc.start()
    try:
        assert verify(store).findings == ()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.integration
def test_memory_does_not_grow_with_the_number_of_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bytes that parts may have in memory together, eight windows take less than twice the memory of one."""
    monkeypatch.setattr(parts_side_by_side, "MOST_BYTES", 1)
    assert _peak_bytes(tmp_path / "eight", 8) < 2 * _peak_bytes(tmp_path / "one", 1)


def _covered(store: MemoryStore, start: datetime | None = None, end: datetime | None = None) -> Coverage:
    """Returns the coverage of the only dataset, long after all windows."""
    (found,) = coverage(store, DAY_1 + 365 * DAY, start, end)
    assert found.has_descriptor
    return found.coverage


def test_coverage_uses_the_newest_generation() -> None:
    """Coverage uses the newest generation by number, so that 12 comes after 9."""
    store = MemoryStore()
    for number in range(12):
        commit(store, window(), [record(DAY_1 + timedelta(seconds=number), f"r{number}")])
    found = _covered(store)
    assert (found.record_count, found.window_count, found.complete_until_at) == (12, 1, DAY_1 + HALF)


def test_coverage_reads_one_manifest_a_window(store: MemoryStore) -> None:
    """Coverage reads only the descriptor and the newest manifest of each window in the range."""
    store.reads.clear()
    found = _covered(store, DAY_1, DAY_1 + DAY)
    assert [span.state for span in found.spans] == [SpanState.COMMITTED, SpanState.EMPTY]
    assert (len(store.reads), store.reads[0]) == (3, "_dataset.json")


def test_coverage_of_an_empty_destination_is_empty() -> None:
    """A destination without windows has no dataset, whatever the range."""
    for empty in (MemoryStore(), MemoryStore({"_dataset.json": b"{}", "x_manifests/a.json": b""})):
        assert coverage(empty, DAY_1) == coverage(empty, DAY_1, DAY_1, DAY_1 + DAY) == ()


def test_coverage_with_an_unreadable_manifest_is_an_error(store: MemoryStore) -> None:
    """A manifest that is damaged, or removed after the listing, is an error, not a missing window."""
    key = max(key for key in store.objects if key.startswith("_manifests/"))
    store.objects[key] = b"{}"
    with pytest.raises(VerificationError, match="cannot be decoded"):
        coverage(store, DAY_1)

    class Vanishing(MemoryStore):
        def read(self, key: str) -> bytes | None:
            return None

    with pytest.raises(VerificationError, match="listed and is gone"):
        coverage(Vanishing(store.objects), DAY_1)


def test_coverage_lists_every_dataset_below_a_root(store: MemoryStore) -> None:
    """Each folder with manifests is a dataset of its own, also inside of another one."""
    csv = MemoryStore()
    commit(csv, window(2), records_in(window(2), 4), format_=part_format("csv", "none"))
    root = MemoryStore()
    for folder, one in (("", store), ("b/v2/", csv), ("a/", store)):
        root.objects.update({folder + key: content for key, content in one.objects.items()})
    found = coverage(root, DAY_1)
    assert [one.folder for one in found] == ["", "a/", "b/v2/"]
    assert [one.dataset.file_format for one in found] == ["jsonl", "jsonl", "csv"]
    assert found[0].coverage == found[1].coverage == _covered(store)
    assert (found[2].coverage.record_count, found[2].coverage.first_at) == (4, window(2).start)


def test_coverage_shows_foreign_windows_and_a_missing_descriptor(store: MemoryStore) -> None:
    """A day in another form is foreign; without a descriptor the newest window stands for the dataset."""
    other = MemoryStore()
    commit(other, window(1.5), records_in(window(1.5), 4), format_=part_format("csv", "none"))
    del other.objects["_dataset.json"]
    store.objects.update(other.objects)
    found = _covered(store)
    assert [str(span.state) for span in found.spans] == ["committed", "empty", "committed", "foreign"]
    assert (found.foreign_count, found.is_complete) == (1, False)
    del store.objects["_dataset.json"]
    (without,) = coverage(store, DAY_1, DAY_1, DAY_1 + DAY)
    assert (without.has_descriptor, without.is_complete, without.dataset.file_format) == (False, False, "csv")
    assert without.coverage.foreign_count == 2


@pytest.mark.integration
def test_store_is_opened_by_its_uri(tmp_path: Path) -> None:
    """A folder, a file URI and any fsspec scheme give a store; an unknown scheme is a configuration error."""
    two_days(LocalStore(str(tmp_path)))
    for uri in (str(tmp_path), f"file://{tmp_path}", f"file://{tmp_path}/"):
        assert isinstance(store_from_uri(uri), LocalStore)
        assert verify(store_from_uri(uri)).findings == ()
    memory = store_from_uri("memory://audit/v1")
    assert isinstance(memory, FsspecStore)
    two_days(memory)
    assert verify(store_from_uri("memory://audit/v1/")).window_count == 3
    fsspec.filesystem("memory").rm("/audit", recursive=True)
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        store_from_uri("nosuch://x")
