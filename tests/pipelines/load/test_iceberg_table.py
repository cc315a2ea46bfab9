"""What is Iceberg's own: one snapshot a window with the manifest's digest, partitions, compaction, isolation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.warehouse.load_plan import PlannedLoad
from airflow_audit_provider.core.warehouse.port import LoadClaim, Warehouse
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError
from airflow_audit_provider.formats.warehouse_rows import arrow_rows, table_columns
from tests.pipelines.load.warehouses import Place
from tests.pipelines.verify.dataset import DAY_1, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty Iceberg warehouse."""
    return Place("iceberg", str(tmp_path), "audit.records")


@pytest.fixture
def store(place: Place) -> MemoryStore:
    """Three windows, loaded."""
    store = MemoryStore()
    two_days(store)
    place.load(store)
    return store


def test_each_window_is_one_snapshot_with_its_digest(place: Place, store: MemoryStore) -> None:
    """A load and a replacement are one snapshot each, which names window, generation and the manifest's digest."""
    commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
    place.load(store)
    snapshots = place.iceberg_table().snapshots()
    assert len(snapshots) == 4
    digests = {hashlib.sha256(content).hexdigest() for key, content in store.objects.items() if "_manifests" in key}
    assert {snapshot.summary["audit.manifest-sha256"] for snapshot in snapshots} <= digests
    newest = snapshots[-1].summary
    assert (newest["audit.generation"], newest["audit.record-count"]) == ("3", "5")
    assert newest["audit.window-start"] == window().start.isoformat()


def test_compacted_files_keep_other_windows(place: Place, store: MemoryStore) -> None:
    """Where an engine has put several windows into one file, replacing one of them leaves the others' rows."""
    table = place.iceberg_table()
    table.overwrite(table.scan().to_arrow().combine_chunks())
    commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
    place.load(store)
    assert place.ids() == ["late", "later", "r0", "r1", "r2", "s0", "s1"]


def test_other_days_are_not_read(place: Place, store: MemoryStore) -> None:
    """A day is loaded and loaded again without a look at the manifests of other days, however many there are."""
    for manifest in place.iceberg_table().inspect.manifests().to_pylist():
        Path(manifest["path"].removeprefix("file://")).unlink()
    for count in (1, 2):
        commit(store, window(5), records_in(window(5), count, f"u{count}-"), replace=count > 1)
        assert len(place.load(store).loaded) == 1
    table = place.iceberg_table()
    found = table.scan("event_time >= '2026-10-31T00:00:00+00:00'", selected_fields=("id",)).to_arrow()
    assert sorted(found["id"].to_pylist()) == ["u2-0", "u2-1"]


def test_manifests_are_merged(place: Place, store: MemoryStore) -> None:
    """A long history has few manifests, and a window in the middle of one is replaced as ever."""
    with place.iceberg_table().transaction() as transaction:
        transaction.set_properties({"commit.manifest.min-count-to-merge": "4"})
    for day in range(2, 12):
        commit(store, window(day), records_in(window(day), 1, f"u{day}-"))
    place.load(store)
    assert len(place.iceberg_table().inspect.manifests()) <= 4
    commit(store, window(3), [record(window(3).start + timedelta(seconds=2), "later")])
    place.load(store)
    others = [f"u{day}-0" for day in range(2, 12)]
    assert place.ids() == sorted(["late", "later", "r0", "r1", "r2", "s0", "s1", *others])


def test_old_metadata_goes(place: Place, store: MemoryStore) -> None:
    """Of the metadata files that each commit writes anew, whole, only as many stay as the table's property says."""
    with place.iceberg_table().transaction() as transaction:
        transaction.set_properties({"write.metadata.previous-versions-max": "2"})
    for day in range(2, 8):
        commit(store, window(day), records_in(window(day), 1, f"u{day}-"))
    place.load(store)
    folder = Path(place.iceberg_table().metadata_location.removeprefix("file://")).parent
    assert len(list(folder.glob("0000[5-9]*.metadata.json")) + list(folder.glob("0001*.metadata.json"))) == 3


