"""Parts that were landed as the table's own columns go into a warehouse as files or Arrow tables, verified before."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from airflow_audit_provider.adapters.warehouses import duckdb as duckdb_sessions
from airflow_audit_provider.adapters.warehouses.duckdb import DuckDbSession
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, table_name
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import Manifest, Part, read_manifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines import committed
from airflow_audit_provider.pipelines import load as loading
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from tests.pipelines.load.warehouses import DESTINATION, LoadTarget
from tests.pipelines.verify.dataset import DAY_1, commit, record, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

NORMALIZED = part_format("parquet", schema="normalized")
SPECIAL = ['"', "a,b\r\n", "\\.", "\U0001f600", "x\0y", "'--", "\\N", "", "NULL"]


def _special_records() -> list[AuditRecord]:
    return [record(DAY_1 + timedelta(seconds=n), f"{n}{text}", text) for n, text in enumerate(SPECIAL)]


@pytest.fixture
def store() -> MemoryStore:
    """A destination with one window of five records as normalized Parquet."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 5), format_=NORMALIZED)
    return store


@pytest.fixture
def duckdb_target(tmp_path: Path) -> LoadTarget:
    """An empty DuckDB file."""
    return LoadTarget("duckdb", str(tmp_path / "audit.duckdb"), "audit")


def test_landed_tables_give_the_same_rows(target: LoadTarget) -> None:
    """Normalized Parquet gives the rows that the same records give from JSON Lines, in every column."""
    plain, other = MemoryStore(), MemoryStore()
    commit(plain, window(), _special_records())
    commit(other, window(), _special_records(), format_=NORMALIZED)
    target.load(plain)
    digest = target.digest()
    target.drop()
    assert target.load(other).record_count == len(SPECIAL)
    assert target.digest() == digest


