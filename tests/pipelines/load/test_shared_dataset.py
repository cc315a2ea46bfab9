"""Destinations and the load ledger: another manifest is a replacement or a named conflict, never unchanged."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError, VerificationError
from airflow_audit_provider.formats.warehouse_rows import table_columns
from tests.pipelines.load.warehouses import LoadTarget
from tests.pipelines.verify.dataset import DAY_1, commit, record, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

HERE, ELSEWHERE = "s3://here/audit", "s3://elsewhere/audit"


def landed(prefix: str, *counts: int, first_day: int = 0) -> MemoryStore:
    """Returns a destination with so many records in each of its windows, one for each day."""
    store = MemoryStore()
    for day, count in enumerate(counts, first_day):
        commit(store, window(day), records_in(window(day), count, f"{prefix}{day}-"))
    return store


def add_late(store: MemoryStore, record_id: str) -> None:
    """Commits a late record, and so a new generation, in the first window."""
    commit(store, window(), [record(DAY_1 + timedelta(seconds=len(record_id)), record_id)])


@pytest.mark.parametrize("first_day", [0, 1], ids=["same windows", "other windows"])
def test_two_destinations_under_one_dataset_fail(target: LoadTarget, first_day: int) -> None:
    """A second destination under the same dataset name is a configuration error, and changes nothing."""
    ours, theirs = landed("a", 4), landed("b", 6, first_day=first_day)
    target.load(ours, destination=HERE)
    digest = target.digest()
    with pytest.raises(ConfigurationError, match=f"{HERE}.*{ELSEWHERE}.*dataset name of its own"):
        target.load(theirs, destination=ELSEWHERE)
    assert target.digest() == digest
    assert target.load(theirs, "theirs", ELSEWHERE).record_count == 6
    assert target.load(ours, destination=HERE).unchanged_count == 1


@pytest.mark.parametrize("late", [0, 1, 3], ids="{} late before the wipe".format)
def test_destination_landed_anew_replaces_its_rows(target: LoadTarget, late: int) -> None:
    """A destination landed anew replaces the loaded rows, whatever the generations."""
    store, anew = landed("a", 2, 3), landed("b", 4, 1)
    for number in range(late):
        add_late(store, f"late{'+' * number}")
    target.load(store)
    add_late(anew, "b-late")
    outcome = target.load(anew)
    assert [one.is_landed_anew for one in outcome.loaded] == [True, True]
    assert [one.replaced_generation for one in outcome.loaded] == [1 + late, 1]
    assert target.ids() == ["b-late", "b0-0", "b0-1", "b0-2", "b0-3", "b1-0"]
    assert target.load(anew).unchanged_count == 2
    add_late(anew, "later")
    (loaded,) = target.load(anew).loaded
    assert (loaded.replaced_generation, loaded.is_landed_anew) == (2, False)


def test_empty_window_landed_anew_replaces_its_rows(target: LoadTarget) -> None:
    """A window landed anew without records has no rows."""
    target.load(landed("a", 2))
    target.load(landed("b", 0))
    assert target.ids() == []


def test_two_stores_with_one_uri_do_not_take_turns(target: LoadTarget) -> None:
    """If replaced manifests come back, the load fails and changes nothing."""
    ours, theirs = landed("a", 2), landed("b", 3)
    target.load(ours)
    target.load(theirs)
    digest = target.digest()
    with pytest.raises(ConfigurationError, match="Give each object store a dataset name of its own"):
        target.load(ours)
    assert target.digest() == digest


def test_copied_destination_continues(target: LoadTarget) -> None:
    """A copy with equal manifests is unchanged and its late records are loaded; then the original is a conflict."""
    original = landed("a", 2, 0)
    copy = MemoryStore(original.objects)
    target.load(original, destination=HERE)
    assert target.load(copy, destination=ELSEWHERE).unchanged_count == 2
    add_late(copy, "late")
    assert len(target.load(copy, destination=ELSEWHERE).loaded) == 1
    add_late(original, "later")
    with pytest.raises(ConfigurationError, match="dataset name of its own"):
        target.load(original, destination=HERE)
    assert target.ids() == ["a0-0", "a0-1", "late"]


def test_lost_window_is_an_error_after_the_others_are_loaded(target: LoadTarget) -> None:
    """A loaded window or generation that the destination has lost is an error; every other window is loaded first."""
    store = landed("a", 2, 1)
    add_late(store, "late")
    target.load(store)
    for key in [key for key in store.objects if key.endswith(".g0002.json") or "/dt=2026-10-27/" in f"/{key}"]:
        del store.objects[key]
    commit(store, window(2), records_in(window(2), 1, "c"))
    with pytest.raises(VerificationError, match=r"Generation 2 of .* is loaded, but the destination's newest is 1"):
        target.load(store)
    assert target.ids() == ["a0-0", "a0-1", "a1-0", "c0", "late"]


def test_ledger_of_an_earlier_release_fails(target: LoadTarget) -> None:
    """A ledger without the columns, or with other properties, of this release is an error that names the remedy."""
    target.load(landed("a", 2))
    if target.kind == "iceberg":
        key = next(name for name in target.iceberg_table().properties if name.startswith("audit.load"))
        with target.iceberg_table().transaction() as transaction:
            transaction.set_properties({key: f"1 2 {'0' * 64}"})
    elif target.kind == "delta":
        log = Path(target.delta_uri) / "_delta_log"
        for path in log.glob("*.json"):
            path.write_text(path.read_text().replace('\\"destination\\"', '\\"place\\"'))
    else:
        target.query(f"alter table {target.table}_loads drop column destination")
    with pytest.raises(ConfigurationError, match=r"before 1\.0\.0rc1|another program wrote it") as caught:
        target.load(landed("a", 2))
    assert "loads every window again" in str(caught.value) or "every window is loaded again" in str(caught.value)


def test_dropped_ledger_loads_every_window_again(target: LoadTarget) -> None:
    """Without its ledger every window is loaded again, and replaces its rows."""
    store = landed("a", 2, 1)
    target.load(store)
    digest = target.digest()
    if target.kind == "iceberg":
        table = target.iceberg_table()
        with table.transaction() as transaction:
            transaction.remove_properties(*[name for name in table.properties if name.startswith("audit.load")])
    elif target.kind == "delta":
        DeltaTable(target.delta_uri).alter.set_table_properties({"audit.ledger": "2"}, raise_if_not_exists=False)
    else:
        target.query(f"drop table {target.table}_loads")
    assert len(target.load(store).loaded) == 2
    assert target.digest() == digest


def test_ledger_records_the_destination(target: LoadTarget) -> None:
    """An entry has the number of the load, the generation, the digests and the destination."""
    store = landed("a", 2)
    add_late(store, "late")
    target.load(store, destination=HERE)
    anew = landed("b", 3)
    target.load(anew, destination=HERE)
    with closing(target.open()) as warehouse:
        warehouse.prepare(table_columns())
        (entry,) = warehouse.loaded("d")
    assert (entry.load_number, entry.generation, entry.record_count, entry.destination) == (2, 1, 3, HERE)
    assert entry.first_sha256 == entry.manifest_sha256
    assert len(entry.superseded) == 1


def test_overtaken_loader_reports_the_conflict(target: LoadTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another destination's load is first, between plan and claim, the load fails with the named conflict."""
    ours, theirs = landed("a", 4), landed("b", 6)
    real = MemoryStore.read

    def load_theirs_first(store: MemoryStore, key: str) -> bytes | None:
        if store is ours and not theirs_loaded:
            theirs_loaded.append(True)
            target.load(theirs, destination=ELSEWHERE)
        return real(store, key)

    theirs_loaded: list[bool] = []
    monkeypatch.setattr(MemoryStore, "read", load_theirs_first)
    with pytest.raises(AuditProviderError, match="dataset name of its own"):
        target.load(ours, destination=HERE)
    assert len(target.ids()) == 6