def test_expired_snapshots_lose_nothing_of_the_ledger(place: Place, store: MemoryStore) -> None:
    """After its older snapshots expire a table still knows what is loaded."""
    table = place.iceberg_table()
    for snapshot in table.snapshots()[:-1]:
        table.maintenance.expire_snapshots().by_id(snapshot.snapshot_id).commit()
    assert len(place.load(store).loaded) == 0


def test_loader_survives_the_end_of_the_snapshot_it_saw(place: Place, store: MemoryStore) -> None:
    """Where another engine expires what a loader saw last, with its files, the loader looks again and goes on."""
    later = commit(store, window(5), records_in(window(5), 1, "u-"))
    claim = PlannedLoad(window(5), "", 1, 0).claim("d", later, "1" * 64)
    with closing(place.open()) as slow:
        slow.prepare(table_columns())
        seen = place.iceberg_table().current_snapshot()
        commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
        place.load(store, "other")
        place.iceberg_table().maintenance.expire_snapshots().by_id(seen.snapshot_id).commit()
        Path(seen.manifest_list.removeprefix("file://")).unlink()
        with slow.replacing(claim) as rows:
            rows.add(arrow_rows(ApiVersion.V1, records_in(window(5), 1, "u-"), claim))
    assert ("u-0" in place.ids(), place.ids().count("u-0")) == (True, 2)


def test_weak_isolation_is_refused(place: Place, store: MemoryStore) -> None:
    """A table on which two loaders could both add a window is no table to load into."""
    with place.iceberg_table().transaction() as transaction:
        transaction.set_properties({"write.update.isolation-level": "snapshot"})
    with pytest.raises(ConfigurationError, match="isolation"):
        place.load(store)


@pytest.mark.parametrize("counts", [(1, 0), (0, 1), (0, 0), (1, 1)])
def test_outrun_inside_its_transaction(place: Place, counts: tuple[int, int]) -> None:
    """A loader that generation 2 overtakes between its claim and its commit is refused, also where one is empty."""
    older, newer = (commit(MemoryStore(), window(), records_in(window(), count)) for count in counts)
    slow_claim = PlannedLoad(window(), "", 1, 0).claim("d", older, "1" * 64)
    fast_claim = PlannedLoad(window(), "", 2, 0).claim("d", newer, "2" * 64)
    with closing(place.open()) as slow, closing(place.open()) as fast:
        slow.prepare(table_columns())
        fast.prepare(table_columns())
        with pytest.raises(WarehouseBusyError, match="first"):
            _replace(slow, slow_claim, lambda: _replace(fast, fast_claim))
        (entry,) = fast.loaded("d")
    assert (entry.generation, entry.manifest_sha256) == (2, "2" * 64)
    assert len(place.ids()) == counts[1]


def _replace(warehouse: Warehouse, claim: LoadClaim, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Load a claim's rows; something else happens before they are committed."""
    with warehouse.replacing(claim) as rows:
        if claim.newest.record_count:
            rows.add(arrow_rows(ApiVersion.V1, records_in(claim.window, claim.newest.record_count), claim))
        meanwhile()


def test_old_table_gets_no_blind_retries(place: Place, store: MemoryStore) -> None:
    """A table on which pyiceberg would try a refused commit again by itself is set not to, once."""
    with place.iceberg_table().transaction() as transaction:
        transaction.set_properties({"commit.retry.num-retries": "4"})
    commit(store, window(2), records_in(window(2), 1, "u"))
    place.load(store)
    place.load(store)
    assert place.iceberg_table().properties["commit.retry.num-retries"] == "0"
    assert "u0" in place.ids()


def test_days_are_partitions(place: Place, store: MemoryStore) -> None:
    """A window that reaches over midnight falls into two partitions and is still one load."""
    over_midnight = window(2.5, timedelta(hours=24))
    commit(store, over_midnight, records_in(over_midnight, 4, "m"))
    place.load(store)
    partitions = place.iceberg_table().inspect.partitions().to_pylist()
    assert sum(row["record_count"] for row in partitions) == len(place.ids()) == 10
    assert len(partitions) == 4
