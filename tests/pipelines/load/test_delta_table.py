"""Delta tables: one commit for each window, crashes at every step, conflicts, merged files, and refused tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import CommitFailedError
from deltalake.schema import PrimitiveType
from deltalake.table import TableAlterer

from airflow_audit_provider.adapters.warehouses import delta, delta_ledger
from airflow_audit_provider.adapters.warehouses.delta import open_delta
from airflow_audit_provider.adapters.warehouses.delta_files import RowFileWriter, files_in
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.warehouse.load_plan import PlannedLoad
from airflow_audit_provider.core.warehouse.port import LoadClaim, LoadPosition, Warehouse
from airflow_audit_provider.exceptions import (
    ConfigurationError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)
from airflow_audit_provider.formats.warehouse_rows import arrow_rows, table_columns
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.load.delta_tables import live_files, log_actions
from tests.pipelines.load.warehouses import DESTINATION, LoadTarget
from tests.pipelines.verify.dataset import DAY_1, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore

IDS = ["late", "r0", "r1", "r2", "s0", "s1"]


@pytest.fixture
def target(tmp_path: Path) -> LoadTarget:
    """An empty folder of a Delta table."""
    return LoadTarget("delta", str(tmp_path), "records")


@pytest.fixture
def store(target: LoadTarget) -> MemoryStore:
    """A destination with three windows, all loaded."""
    store = MemoryStore()
    two_days(store)
    target.load(store)
    return store


def _folder(target: LoadTarget) -> Path:
    return Path(target.delta_uri)


def _add_late(store: MemoryStore, seconds: int = 2) -> None:
    commit(store, window(), [record(DAY_1 + timedelta(seconds=seconds), f"later{seconds}")])


def test_each_window_is_one_commit_with_its_digest(target: LoadTarget, store: MemoryStore) -> None:
    """A load and a replacement are one commit each, with window, generation and manifest digest in its facts."""
    _add_late(store)
    target.load(store)
    facts = [one for one in DeltaTable(target.delta_uri).history() if "audit.window-start" in one]
    assert len(facts) == 4
    digests = {hashlib.sha256(content).hexdigest() for key, content in store.objects.items() if "_manifests" in key}
    assert {one["audit.manifest-sha256"] for one in facts} <= digests
    assert (facts[0]["audit.generation"], facts[0]["audit.record-count"]) == ("3", "5")
    assert facts[0]["audit.window-start"] == window().start.isoformat()


def test_deltalake_reads_the_same_rows_and_statistics(target: LoadTarget, store: MemoryStore) -> None:
    """Deltalake's own reader has each record once, and finds a day by the statistics of its files."""
    table = DeltaTable(target.delta_uri)
    assert sorted(map(str, table.to_pyarrow_table()["id"].to_pylist())) == IDS
    listed = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    assert sum(row["num_records"] for row in listed) == 6
    assert all(row["min.event_time"] >= row["min.window_start"] for row in listed)
    assert {row["min.dataset"] for row in listed} == {row["max.dataset"] for row in listed} == {"d"}
    later = table.to_pyarrow_table(filters=[("event_time", ">=", window(1).start)])
    assert sorted(map(str, later["id"].to_pylist())) == ["s0", "s1"]


def test_merged_files_keep_other_windows(target: LoadTarget, store: MemoryStore) -> None:
    """If another engine has merged several windows into one file, replacing one of them keeps the others."""
    DeltaTable(target.delta_uri).optimize.compact()
    assert len(live_files(_folder(target))) == 1
    _add_late(store)
    target.load(store)
    assert target.ids() == sorted([*IDS, "later2"])
    DeltaTable(target.delta_uri).optimize.compact()
    commit(store, window(1), records_in(window(1), 1, "t"), replace=True)
    target.load(store)
    assert target.ids() == ["late", "later2", "r0", "r1", "r2", "t0"]


