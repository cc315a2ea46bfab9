"""Loading keeps its promises in every warehouse: once, whole, replaced by newer generations, nothing by halves."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.warehouse.load_plan import PlannedLoad
from airflow_audit_provider.core.warehouse.port import ColumnType, LoadClaim, SqlColumn
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError, WarehouseBusyError
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.formats.warehouse_rows import arrow_rows, table_columns
from airflow_audit_provider.pipelines import load as loading
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from tests.formats.odd_records import VALUES, WHEN, records_of
from tests.pipelines.load.warehouses import Place
from tests.pipelines.verify.dataset import DAY_1, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore

IDS = ["late", "r0", "r1", "r2", "s0", "s1"]


@pytest.fixture
def store() -> MemoryStore:
    """A store with late records, an empty window and a replaced one."""
    store = MemoryStore()
    two_days(store)
    return store


def test_each_record_is_one_row(place: Place, store: MemoryStore) -> None:
    """Every committed record is a row of its window, and a second load changes nothing."""
    first = place.load(store)
    digest = place.digest()
    again = place.load(store)
    assert place.ids() == IDS
    assert (len(first.loaded), first.record_count, first.unchanged_count) == (3, 6, 0)
    assert (len(again.loaded), again.record_count, again.unchanged_count) == (0, 0, 3)
    assert place.digest() == digest


def test_newer_generation_replaces_its_window(place: Place, store: MemoryStore) -> None:
    """A late record and a replacement are loaded in place of what the window had; other windows stay as they are."""
    place.load(store)
    commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
    commit(store, window(1), records_in(window(1), 3, "t"), replace=True)
    outcome = place.load(store)
    assert [one.replaced_generation for one in outcome.loaded] == [2, 2]
    assert outcome.unchanged_count == 1
    assert place.ids() == ["late", "later", "r0", "r1", "r2", "t0", "t1", "t2"]


def test_datasets_do_not_touch_each_other(place: Place, store: MemoryStore) -> None:
    """The same windows of another destination are rows of their own, and replacing one leaves the other."""
    other = MemoryStore()
    commit(other, window(), records_in(window(), 2, "o"))
    place.load(store, "one")
    place.load(other, "two")
    commit(other, window(), [record(DAY_1 + timedelta(seconds=3), "o9")])
    place.load(other, "two")
    assert place.ids() == sorted([*IDS, "o0", "o1", "o9"])


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_rows_do_not_depend_on_the_file_format(place: Place, file_format: str) -> None:
    """The same records from other files are the same rows."""
    plain, other = MemoryStore(), MemoryStore()
    commit(plain, window(), records_in(window(), 5))
    commit(other, window(), records_in(window(), 5), chosen=part_format(file_format))
    place.load(plain)
    digest = place.digest()
    place.drop()
    place.load(other)
    assert place.digest() == digest


@pytest.mark.parametrize("damaged", [[0], [1], [0, 1]])
def test_damaged_part_loads_nothing(place: Place, store: MemoryStore, damaged: list[int]) -> None:
    """A part that is not what its manifest says fails the load, and of its window nothing is there; the others are."""
    keys = [key for key in store.objects if "/part-" in key and key.endswith("jsonl")]
    doomed = [min(key for key in keys if key.startswith(f"dt={window(day).start.date()}")) for day in damaged]
    for key in doomed:
        store.objects[key] = store.objects[key][:-1]
    with pytest.raises(VerificationError, match=doomed[0]):
        place.load(store)
    whole = {0: ["late", "r0", "r1", "r2"], 1: ["s0", "s1"]}
    assert place.ids() == sorted(each for day, ids in whole.items() if day not in damaged for each in ids)
    with closing(place.open()) as warehouse:
        warehouse.prepare(table_columns())
        entered = {entry.window for entry in warehouse.loaded("d")}
    assert entered == {window(), window(0.5), window(1)} - {window(day) for day in damaged}


def test_what_fails_inside_leaves_nothing(place: Place, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error after the rows takes them back, and those to be replaced stay."""
    place.load(store)
    digest = place.digest()
    commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
    monkeypatch.setattr("airflow_audit_provider.pipelines.load.check_row_count", _fail)
    with pytest.raises(ZeroDivisionError):
        place.load(store)
    monkeypatch.undo()
    assert place.digest() == digest
    assert len(place.load(store).loaded) == 1


def _fail(*_: Any) -> None:
    raise ZeroDivisionError


