"""Loads into every warehouse: each record once, newer generations replace older ones, errors leave nothing behind."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.warehouse.load_plan import PlannedLoad
from airflow_audit_provider.core.warehouse.port import ColumnType, LoadClaim, SqlColumn
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError, WarehouseBusyError
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.formats.warehouse_rows import arrow_rows, table_columns
from airflow_audit_provider.pipelines import committed
from airflow_audit_provider.pipelines import load as loading
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from tests.formats.odd_records import VALUES, WHEN, records_of
from tests.pipelines.load.warehouses import DESTINATION, LoadTarget
from tests.pipelines.verify.dataset import DAY_1, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore

IDS = ["late", "r0", "r1", "r2", "s0", "s1"]


@pytest.fixture
def store() -> MemoryStore:
    """A destination with late records, an empty window and a replaced one."""
    store = MemoryStore()
    two_days(store)
    return store


def test_each_record_is_one_row(target: LoadTarget, store: MemoryStore) -> None:
    """Every committed record is a row of its window, and a second load changes nothing."""
    first = target.load(store)
    digest = target.digest()
    again = target.load(store)
    assert target.ids() == IDS
    assert (len(first.loaded), first.record_count, first.unchanged_count) == (3, 6, 0)
    assert (len(again.loaded), again.record_count, again.unchanged_count) == (0, 0, 3)
    assert target.digest() == digest


def test_newer_generation_replaces_its_window(target: LoadTarget, store: MemoryStore) -> None:
    """A late record and a replacement replace the rows of their windows; other windows stay unchanged."""
    target.load(store)
    commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
    commit(store, window(1), records_in(window(1), 3, "t"), replace=True)
    outcome = target.load(store)
    assert [one.replaced_generation for one in outcome.loaded] == [2, 2]
    assert outcome.unchanged_count == 1
    assert target.ids() == ["late", "later", "r0", "r1", "r2", "t0", "t1", "t2"]


def test_datasets_are_independent(target: LoadTarget, store: MemoryStore) -> None:
    """Equal windows of two destinations have separate rows, and a replacement in one leaves the other unchanged."""
    other = MemoryStore()
    commit(other, window(), records_in(window(), 2, "o"))
    target.load(store, "one")
    target.load(other, "two")
    commit(other, window(), [record(DAY_1 + timedelta(seconds=3), "o9")])
    target.load(other, "two")
    assert target.ids() == sorted([*IDS, "o0", "o1", "o9"])


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_rows_do_not_depend_on_the_file_format(target: LoadTarget, file_format: str) -> None:
    """The same records give the same rows from every file format."""
    plain, other = MemoryStore(), MemoryStore()
    commit(plain, window(), records_in(window(), 5))
    commit(other, window(), records_in(window(), 5), format_=part_format(file_format))
    target.load(plain)
    digest = target.digest()
    target.drop()
    target.load(other)
    assert target.digest() == digest


@pytest.mark.parametrize("damaged", [[0], [1], [0, 1]])
def test_damaged_part_loads_nothing(target: LoadTarget, store: MemoryStore, damaged: list[int]) -> None:
    """A part that differs from its manifest fails the load; nothing of its window is loaded, all other windows are."""
    keys = [key for key in store.objects if "/part-" in key and key.endswith("jsonl")]
    damaged_keys = [min(key for key in keys if key.startswith(f"dt={window(day).start.date()}")) for day in damaged]
    for key in damaged_keys:
        store.objects[key] = store.objects[key][:-1]
    with pytest.raises(VerificationError, match=damaged_keys[0]):
        target.load(store)
    whole = {0: ["late", "r0", "r1", "r2"], 1: ["s0", "s1"]}
    assert target.ids() == sorted(each for day, ids in whole.items() if day not in damaged for each in ids)
    with closing(target.open()) as warehouse:
        warehouse.prepare(table_columns())
        loaded_windows = {entry.window for entry in warehouse.loaded("d")}
    assert loaded_windows == {window(), window(0.5), window(1)} - {window(day) for day in damaged}


def test_error_after_the_rows_rolls_back(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error after the new rows rolls them back, and the rows to be replaced stay."""
    target.load(store)
    digest = target.digest()
    commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
    monkeypatch.setattr("airflow_audit_provider.pipelines.load.check_row_count", _fail)
    with pytest.raises(ZeroDivisionError):
        target.load(store)
    monkeypatch.undo()
    assert target.digest() == digest
    assert len(target.load(store).loaded) == 1


def _fail(*_: Any) -> None:
    raise ZeroDivisionError