def test_landed_table_is_read_once_and_not_made_again(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each object of the destination is read once, and no row is made from the record's text."""
    monkeypatch.delattr(loading, "arrow_rows")
    assert target.load(store).record_count == 5
    assert set(Counter(key for key in store.reads if "/part-" in key).values()) == {1}


@pytest.mark.parametrize("place", [10, -10])
def test_damaged_landed_table_loads_nothing(target: LoadTarget, store: MemoryStore, place: int) -> None:
    """A part with one other byte never reaches the warehouse."""
    (key,) = (key for key in store.objects if "/part-" in key)
    content = bytearray(store.objects[key])
    content[place] ^= 1
    store.objects[key] = bytes(content)
    with pytest.raises(VerificationError, match="differs from its manifest"):
        target.load(store)
    assert target.ids() == []


def test_row_outside_its_window_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A landed table with a record of another day is not loaded."""
    commit(store, window(2), [record(DAY_1 + timedelta(days=3), "stray")], format_=NORMALIZED)
    with pytest.raises(VerificationError, match="outside"):
        target.load(store)
    assert len(target.ids()) == 5


def test_row_count_that_differs_from_the_manifest_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A landed table with other than the stated number of records is not loaded."""
    _rewrite_manifest(store, record_count=4)
    with pytest.raises(VerificationError, match="holds 5 records, but its manifest states 4"):
        target.load(store)
    assert target.ids() == []


def test_newer_generation_replaces_landed_tables(target: LoadTarget, store: MemoryStore) -> None:
    """A late record adds a part to the window; the rows of both parts replace those of the first."""
    target.load(store)
    commit(store, window(), [record(DAY_1 + timedelta(seconds=1), "late")], format_=NORMALIZED)
    assert target.load(store).record_count == 6
    assert target.ids() == ["late", "r0", "r1", "r2", "r3", "r4"]


def _rewrite_manifest(store: MemoryStore, **changes: Any) -> None:
    """Changes the only part in the first window's manifest, as a wrong writer would have written it."""
    key = WindowKeys(window(), DAY_1.date()).manifest(1)
    manifest: Manifest = read_manifest(key, store.objects[key])
    part: Part = msgspec.structs.replace(manifest.parts[0], **changes)
    changed = msgspec.structs.replace(manifest, parts=(part,), record_count=part.record_count)
    store.objects[key] = msgspec.structs.replace(changed, added_count=part.record_count).to_bytes()


# -- DuckDB ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def inserts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts which way DuckDB took the rows: ``file`` or ``tables``, once for each insert."""
    counts: Counter[str] = Counter()
    add_file, add = DuckDbSession.add_file, DuckDbSession.add

    def counted_file(*given: Any) -> bool:
        is_added = add_file(*given)
        counts["file"] += is_added
        return is_added

    def counted(*given: Any) -> None:
        counts["tables"] += 1
        add(*given)

    monkeypatch.setattr(DuckDbSession, "add_file", counted_file)
    monkeypatch.setattr(DuckDbSession, "add", counted)
    return counts


def test_duckdb_reads_the_file_itself(
    duckdb_target: LoadTarget,
    store: MemoryStore,
    inserts: Counter[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DuckDB takes a part by one insert from a temporary copy, which is gone afterwards."""
    (tmp_path / "spilled").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spilled"))
    assert duckdb_target.load(store).record_count == 5
    assert inserts == {"file": 1}
    assert list((tmp_path / "spilled").iterdir()) == []


def test_duckdb_leaves_no_copy_after_an_error(
    duckdb_target: LoadTarget, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary copy is removed if DuckDB refuses the rows, and nothing is loaded."""
    duckdb_target.load(MemoryStore(store.objects), "other")
    duckdb_target.query("create unique index one on audit (id)")
    (tmp_path / "spilled").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spilled"))
    with pytest.raises(ConfigurationError, match="Remove the constraint"):
        duckdb_target.load(store)
    assert list((tmp_path / "spilled").iterdir()) == []
    assert len(duckdb_target.ids()) == 5


@pytest.mark.parametrize("folder", ["missing", "folder[1]", "any*"])
def test_duckdb_takes_tables_where_it_cannot_read_the_copy(
    duckdb_target: LoadTarget,
    store: MemoryStore,
    inserts: Counter[str],
    tmp_path: Path,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a place for the copy, and where its path would be a pattern, DuckDB takes Arrow tables from memory."""
    if folder != "missing":
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / folder))
    assert duckdb_target.load(store).record_count == 5
    assert inserts == {"tables": 1, "file": 0}
    assert len(duckdb_target.ids()) == 5


def test_duckdb_takes_tables_if_statements_may_not_read_files(
    duckdb_target: LoadTarget, store: MemoryStore, inserts: Counter[str]
) -> None:
    """A connection of the caller that forbids access to files is loaded all the same."""
    with closing(duckdb.connect(duckdb_target.address, config={"enable_external_access": "false"})) as connection:
        warehouse = SqlWarehouse(DuckDbSession(connection), table_name(duckdb_target.table))
        assert load_committed(LoadSpec("d", DESTINATION), store, warehouse, lambda _: None).record_count == 5
    assert inserts == {"tables": 1, "file": 0}


def test_duckdb_takes_large_records_as_tables(duckdb_target: LoadTarget, inserts: Counter[str]) -> None:
    """Records above 8 KiB come as Arrow tables, because DuckDB's reader takes two thousand rows at a time."""
    store, size = MemoryStore(), duckdb_sessions._MAX_RECORD_BYTES
    large = [record(DAY_1 + timedelta(seconds=number), f"r{number}", "x" * size) for number in range(2000)]
    commit(store, window(), large, format_=NORMALIZED)
    assert duckdb_target.load(store).record_count == 2000
    assert inserts == {"tables": 1, "file": 0}


def test_duckdb_gathers_rows_of_other_forms(
    duckdb_target: LoadTarget, inserts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The groups of a window in JSON Lines are one insert until they have 32 MiB."""
    monkeypatch.setattr(committed, "_GROUP_RECORDS", 100)
    store = MemoryStore()
    commit(store, window(), records_in(window(), 1050))
    assert duckdb_target.load(store).record_count == 1050
    assert inserts == {"tables": 1}
    monkeypatch.setattr(duckdb_sessions.DuckDbSession, "insert_bytes", 50_000)
    assert duckdb_target.load(store, "other").record_count == 1050
    assert inserts["tables"] > 2


@pytest.mark.parametrize("text_bytes", [300, 200_000])
def test_duckdb_without_memory_names_the_limit(duckdb_target: LoadTarget, text_bytes: int) -> None:
    """DuckDB out of memory, while it takes rows or while it commits, is an error that names memory_limit."""
    store, count = MemoryStore(), 40_000_000 // text_bytes // 4
    records = [record(DAY_1 + timedelta(milliseconds=n), f"r{n}", "x" * text_bytes) for n in range(count)]
    commit(store, window(), records, format_=NORMALIZED)
    with (
        closing(duckdb_target.open("1MB")) as warehouse,
        pytest.raises(ConfigurationError, match="Increase memory_limit"),
    ):
        load_committed(LoadSpec("d", DESTINATION), store, warehouse, lambda _: None)
    assert duckdb_target.load(store).record_count == count