def test_ledger_survives_a_checkpoint_and_a_cleaned_log(target: LoadTarget, store: MemoryStore) -> None:
    """After the old commits are deleted the ledger comes from the checkpoint, and the next generation follows it."""
    table = DeltaTable(target.delta_uri)
    table.create_checkpoint()
    for path in (_folder(target) / "_delta_log").glob("*.json"):
        if int(path.stem) < table.version():
            path.unlink()
    assert target.load(store).unchanged_count == 3
    _add_late(store)
    assert [one.replaced_generation for one in target.load(store).loaded] == [2]
    assert target.ids() == sorted([*IDS, "later2"])


def test_log_that_is_cleaned_during_a_load_is_read_from_its_checkpoint(target: LoadTarget, store: MemoryStore) -> None:
    """A loader whose next commit is gone reads the newest checkpoint, and loses no entry."""
    with closing(target.open()) as slow:
        slow.prepare(table_columns())
        _add_late(store)
        target.load(store)
        table = DeltaTable(target.delta_uri)
        table.create_checkpoint()
        for path in (_folder(target) / "_delta_log").glob("*.json"):
            path.unlink()
        assert sorted(entry.generation for entry in slow.loaded("d")) == [1, 2, 3]


def test_newest_whole_checkpoint_counts() -> None:
    """Of several parts all must be there; JSON and unique names are checkpoints, other files are none."""
    name, unique = "{:020}.checkpoint{}".format, ".3a0d65cd-4056-49b8-937b-95f9e3ee90e5"
    parts = [name(7, f".{number:010}.0000000003.parquet") for number in (1, 2, 3)]
    newest = delta_ledger._newest_checkpoint
    assert newest([]) == newest(["_last_checkpoint", "00000000000000000007.json"]) == (-1, [])
    assert newest([name(3, ".parquet"), *parts]) == (7, parts)
    assert newest([name(3, ".parquet"), *parts[:2]]) == (3, [name(3, ".parquet")])
    assert newest([name(9, f"{unique}.json"), *parts]) == (9, [name(9, f"{unique}.json")])


def test_json_checkpoint_has_the_ledger(target: LoadTarget, store: MemoryStore) -> None:
    """A checkpoint of the second kind as JSON holds the same transactions."""
    log = _folder(target) / "_delta_log"
    version = DeltaTable(target.delta_uri).version()
    lines = [json.dumps(action) for action in log_actions(_folder(target)) if action.get("txn")]
    (log / f"{version:020}.checkpoint.{'3a0d65cd-4056-49b8-937b-95f9e3ee90e5'}.json").write_text("\n".join(lines))
    ledger = delta_ledger.DeltaLedger(files_in(target.delta_uri, {}), "1")
    (log / f"{0:020}.json").unlink()
    ledger.read_to(version)
    assert len(ledger.entries("d")) == ledger.window_count("d") == 3


class Crash(BaseException):
    """The process ends here."""


