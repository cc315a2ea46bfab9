"""Iceberg tables: one snapshot for each window with its manifest's digest, partitions, compaction, isolation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.warehouses.iceberg import IcebergWarehouse
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.warehouse.load_plan import PlannedLoad
from airflow_audit_provider.core.warehouse.port import LoadClaim, Warehouse
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError
from airflow_audit_provider.formats.warehouse_rows import arrow_rows, table_columns
from tests.pipelines.load.warehouses import DESTINATION, LoadTarget
from tests.pipelines.verify.dataset import DAY_1, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore


@pytest.fixture
def target(tmp_path: Path) -> LoadTarget:
    """An empty Iceberg warehouse."""
    return LoadTarget("iceberg", str(tmp_path), "audit.records")


@pytest.fixture
def store(target: LoadTarget) -> MemoryStore:
    """A destination with three windows, all loaded."""
    store = MemoryStore()
    two_days(store)
    target.load(store)
    return store


def test_each_window_is_one_snapshot_with_its_digest(target: LoadTarget, store: MemoryStore) -> None:
    """A load and a replacement are one snapshot each, with window, generation and manifest digest in its summary."""
    commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
    target.load(store)
    snapshots = target.iceberg_table().snapshots()
    assert len(snapshots) == 4
    digests = {hashlib.sha256(content).hexdigest() for key, content in store.objects.items() if "_manifests" in key}
    assert {snapshot.summary["audit.manifest-sha256"] for snapshot in snapshots} <= digests
    newest = snapshots[-1].summary
    assert (newest["audit.generation"], newest["audit.record-count"]) == ("3", "5")
    assert newest["audit.window-start"] == window().start.isoformat()


def test_compacted_files_keep_other_windows(target: LoadTarget, store: MemoryStore) -> None:
    """If compaction has merged several windows into one file, replacing one of them keeps the rows of the others."""
    table = target.iceberg_table()
    table.overwrite(table.scan().to_arrow().combine_chunks())
    commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
    target.load(store)
    assert target.ids() == ["late", "later", "r0", "r1", "r2", "s0", "s1"]


def test_other_days_are_not_read(target: LoadTarget, store: MemoryStore) -> None:
    """A day is loaded and replaced without reading the manifests of other days."""
    for manifest in target.iceberg_table().inspect.manifests().to_pylist():
        Path(manifest["path"].removeprefix("file://")).unlink()
    for count in (1, 2):
        commit(store, window(5), records_in(window(5), count, f"u{count}-"), replace=count > 1)
        assert len(target.load(store).loaded) == 1
    table = target.iceberg_table()
    found = table.scan("event_time >= '2026-10-31T00:00:00+00:00'", selected_fields=("id",)).to_arrow()
    assert sorted(found["id"].to_pylist()) == ["u2-0", "u2-1"]


def test_manifests_are_merged(target: LoadTarget, store: MemoryStore) -> None:
    """A long history has few manifests, and a window within a merged one is replaced correctly."""
    with target.iceberg_table().transaction() as transaction:
        transaction.set_properties({"commit.manifest.min-count-to-merge": "4"})
    for day in range(2, 12):
        commit(store, window(day), records_in(window(day), 1, f"u{day}-"))
    target.load(store)
    assert len(target.iceberg_table().inspect.manifests()) <= 4
    commit(store, window(3), [record(window(3).start + timedelta(seconds=2), "later")])
    target.load(store)
    others = [f"u{day}-0" for day in range(2, 12)]
    assert target.ids() == sorted(["late", "later", "r0", "r1", "r2", "s0", "s1", *others])


def test_old_metadata_files_are_deleted(target: LoadTarget, store: MemoryStore) -> None:
    """Each commit writes a metadata file, and only as many are kept as the table's property says."""
    with target.iceberg_table().transaction() as transaction:
        transaction.set_properties({"write.metadata.previous-versions-max": "2"})
    for day in range(2, 8):
        commit(store, window(day), records_in(window(day), 1, f"u{day}-"))
    target.load(store)
    folder = Path(target.iceberg_table().metadata_location.removeprefix("file://")).parent
    assert len(list(folder.glob("0000[5-9]*.metadata.json")) + list(folder.glob("0001*.metadata.json"))) == 3


def test_ledger_survives_expired_snapshots(target: LoadTarget, store: MemoryStore) -> None:
    """After its older snapshots have expired, a table still has its load ledger."""
    table = target.iceberg_table()
    for snapshot in table.snapshots()[:-1]:
        table.maintenance.expire_snapshots().by_id(snapshot.snapshot_id).commit()
    assert len(target.load(store).loaded) == 0