def test_row_count_that_differs_from_the_manifest_fails(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the row count differs from the manifest, nothing of the window is committed."""
    monkeypatch.setattr(loading, "arrow_rows", lambda *given: arrow_rows(*given).slice(1))
    with pytest.raises(VerificationError, match="rows of"):
        target.load(store)
    assert target.ids() == []
    monkeypatch.undo()
    assert len(target.load(store).loaded) == 2


def test_record_outside_its_window_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A part with a record of another day is not loaded, because a replacement would not find its row."""
    commit(store, window(2), [record(DAY_1 + timedelta(days=3), "stray")])
    with pytest.raises(VerificationError, match="outside"):
        target.load(store)
    assert target.ids() == IDS


@pytest.mark.parametrize("generations", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_second_claim_of_a_window_fails(target: LoadTarget, store: MemoryStore, generations: tuple[int, int]) -> None:
    """Of two loaders that read the same ledger, whatever their generations, the second claim fails."""
    first, second = (PlannedLoad(window(), "", number) for number in generations)
    with closing(target.open()) as warehouse:
        warehouse.prepare(table_columns())
        manifest = commit(MemoryStore(), window(), [])
        with warehouse.replacing(first.claim("d", DESTINATION, CommittedManifest(manifest, "", "1" * 64), None)):
            pass
        with (
            pytest.raises(WarehouseBusyError),
            warehouse.replacing(second.claim("d", DESTINATION, CommittedManifest(manifest, "", "2" * 64), None)),
        ):
            pass
        (entry,) = warehouse.loaded("d")
    assert (entry.generation, entry.manifest_sha256) == (generations[0], "1" * 64)


def test_loader_that_lost_the_race_plans_again(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that loses the race between its plan and its claim finds the window loaded and adds nothing."""
    real, has_lost = PlannedLoad.claim, [False]

    def claim_after_another(planned: PlannedLoad, *facts: Any) -> LoadClaim:
        if not has_lost[0]:
            has_lost[0] = True
            target.load(store)
        return real(planned, *facts)

    target.load(MemoryStore(store.objects), "other")
    monkeypatch.setattr(PlannedLoad, "claim", claim_after_another)
    outcome = target.load(store)
    assert (len(outcome.loaded), outcome.unchanged_count) == (0, 3)
    assert target.ids() == sorted(IDS * 2)


def test_parts_removed_by_a_replacement_load_the_newer_generation(
    target: LoadTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load whose parts are removed by a newer generation loads that generation."""
    store, real, is_replaced = MemoryStore(), PlannedLoad.claim, [False]
    commit(store, window(), records_in(window(), 2))

    def replace(planned: PlannedLoad, *facts: Any) -> LoadClaim:
        claim = real(planned, *facts)
        if not is_replaced[0]:
            is_replaced[0] = True
            commit(store, window(), records_in(window(), 3, "n"), replace=True)
        return claim

    monkeypatch.setattr(PlannedLoad, "claim", replace)
    assert [one.generation for one in target.load(store).loaded] == [2]
    assert target.ids() == ["n0", "n1", "n2"]


def test_new_column_is_added(target: LoadTarget, store: MemoryStore) -> None:
    """A column of a later schema version is added to the table and is null in older rows."""
    target.load(store)
    columns = (*table_columns(), SqlColumn("severity", ColumnType.INTEGER))
    with closing(target.open()) as warehouse:
        warehouse.prepare(columns)
        warehouse.prepare(columns)
    assert {row[-1] for row in target.rows()} == {None}
    commit(store, window(2), records_in(window(2), 1, "u"))
    target.load(store)
    assert target.ids() == sorted([*IDS, "u0"])


def test_column_of_another_type_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A table with a column of another type is a configuration error."""
    target.load(store)
    changed = [
        column._replace(type=ColumnType.INTEGER) if column.name == "id" else column for column in table_columns()
    ]
    with closing(target.open()) as warehouse, pytest.raises(ConfigurationError, match="id"):
        warehouse.prepare(changed)


def test_special_characters_are_loaded(target: LoadTarget) -> None:
    """Quotes, line ends, backslashes and U+0000 are loaded; PostgreSQL has U+FFFD for U+0000."""
    store = MemoryStore()
    special = ['"', "a,b\r\n", "\\.", "\U0001f600", "x\0y", "'--", "\\N"]
    commit(store, window(), [record(DAY_1 + timedelta(seconds=n), text) for n, text in enumerate(special)])
    target.load(store)
    kept = [text.replace("\0", "\ufffd") if target.kind.startswith("psycopg") else text for text in special]
    assert sorted(target.ids()) == sorted(kept)


def test_large_window_comes_in_groups(target: LoadTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of many groups and many data files is one load."""
    monkeypatch.setattr("airflow_audit_provider.pipelines.committed._GROUP_RECORDS", 100)
    monkeypatch.setattr("airflow_audit_provider.adapters.warehouses.iceberg._FILE_BUFFER_BYTES", 50_000)
    monkeypatch.setattr("airflow_audit_provider.adapters.warehouses.delta_files._GROUP_BYTES", 50_000)
    monkeypatch.setattr("airflow_audit_provider.adapters.warehouses.delta_files._FILE_BYTES", 50_000)
    store = MemoryStore()
    commit(store, window(), records_in(window(), 1050))
    assert target.load(store).record_count == 1050
    assert len(target.ids()) == len(set(target.ids())) == 1050


def test_large_records_come_in_small_groups(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group ends as soon as its records have so many bytes, however few they are; no record is lost."""
    monkeypatch.setattr(committed, "_GROUP_BYTES", 5_000)
    large = [record(DAY_1 + timedelta(seconds=number), f"r{number}", "x" * 1_500) for number in range(10)]
    groups = list(committed.grouped(iter(large)))
    assert [len(group) for group in groups] == [4, 4, 2]
    assert [each for group in groups for each in group] == large


def test_requested_windows_alone_are_loaded(target: LoadTarget, store: MemoryStore) -> None:
    """Only requested windows are loaded; the others stay pending."""
    with closing(target.open()) as warehouse:
        load_committed(LoadSpec("d", DESTINATION, (window(1),)), store, warehouse, lambda _: None)
    assert target.ids() == ["s0", "s1"]
    assert len(target.load(store).loaded) == 2


def test_values_of_unexpected_types_are_loaded(target: LoadTarget) -> None:
    """A value of an unexpected type is null or text in its column, and its record is a row all the same."""
    raws = [
        b'{"id":"odd%d","when":"%s","actor":{"email":%s},"action":{"result":%s},"metadata":%s,"newValueJson":%s}'
        % (number, WHEN.encode(), value, value, value, value)
        for number, value in enumerate(VALUES.values())
    ]
    store, day = MemoryStore(), TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
    records = records_of(ApiVersion.V1, *raws)
    commit(store, day, records)
    assert target.load(store).record_count == len(raws)
    assert target.ids() == sorted(record.id for record in records)