def test_other_count_than_the_manifests_is_refused(
    place: Place, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the warehouse counts other rows than the manifest has records, nothing of the window is committed."""
    monkeypatch.setattr(loading, "arrow_rows", lambda *given: arrow_rows(*given).slice(1))
    with pytest.raises(VerificationError, match="rows of"):
        place.load(store)
    assert place.ids() == []
    monkeypatch.undo()
    assert len(place.load(store).loaded) == 2


def test_record_outside_its_window_is_refused(place: Place, store: MemoryStore) -> None:
    """A part with a record of another day is not loaded, since a replacement would not look for it there."""
    commit(store, window(2), [record(DAY_1 + timedelta(days=3), "stray")])
    with pytest.raises(VerificationError, match="outside"):
        place.load(store)
    assert place.ids() == IDS


@pytest.mark.parametrize("generations", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_one_of_two_claims_wins(place: Place, store: MemoryStore, generations: tuple[int, int]) -> None:
    """Of two loaders that read the same ledger, whichever generations they hold, the second one has no claim."""
    first, second = (PlannedLoad(window(), "", number, 0) for number in generations)
    with closing(place.open()) as warehouse:
        warehouse.prepare(table_columns())
        manifest = commit(MemoryStore(), window(), [])
        with warehouse.replacing(first.claim("d", manifest, "1" * 64)):
            pass
        with (
            pytest.raises(WarehouseBusyError),
            warehouse.replacing(second.claim("d", manifest, "2" * 64)),
        ):
            pass
        (entry,) = warehouse.loaded("d")
    assert (entry.generation, entry.manifest_sha256) == (generations[0], "1" * 64)


def test_loser_of_a_race_looks_again(place: Place, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that is outrun between its plan and its claim finds the window loaded, and adds nothing."""
    real, is_outrun = PlannedLoad.claim, [False]

    def outrun(planned: PlannedLoad, *facts: Any) -> LoadClaim:
        if not is_outrun[0]:
            is_outrun[0] = True
            place.load(store)
        return real(planned, *facts)

    place.load(MemoryStore(store.objects), "other")
    monkeypatch.setattr(PlannedLoad, "claim", outrun)
    outcome = place.load(store)
    assert (len(outcome.loaded), outcome.unchanged_count) == (0, 3)
    assert place.ids() == sorted(IDS * 2)


def test_parts_that_a_replacement_removed_meanwhile(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load whose parts vanish because a newer generation replaced them loads that one."""
    store, real, is_replaced = MemoryStore(), PlannedLoad.claim, [False]
    commit(store, window(), records_in(window(), 2))

    def replace(planned: PlannedLoad, *facts: Any) -> LoadClaim:
        claim = real(planned, *facts)
        if not is_replaced[0]:
            is_replaced[0] = True
            commit(store, window(), records_in(window(), 3, "n"), replace=True)
        return claim

    monkeypatch.setattr(PlannedLoad, "claim", replace)
    assert [one.generation for one in place.load(store).loaded] == [2]
    assert place.ids() == ["n0", "n1", "n2"]


def test_new_column_is_added(place: Place, store: MemoryStore) -> None:
    """A column of a later schema version is added to the table, null in older rows."""
    place.load(store)
    columns = (*table_columns(), SqlColumn("severity", ColumnType.INTEGER))
    with closing(place.open()) as warehouse:
        warehouse.prepare(columns)
        warehouse.prepare(columns)
    assert {row[-1] for row in place.rows()} == {None}
    commit(store, window(2), records_in(window(2), 1, "u"))
    place.load(store)
    assert place.ids() == sorted([*IDS, "u0"])


def test_column_of_another_type_is_refused(place: Place, store: MemoryStore) -> None:
    """A table whose column has another type is no table to load into."""
    place.load(store)
    changed = [
        column._replace(type=ColumnType.INTEGER) if column.name == "id" else column for column in table_columns()
    ]
    with closing(place.open()) as warehouse, pytest.raises(ConfigurationError, match="id"):
        warehouse.prepare(changed)


def test_strange_text_is_a_row(place: Place) -> None:
    """Quotes, line ends, empty texts, characters outside of the plane and U+0000 are loaded; nulls stay nulls."""
    store = MemoryStore()
    strange = ['"', "a,b\r\n", "\\.", "\U0001f600", "x\0y", "'--", "\\N"]
    commit(store, window(), [record(DAY_1 + timedelta(seconds=n), text) for n, text in enumerate(strange)])
    place.load(store)
    kept = [text.replace("\0", "\ufffd") if place.kind.startswith("psycopg") else text for text in strange]
    assert sorted(place.ids()) == sorted(kept)


def test_large_window_comes_in_groups(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of many groups and many files is one load."""
    monkeypatch.setattr("airflow_audit_provider.pipelines.load._GROUP_RECORDS", 100)
    monkeypatch.setattr("airflow_audit_provider.adapters.warehouses.iceberg._FILE_BUFFER_BYTES", 50_000)
    store = MemoryStore()
    commit(store, window(), records_in(window(), 1050))
    assert place.load(store).record_count == 1050
    assert len(place.ids()) == len(set(place.ids())) == 1050


def test_large_records_come_in_small_groups(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group ends when its records' text is large enough, however few they are; none is lost."""
    monkeypatch.setattr(loading, "_GROUP_BYTES", 5_000)
    large = [record(DAY_1 + timedelta(seconds=number), f"r{number}", "x" * 1_500) for number in range(10)]
    groups = list(loading._grouped(iter(large)))
    assert [len(group) for group in groups] == [4, 4, 2]
    assert [each for group in groups for each in group] == large


def test_order_may_name_windows(place: Place, store: MemoryStore) -> None:
    """Only asked windows are loaded; the others stay pending."""
    with closing(place.open()) as warehouse:
        load_committed(LoadSpec("d", (window(1),)), store, warehouse, lambda _: None)
    assert place.ids() == ["s0", "s1"]
    assert len(place.load(store).loaded) == 2


def test_odd_values_never_fail_a_load(place: Place) -> None:
    """A value of another kind than its column's is null or text there, whole in ``raw``, and its record is a row."""
    raws = [
        b'{"id":"odd%d","when":"%s","actor":{"email":%s},"action":{"result":%s},"metadata":%s,"newValueJson":%s}'
        % (number, WHEN.encode(), value, value, value, value)
        for number, value in enumerate(VALUES.values())
    ]
    store, day = MemoryStore(), TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
    records = records_of(ApiVersion.V1, *raws)
    commit(store, day, records)
    assert place.load(store).record_count == len(raws)
    assert place.ids() == sorted(record.id for record in records)