@contextmanager
def _crash_at(step: int, *, is_after: bool) -> Iterator[list[str]]:
    """Ends the process before or after the step of this number: a file operation or a commit."""
    steps: list[str] = []
    patches = pytest.MonkeyPatch()

    def patch(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def crashing(*given: Any, **named: Any) -> Any:
            steps.append(name)
            is_here = len(steps) == step
            if is_here and not is_after:
                raise Crash
            answer = real(*given, **named)
            if is_here:
                raise Crash
            return answer

        patches.setattr(owner, name, crashing)

    for name in ("create_write_transaction", "update_incremental"):
        patch(DeltaTable, name)
    for name in ("add_columns", "set_table_properties"):
        patch(TableAlterer, name)
    for name in ("_begin_file", "_end_file", "_flush"):
        patch(RowFileWriter, name)
    patch(delta_ledger.DeltaLedger, "read_to")
    # A process that is gone deletes nothing.
    patches.setattr(RowFileWriter, "discard", lambda _: None)
    try:
        yield steps
    finally:
        patches.undo()


@pytest.mark.integration
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_crash_at_every_step_leaves_whole_generations(tmp_path: Path, is_after: bool) -> None:
    """Wherever a loader ends, each window has the rows of one generation, and the next load completes them."""
    store, step, crashed = MemoryStore(), 0, set[str]()
    two_days(store)
    before = LoadTarget("delta", str(tmp_path), "before")
    before.load(store)
    old = before.ids()
    _add_late(store)
    commit(store, window(1), records_in(window(1), 3, "t"), replace=True)
    new = ["late", "later2", "r0", "r1", "r2", "t0", "t1", "t2"]
    mixed = sorted({*old, "later2"})
    steps: list[str] = []
    while True:
        step += 1
        target = LoadTarget("delta", str(tmp_path), f"step{step}")
        _copy(_folder(before), _folder(target))
        try:
            with _crash_at(step, is_after=is_after) as steps:
                target.load(store)
            break
        except Crash:
            crashed.add(steps[-1])
        assert target.ids() in (old, mixed, new)
        target.load(store)
        assert target.ids() == new
        assert target.load(store).unchanged_count == 3
    assert crashed >= {"create_write_transaction", "update_incremental", "_begin_file", "_end_file", "read_to"}
    assert step > 20


def _copy(source: Path, copy: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            at = copy / path.relative_to(source)
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_bytes(path.read_bytes())


Commit = Callable[..., None]


def _failing(real: Commit, error: Exception, *, lands: bool) -> Commit:
    def commit_and_fail(*given: Any, **named: Any) -> None:
        if lands:
            real(*given, **named)
        raise error

    return commit_and_fail


@pytest.mark.parametrize("error", [CommitFailedError("conflict"), OSError("error sending request")], ids=repr)
def test_commit_that_landed_counts_whatever_is_reported(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """If the response to a commit is lost, or a checkpoint fails after it, the ledger shows that it landed."""
    _add_late(store)
    failing = _failing(DeltaTable.create_write_transaction, error, lands=True)
    monkeypatch.setattr(DeltaTable, "create_write_transaction", failing)
    assert target.load(store).record_count == 5
    monkeypatch.undo()
    assert target.load(store).unchanged_count == 3
    assert target.ids() == sorted([*IDS, "later2"])


def test_commit_of_unknown_state_keeps_its_files(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that may still land keeps its data files; the next load writes its own."""
    _add_late(store)
    before = set(_folder(target).glob("*.parquet"))
    failing = _failing(DeltaTable.create_write_transaction, OSError("operation timed out"), lands=False)
    monkeypatch.setattr(DeltaTable, "create_write_transaction", failing)
    with pytest.raises(WarehouseUnavailableError, match="as a whole or not at all; the load ledger shows which"):
        target.load(store)
    assert set(_folder(target).glob("*.parquet")) > before
    monkeypatch.undo()
    assert target.load(store).record_count == 5
    assert target.ids() == sorted([*IDS, "later2"])


def test_commits_that_all_conflict_are_retried_by_airflow(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that other writers change all the time is a retryable error, and the files written are deleted."""
    monkeypatch.setattr(delta, "_MAX_COMMIT_ATTEMPTS", 3)
    monkeypatch.setattr(delta, "_COMMIT_PAUSE_SECONDS", 0.0)
    _add_late(store)
    before = sorted(_folder(target).glob("*.parquet"))
    failing = _failing(DeltaTable.create_write_transaction, CommitFailedError("conflict"), lands=False)
    monkeypatch.setattr(DeltaTable, "create_write_transaction", failing)
    with pytest.raises(WarehouseBusyError, match="conflicting commit by another writer in each of 3 attempts"):
        target.load(store)
    assert sorted(_folder(target).glob("*.parquet")) == before


def test_conflict_with_another_writer_is_committed_after_it(target: LoadTarget, store: MemoryStore) -> None:
    """A commit by another engine between the claim and the commit of a load loses nothing of either."""
    manifest = commit(MemoryStore(), window(5), records_in(window(5), 1, "u"))
    claim = _claim(5, 1, manifest, "1" * 64)
    with closing(target.open()) as slow:
        slow.prepare(table_columns())
        _replace(slow, claim, lambda: DeltaTable(target.delta_uri).alter.set_table_description("by another engine"))
    assert DeltaTable(target.delta_uri).metadata().description == "by another engine"
    assert target.ids() == sorted([*IDS, "u0"])


@pytest.mark.parametrize("counts", [(1, 0), (0, 1), (0, 0), (1, 1)])
def test_loader_overtaken_before_its_commit_fails(target: LoadTarget, counts: tuple[int, int]) -> None:
    """A loader fails if generation 2 is loaded between its claim and its commit, even if either is empty."""
    older, newer = (commit(MemoryStore(), window(), records_in(window(), count)) for count in counts)
    slow_claim, fast_claim = _claim(0, 1, older, "1" * 64), _claim(0, 2, newer, "2" * 64)
    with closing(target.open()) as slow, closing(target.open()) as fast:
        slow.prepare(table_columns())
        fast.prepare(table_columns())
        with pytest.raises(WarehouseBusyError, match="first"):
            _replace(slow, slow_claim, lambda: _replace(fast, fast_claim))
        (entry,) = fast.loaded("d")
    assert (entry.generation, entry.manifest_sha256) == (2, "2" * 64)
    assert len(target.ids()) == counts[1]


def test_delta_itself_refuses_two_commits_of_one_claim(target: LoadTarget, store: MemoryStore) -> None:
    """The claim of a window is an application transaction, so even repeated commits of deltalake conflict."""
    claims = [one["txn"]["appId"] for one in log_actions(_folder(target)) if one.get("txn")]
    name = next(app_id for app_id in claims if app_id.startswith("audit.claim."))
    assert DeltaTable(target.delta_uri).transaction_version(name) == 1


def _claim(day: float, generation: int, manifest: Manifest, sha256: str) -> LoadClaim:
    """Returns the claim of a window's first load."""
    planned = PlannedLoad(window(day), "", generation)
    return planned.claim("d", DESTINATION, CommittedManifest(manifest, "", sha256), sha256)


def _replace(warehouse: Warehouse, claim: LoadClaim, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Loads a claim's rows; calls ``meanwhile`` before they are committed."""
    with warehouse.replacing(claim) as rows:
        if claim.entry.record_count:
            prefix = "r" if claim.window == window() else "u"
            rows.add(arrow_rows(ApiVersion.V1, records_in(claim.window, claim.entry.record_count, prefix), claim))
        meanwhile()


@pytest.mark.parametrize("has_more_commits", [False, True])
def test_loader_whose_table_was_dropped_and_created_again_fails(
    target: LoadTarget, store: MemoryStore, has_more_commits: bool
) -> None:
    """A loader writes nothing into a table that took the place of the one it has read, and the next load fills it."""
    manifest = commit(MemoryStore(), window(5), records_in(window(5), 1, "u"))
    with closing(target.open()) as slow:
        slow.prepare(table_columns())

        def create_again() -> None:
            target.drop()
            with closing(target.open()) as other:
                other.prepare(table_columns())
            for number in range(20 if has_more_commits else 0):
                DeltaTable(target.delta_uri).alter.set_table_description(f"commit {number}")

        with pytest.raises(WarehouseBusyError, match="dropped and created again"):
            _replace(slow, _claim(5, 1, manifest, "1" * 64), create_again)
        with pytest.raises(WarehouseBusyError, match="dropped and created again"):
            slow.loaded("d")
        with pytest.raises(WarehouseBusyError, match="dropped and created again"):
            slow.remember("d", DESTINATION, LoadPosition(DAY_1, DAY_1, 0, frozenset()))
    assert target.ids() == []
    assert target.load(store).record_count == 6
    assert target.ids() == IDS


_TEXT = Field("id", PrimitiveType("string"))


@pytest.mark.parametrize(
    ("fields", "arguments", "named"),
    [
        ([_TEXT], {"partition_by": ["id"]}, "is partitioned by id"),
        ([Field("ID", PrimitiveType("string"))], {}, "in another case"),
        ([Field("id", PrimitiveType("long"))], {}, "has the type long instead of string"),
        ([_TEXT, Field("other", PrimitiveType("string"), nullable=False)], {}, "other of .* is NOT NULL"),
        ([_TEXT], {"configuration": {"delta.enableChangeDataFeed": "true"}}, "writer version 4"),
        ([_TEXT], {"configuration": {"delta.enableDeletionVectors": "true"}}, "features deletionVectors"),
        ([_TEXT], {"configuration": {"delta.columnMapping.mode": "name"}}, "reader version 2"),
        ([_TEXT], {"configuration": {"delta.appendOnly": "true"}}, "delta.appendOnly"),
        ([_TEXT], {"configuration": {"delta.setTransactionRetentionDuration": "interval 7 days"}}, "load ledger"),
    ],
)
def test_table_that_cannot_be_loaded_is_refused(
    target: LoadTarget, fields: list[Field], arguments: dict[str, Any], named: str
) -> None:
    """Partitions, columns and features that a load does not write are an error before anything is written."""
    DeltaTable.create(target.delta_uri, Schema(fields), **arguments)
    store = MemoryStore()
    two_days(store)
    with pytest.raises(ConfigurationError, match=named):
        target.load(store)
    assert not list(_folder(target).rglob("*.parquet"))


def test_existing_table_with_other_columns_is_loaded(target: LoadTarget) -> None:
    """Columns of others that may be null stay, and are null in the loaded rows."""
    DeltaTable.create(target.delta_uri, Schema([_TEXT, Field("reviewed", PrimitiveType("boolean"))]))
    store = MemoryStore()
    two_days(store)
    target.load(store)
    assert sorted(target.delta_rows("id", "reviewed")) == [(name, None) for name in IDS]


def test_folder_with_other_files_is_refused(target: LoadTarget) -> None:
    """A folder that holds something else gets no table, because VACUUM would delete it."""
    _folder(target).mkdir()
    (_folder(target) / "manifest.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"other files, such as 'manifest\.json'.*VACUUM"):
        target.load(MemoryStore())


def test_file_in_the_place_of_the_folder_is_refused(target: LoadTarget) -> None:
    """A file at the table's location is a configuration error."""
    _folder(target).write_text("no folder")
    with pytest.raises(ConfigurationError, match="Correct the argument table"):
        target.load(MemoryStore())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_S3_ALLOW_UNSAFE_RENAME", "true"),
        ("allow_unsafe_rename", "1"),
        ("MOUNT_ALLOW_UNSAFE_RENAME", "True"),
        ("aws_conditional_put", "disabled"),
        ("AWS_S3_LOCKING_PROVIDER", "dynamodb"),
    ],
)
def test_options_that_give_up_the_conditional_write_are_refused(name: str, value: str) -> None:
    """A storage option by which two loaders could overwrite each other's commit is a configuration error."""
    with pytest.raises(ConfigurationError, match=f"{name} .* overwrite each other's commit"):
        open_delta("s3://bucket/table", {name: value}, ManualClock())


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without deltalake the error has the command that installs it."""
    monkeypatch.setattr(delta, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'airflow-audit-provider\[delta\]'"):
        open_delta("/data/table", {}, ManualClock())


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ("Generic S3 error\n   \x1b[31m↳\x1b[0m 403 Forbidden: tiger-secret-1", ConfigurationError),
        ("The operation lacked valid authentication credentials: 401 Unauthorized", ConfigurationError),
        ("Error performing GET: 503 Service Unavailable", WarehouseUnavailableError),
        ("error sending request: Connection refused", WarehouseUnavailableError),
        ("Error performing list request: NoSuchBucket", ConfigurationError),
        ("something that nobody has seen", WarehouseUnavailableError),
    ],
)
def test_error_of_the_store_is_named(
    target: LoadTarget, monkeypatch: pytest.MonkeyPatch, raised: str, kind: type[Exception]
) -> None:
    """Each error of the object store is of the class of its remedy, in one line, without colours and secrets."""

    def fail(*_: Any) -> Any:
        raise OSError(raised)

    monkeypatch.setattr(delta, "files_in", fail)
    with (
        closing(open_delta(target.delta_uri, {"AWS_SECRET_ACCESS_KEY": "tiger-secret-1"}, ManualClock())) as warehouse,
        pytest.raises(kind) as caught,
    ):
        warehouse.prepare(table_columns())
    assert type(caught.value) is kind
    assert not any(text in str(caught.value) for text in ("tiger", "\x1b", "\n"))