def test_loader_survives_the_expiry_of_its_snapshot(target: LoadTarget, store: MemoryStore) -> None:
    """If another engine expires the snapshot that a loader has read, the loader refreshes the table and continues."""
    later = commit(store, window(5), records_in(window(5), 1, "u-"))
    claim = _claim(window(5), 1, later, "1" * 64)
    with closing(target.open()) as slow:
        slow.prepare(table_columns())
        snapshot = target.iceberg_table().current_snapshot()
        commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
        target.load(store, "other")
        target.iceberg_table().maintenance.expire_snapshots().by_id(snapshot.snapshot_id).commit()
        Path(snapshot.manifest_list.removeprefix("file://")).unlink()
        with slow.replacing(claim) as rows:
            rows.add(arrow_rows(ApiVersion.V1, records_in(window(5), 1, "u-"), claim))
    assert ("u-0" in target.ids(), target.ids().count("u-0")) == (True, 2)


@pytest.mark.parametrize("is_current", [False, True])
def test_manifest_list_that_is_lost_during_a_commit_is_read_anew(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, is_current: bool
) -> None:
    """A commit on an expired snapshot is tried again; only a current one without its files is a damaged table."""
    commit(store, window(5), records_in(window(5), 1, "u-"))
    find, files = IcebergWarehouse._files_of, list[Path]()

    def find_and_expire(warehouse: IcebergWarehouse, claim: LoadClaim) -> list[Any]:
        found = find(warehouse, claim)
        if not files:
            table = target.iceberg_table()
            snapshot = table.current_snapshot()
            files.append(Path(snapshot.manifest_list.removeprefix("file://")))
            if not is_current:
                table.append(table.scan().to_arrow().slice(0, 0))
                table.maintenance.expire_snapshots().by_id(snapshot.snapshot_id).commit()
            files[0].unlink()
        return found

    monkeypatch.setattr(IcebergWarehouse, "_files_of", find_and_expire)
    if is_current:
        with pytest.raises(ConfigurationError, match="drop the table"):
            target.load(store)
        return
    assert target.load(store).record_count == 1
    assert "u-0" in target.ids()


def test_weak_isolation_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A table whose isolation level would let two loaders add the same window is a configuration error."""
    with target.iceberg_table().transaction() as transaction:
        transaction.set_properties({"write.update.isolation-level": "snapshot"})
    with pytest.raises(ConfigurationError, match="isolation"):
        target.load(store)


@pytest.mark.parametrize("counts", [(1, 0), (0, 1), (0, 0), (1, 1)])
def test_loader_overtaken_before_its_commit_fails(target: LoadTarget, counts: tuple[int, int]) -> None:
    """A loader fails if generation 2 is loaded between its claim and its commit, even if either is empty."""
    older, newer = (commit(MemoryStore(), window(), records_in(window(), count)) for count in counts)
    slow_claim = _claim(window(), 1, older, "1" * 64)
    fast_claim = _claim(window(), 2, newer, "2" * 64)
    with closing(target.open()) as slow, closing(target.open()) as fast:
        slow.prepare(table_columns())
        fast.prepare(table_columns())
        with pytest.raises(WarehouseBusyError, match="first"):
            _replace(slow, slow_claim, lambda: _replace(fast, fast_claim))
        (entry,) = fast.loaded("d")
    assert (entry.generation, entry.manifest_sha256) == (2, "2" * 64)
    assert len(target.ids()) == counts[1]


def _claim(of: TimeWindow, generation: int, manifest: Manifest, sha256: str) -> LoadClaim:
    """Returns the claim of a window's first load."""
    return PlannedLoad(of, "", generation).claim("d", DESTINATION, CommittedManifest(manifest, "", sha256), sha256)


def _replace(warehouse: Warehouse, claim: LoadClaim, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Loads a claim's rows; calls ``meanwhile`` before they are committed."""
    with warehouse.replacing(claim) as rows:
        if claim.entry.record_count:
            rows.add(arrow_rows(ApiVersion.V1, records_in(claim.window, claim.entry.record_count), claim))
        meanwhile()


def test_load_switches_off_commit_retries(target: LoadTarget, store: MemoryStore) -> None:
    """A load sets the retries of pyiceberg to 0 on a table that has another value."""
    with target.iceberg_table().transaction() as transaction:
        transaction.set_properties({"commit.retry.num-retries": "4"})
    commit(store, window(2), records_in(window(2), 1, "u"))
    target.load(store)
    target.load(store)
    assert target.iceberg_table().properties["commit.retry.num-retries"] == "0"
    assert "u0" in target.ids()


def test_window_over_midnight_is_in_two_partitions(target: LoadTarget, store: MemoryStore) -> None:
    """A window over midnight is written to two partitions in one load."""
    over_midnight = window(2.5, timedelta(hours=24))
    commit(store, over_midnight, records_in(over_midnight, 4, "m"))
    target.load(store)
    partitions = target.iceberg_table().inspect.partitions().to_pylist()
    assert sum(row["record_count"] for row in partitions) == len(target.ids()) == 10
    assert len(partitions) == 4
