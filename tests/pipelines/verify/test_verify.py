"""Verifying a destination: which windows, which objects, at what cost."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import FsspecStore, LocalStore, store_from_uri
from airflow_audit_provider.core.verification.coverage import SpanState
from airflow_audit_provider.exceptions import ConfigurationError, StorageUnavailableError, VerificationError
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import fake_with, land, order, source_of
from tests.pipelines.pull.mortal_store import Death, MortalStore
from tests.pipelines.verify.dataset import DAY, DAY_1, HALF, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    """Two days."""
    made = MemoryStore()
    two_days(made)
    return made


def kinds(store: MemoryStore | LocalStore) -> list[str]:
    """Return the kinds found."""
    return [str(found.kind) for found in verify(store).findings]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("file_format", "compression"),
    [("jsonl", "gzip"), ("jsonl", "zstd"), ("csv", "gzip"), ("csv", "none"), ("parquet", "zstd")],
)
def test_what_the_pipeline_lands_is_sound(version: str, file_format: str, compression: str, tmp_path: Path) -> None:
    """Each format of both API versions is read back: counts, ids, instants and the digest of the records agree."""
    clock, store = ManualClock(), LocalStore(str(tmp_path))
    wanted = order(version, file_format=file_format, compression=compression)
    land(wanted, source_of(fake_with(clock), clock), store)
    land(wanted._replace(replace=True), source_of(fake_with(clock), clock), store)
    report = verify(store)
    assert report.findings == ()
    assert report.record_count == 1200


def test_a_superseded_part_is_told_by_its_bytes(store: MemoryStore) -> None:
    """A part that a replacement left is mild while it has its old bytes, and unexpected with any others."""
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


def test_staging_is_no_harm(store: MemoryStore) -> None:
    """What a run under way stages is told mildly."""
    store.objects["_staging/w/a/part-00000"] = b"x"
    report = verify(store)
    assert ([str(found.kind) for found in report.findings], report.severe_count) == (["staging_leftover"], 0)


def test_windows_that_overlap_are_found(store: MemoryStore) -> None:
    """Records may lie twice in a destination with two divisions of time."""
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
def test_a_range_picks_the_windows_it_touches(
    store: MemoryStore, start: object, end: object, window_count: int
) -> None:
    """Half-open: a window that only touches the range's edge is left alone, and its objects are not read."""
    seal(store)
    store.reads.clear()
    report = verify(store, start, end)  # type: ignore[arg-type]  # drawn from the table
    assert report.window_count == window_count
    assert report.findings == ()
    parts = {key for key in store.reads if key.startswith("dt=")}
    assert len(parts) == report.part_count


def test_what_lies_outside_the_range_is_left_alone(store: MemoryStore) -> None:
    """Damage in another window is not looked at; a sealed manifest that is gone there is still missed."""
    seal(store)
    key = next(key for key in store.objects if key.startswith("dt=2026-10-27"))
    store.objects[key] = b""
    store.objects[key.rsplit("/", 1)[0] + "/more"] = b""
    assert verify(store, None, DAY_1 + DAY).findings == ()
    del store.objects[next(key for key in store.objects if key.startswith("_manifests/dt=2026-10-27"))]
    assert [str(found.kind) for found in verify(store, None, DAY_1 + DAY).findings] == ["sealed_manifest_missing"]


def test_a_window_committed_meanwhile_is_no_stray(store: MemoryStore) -> None:
    """The listing of objects comes before that of manifests, so a commit in between is found whole."""

    class Busy(MemoryStore):
        def list_keys(self, prefix: str):  # type: ignore[no-untyped-def]  # as the port's
            if prefix == "_manifests/" and not any("20261028" in key for key in self.objects):
                commit(MemoryStoreView(self.objects), window(2), records_in(window(2), 2))
            return super().list_keys(prefix)

    busy = Busy(store.objects)
    report = verify(busy)
    assert report.findings == ()
    assert report.window_count == 4


class MemoryStoreView(MemoryStore):
    """Another client of the same objects."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__()
        self.objects = objects


def test_a_part_whose_library_cannot_read_it_is_a_finding(store: MemoryStore) -> None:
    """A part with the right digest that is no Parquet file is named, and nothing is raised."""
    text = part_format("jsonl", "none")
    odd = MemoryStore()
    commit(odd, window(), records_in(window(), 2), chosen=text)
    manifest_key = next(key for key in odd.objects if key.startswith("_manifests/"))
    for name in (b"parquet", b"avro"):
        changed = odd.objects[manifest_key].replace(b'"jsonl"', b'"' + name + b'"')
        odder = MemoryStore({**odd.objects, manifest_key: changed})
        assert kinds(odder) == ["part_unreadable"]


def test_a_store_that_does_not_answer_is_an_error(store: MemoryStore) -> None:
    """Not to be able to look is no finding: at every operation it raises."""
    count = Death()
    verify(MortalStore(store, count))
    for number in range(1, len(count.operations) + 1):
        with pytest.raises(StorageUnavailableError):
            verify(MortalStore(store, Death(number, for_good=False)))


def test_verifying_writes_nothing(store: MemoryStore) -> None:
    """The objects are the same before and after."""
    before = dict(store.objects)
    verify(store)
    coverage(store)
    assert store.objects == before


def test_every_object_is_read_once() -> None:
    """Verifying costs one read an object and no more."""
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


def test_one_part_is_in_memory_at_a_time(tmp_path: Path) -> None:
    """Eight parts take nowhere near eight times the memory of one."""
    assert _peak_bytes(tmp_path / "eight", 8) < 2 * _peak_bytes(tmp_path / "one", 1)


def test_the_newest_generation_counts() -> None:
    """Coverage takes the last of several generations, also past the ninth and the ten-thousandth."""
    store = MemoryStore()
    for number in range(12):
        commit(store, window(), [record(DAY_1 + timedelta(seconds=number), f"r{number}")])
    found = coverage(store)
    assert found is not None
    assert (found.record_count, found.window_count, found.high_water_at) == (12, 1, DAY_1 + HALF)


def test_coverage_reads_one_manifest_a_window(store: MemoryStore) -> None:
    """Nothing but the newest manifests of the windows in the range is read."""
    store.reads.clear()
    found = coverage(store, DAY_1, DAY_1 + DAY)
    assert found is not None
    assert [span.state for span in found.spans] == [SpanState.COMMITTED, SpanState.EMPTY]
    assert len(store.reads) == 2


def test_coverage_of_nothing() -> None:
    """Without a window there is no range to cover; a range that is given is missing from end to end."""
    empty = MemoryStore()
    assert coverage(empty) is None
    assert coverage(empty, DAY_1) is None
    found = coverage(empty, DAY_1, DAY_1 + DAY)
    assert found is not None
    assert [(span.start, span.end, span.state) for span in found.spans] == [(DAY_1, DAY_1 + DAY, SpanState.MISSING)]


def test_coverage_of_a_damaged_manifest_is_an_error(store: MemoryStore) -> None:
    """What cannot be read is neither committed nor missing; a manifest that vanishes while reading neither."""
    key = max(key for key in store.objects if key.startswith("_manifests/"))
    store.objects[key] = b"{}"
    with pytest.raises(VerificationError, match="cannot be read"):
        coverage(store)

    class Vanishing(MemoryStore):
        def read(self, key: str) -> bytes | None:
            return None

    with pytest.raises(VerificationError, match="listed and is gone"):
        coverage(Vanishing(store.objects))


def test_a_destination_is_opened_by_its_uri(tmp_path: Path) -> None:
    """A folder, a file URI and any scheme of fsspec give a store; what fsspec does not know is named."""
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
