"""ClickHouse: one row in the ledger shows a window, faults at every request, lost responses, races and a killed engine.

The engine is ClickHouse's own, behind a bridge to HTTP; see ``clickhouse_server.py``. All of it is nightly.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.warehouses.clickhouse import ClickHouseRows, ClickHouseWarehouse, open_clickhouse
from airflow_audit_provider.adapters.warehouses.clickhouse_http import ClickHouseClient, ClickHouseServer
from airflow_audit_provider.adapters.warehouses.sql import table_name
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.warehouse.load_plan import PlannedLoad
from airflow_audit_provider.core.warehouse.port import LoadClaim
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)
from airflow_audit_provider.formats.warehouse_rows import arrow_rows, table_columns
from airflow_audit_provider.pipelines.load import LoadOutcome, LoadSpec, load_committed
from airflow_audit_provider.testing.clock import ManualClock
from tests.adapters.storage.serving import free_port
from tests.pipelines.load.clickhouse_server import BRIDGE, LOGIN, PASSWORD, clickhouse_at
from tests.pipelines.load.warehouses import DESTINATION, LoadTarget, new_target
from tests.pipelines.verify.dataset import DAY_1, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore
from tools.environment import PROJECT
from tools.servers import clickhouse_python

pytestmark = pytest.mark.nightly
IDS = ["late", "r0", "r1", "r2", "s0", "s1"]


@pytest.fixture
def target(tmp_path: Path, clickhouse: str) -> LoadTarget:
    """Names of a view and of tables that do not exist yet."""
    return new_target("clickhouse", tmp_path, dict, lambda: clickhouse)


@pytest.fixture
def store(target: LoadTarget) -> MemoryStore:
    """A destination with three windows, all loaded."""
    store = MemoryStore()
    two_days(store)
    target.load(store)
    return store


def _add_late(store: MemoryStore, seconds: int = 2) -> None:
    commit(store, window(), [record(DAY_1 + timedelta(seconds=seconds), f"later{seconds}")])


def _stored_ids(target: LoadTarget) -> list[str]:
    """Returns the id of every row of the table behind the view."""
    return [str(row[0]) for row in target.query(f"select id from {target.table}_rows order by id")]


class Fault(NamedTuple):
    """An error instead of the request with a number, or instead of its response if the request was sent."""

    number: int
    is_sent: bool
    error: type[BaseException] = WarehouseUnavailableError


class FaultyClient(ClickHouseClient):
    """A client whose connection fails once; it counts its requests."""

    def __init__(self, server: ClickHouseServer, fault: Fault | None = None) -> None:
        super().__init__(server)
        self.fault = fault
        self.count = 0

    def _post(self, *given: Any) -> bytes:
        number, self.count = self.count, self.count + 1
        if self.fault is None or number != self.fault.number:
            return super()._post(*given)
        if self.fault.is_sent:
            super()._post(*given)
        raise self.fault.error("the connection was lost")


def _warehouse(target: LoadTarget, fault: Fault | None = None) -> tuple[ClickHouseWarehouse, FaultyClient]:
    client = FaultyClient(ClickHouseServer(target.address, LOGIN, PASSWORD), fault)
    return ClickHouseWarehouse(client, table_name(target.table), ManualClock()), client


def _load(target: LoadTarget, store: MemoryStore, fault: Fault | None = None) -> tuple[LoadOutcome | None, int]:
    """Loads with a fault; returns the outcome, None after an error, and the number of requests."""
    warehouse, client = _warehouse(target, fault)
    outcome = None
    with closing(warehouse), suppress(AuditProviderError, KeyboardInterrupt):
        outcome = load_committed(LoadSpec("d", DESTINATION, now=SystemClock().now()), store, warehouse, lambda _: None)
    return outcome, client.count


@pytest.mark.parametrize("is_sent", [False, True])
@pytest.mark.parametrize("error", [WarehouseUnavailableError, KeyboardInterrupt])
def test_fault_at_any_request_leaves_whole_generations(
    target: LoadTarget, store: MemoryStore, is_sent: bool, error: type[BaseException]
) -> None:
    """Whichever request fails, before or after it ran, a window has its old or its new rows; the next load ends it."""
    number, seconds, failed_count = 0, 2, 0
    before = set(IDS)
    while True:
        _add_late(store, seconds)
        after = before | {f"later{seconds}"}
        outcome, request_count = _load(target, store, Fault(number, is_sent, error))
        found = target.ids()
        assert len(found) == len(set(found))
        assert set(found) in (before, after)
        assert outcome is None or set(found) == after
        failed_count += outcome is None
        _load(target, store)
        assert target.ids() == sorted(after)
        if number >= request_count:
            break
        number, seconds, before = number + 1, seconds + 1, after
    assert number > 12
    assert failed_count > 8
    # One more load of the window deletes what the failed ones have left.
    _add_late(store, 100)
    target.load(store)
    assert _stored_ids(target) == target.ids()


def test_entry_whose_response_is_lost_is_found_in_the_ledger(target: LoadTarget, store: MemoryStore) -> None:
    """A load whose entry landed without a response ends as loaded; one whose entry did not land fails with a retry."""
    _add_late(store)
    warehouse, client = _warehouse(target)
    insert, entries = client.insert, []

    def lose(statement: str, content: bytes | memoryview, token: str) -> None:
        if "_loads" in statement:
            entries.append((statement, content, token))
            if len(entries) != 1:
                insert(statement, content, token)
            raise WarehouseUnavailableError("no response")
        insert(statement, content, token)

    client.insert = lose  # type: ignore[method-assign]  # loses the response of a request that the engine runs
    spec = LoadSpec("d", DESTINATION, now=SystemClock().now())
    with closing(warehouse):
        with pytest.raises(WarehouseUnavailableError):
            load_committed(spec, store, warehouse, lambda _: None)
        assert target.ids() == IDS
        assert load_committed(spec, store, warehouse, lambda _: None).record_count == 5
        assert target.ids() == sorted([*IDS, "later2"]) == _stored_ids(target)
        # The first request arrives after all: its load number is taken.
        insert(*entries[0])
    assert target.ids() == sorted([*IDS, "later2"])
    assert target.load(store).unchanged_count == 3


def _claim(generation: int = 1) -> LoadClaim:
    manifest = commit(MemoryStore(), window(3), records_in(window(3), 2))
    planned = PlannedLoad(window(3), "", generation)
    return planned.claim("d", DESTINATION, CommittedManifest(manifest, "", str(generation) * 64), None)


@pytest.mark.parametrize("has_tokens", [True, False])
def test_one_of_two_attempts_that_enter_together_is_shown(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, has_tokens: bool
) -> None:
    """The server keeps the first entry of two attempts with one load number, and without tokens the view shows one."""
    first, second = (_warehouse(target)[0] for _ in range(2))
    monkeypatch.setattr(ClickHouseWarehouse, "_check_claim", lambda *_: None)
    if not has_tokens:
        real = ClickHouseClient.insert

        def insert(client: ClickHouseClient, statement: str, content: bytes, _token: str) -> None:
            real(client, statement, content, os.urandom(8).hex())

        monkeypatch.setattr(ClickHouseClient, "insert", insert)
    with closing(first), closing(second):
        with suppress(WarehouseBusyError), second.replacing(_claim()) as late:
            late.add(arrow_rows(ApiVersion.V1, records_in(window(3), 2, "b"), _claim()))
            assert late.count() == 2
            with first.replacing(_claim()) as early:
                early.add(arrow_rows(ApiVersion.V1, records_in(window(3), 2, "a"), _claim()))
        assert target.ids() == sorted([*IDS, "a0", "a1"])
        assert len(first.loaded("d")) == 4
    entries = target.query(f"select load_id from {target.table}_loads where record_count = 2 and load_number = 1")
    assert len(entries) == (3 if has_tokens else 4) - 1


def test_entry_of_another_server_shows_whole_rows(target: LoadTarget, store: MemoryStore) -> None:
    """With replicas, an older entry with the same load number that arrives late shows all rows of its attempt."""
    (early, client), (late, _) = (_warehouse(target) for _ in range(2))
    early._has_replicas = late._has_replicas = True
    with closing(early), closing(late):
        rows = early.replacing(_claim()).__enter__()
        rows.add(arrow_rows(ApiVersion.V1, records_in(window(3), 2, "a"), _claim()))
        assert rows.count() == 2
        with late.replacing(_claim()) as newer:
            newer.add(arrow_rows(ApiVersion.V1, records_in(window(3), 2, "b"), _claim()))
        assert target.ids() == sorted([*IDS, "b0", "b1"])
        entry = f"{_claim().window.start:%F %T}", f"{_claim().window.end:%F %T}", rows.load_id
        statement = (
            f"INSERT INTO {target.table}_loads (dataset, window_start, window_end, load_number, load_id, loaded_at)"
        )
        client.insert(
            f"{statement} FORMAT JSONCompactEachRow", json.dumps(["d", *entry[:2], 1, entry[2], 0]).encode(), "x"
        )
    assert target.ids() == sorted([*IDS, "a0", "a1"])


def test_profile_that_switches_tokens_off_is_overruled(tmp_path: Path) -> None:
    """The tokens count although the user's settings switch deduplication off and make a maximum of no rows null."""
    with clickhouse_at(tmp_path) as url:
        target, store = LoadTarget("clickhouse", url, "default.audit"), MemoryStore()
        target.query("set deduplicate_insert = 'disable', insert_deduplicate = 0")
        target.query("set aggregate_functions_null_for_empty = 1")
        two_days(store)
        target.load(store)
        first = target.query(f"select count() from {target.table}_loads")
        warehouse, client = _warehouse(target)
        with closing(warehouse):
            warehouse.prepare(table_columns())
            for number in range(2):
                content = json.dumps({"dataset": "other", "load_id": str(number)}).encode()
                client.insert(
                    f"INSERT INTO {target.table}_loads (dataset, load_id) FORMAT JSONEachRow", content, "same"
                )
        assert target.query(f"select count() from {target.table}_loads") == [(first[0][0] + 1,)]


def test_rows_and_entry_are_on_disk_before_they_are_acknowledged(target: LoadTarget, store: MemoryStore) -> None:
    """Each insert of rows and each entry synchronizes its files and their folder."""

    def synced() -> dict[str, int]:
        return dict(target.query("select event, value from system.events where event in ('FileSync', 'DirectorySync')"))

    warehouse, client = _warehouse(target)
    with closing(warehouse):
        for table, row in (("rows", {"id": "x"}), ("loads", {"dataset": "other"})):
            before = synced()
            content = json.dumps(row).encode()
            client.insert(f"INSERT INTO {target.table}_{table} ({next(iter(row))}) FORMAT JSONEachRow", content, table)
            after = synced()
            assert all(after[event] > before[event] for event in ("FileSync", "DirectorySync"))


def test_dataset_of_any_text_is_loaded_once(target: LoadTarget, store: MemoryStore) -> None:
    """A dataset with quotes, control characters, backslashes or the syntax of a parameter is found in the ledger."""
    for count, dataset in enumerate(
        ["d'x\"`;--", "a\tb\nc\\n\\", "é☃\U0001f600", "a\0b", "{x:String}", "\\N", "a\rb"], 2
    ):
        assert len(target.load(store, dataset).loaded) == 3
        assert target.load(store, dataset).unchanged_count == 3
        assert len(target.ids()) == count * len(IDS)


def test_entry_that_was_deleted_is_loaded_again(target: LoadTarget, store: MemoryStore) -> None:
    """A window without its row in the ledger is loaded again, each time, although the server remembers the tokens."""
    for _ in range(4):
        target.query(f"delete from {target.table}_loads where record_count = 2 settings lightweight_deletes_sync = 2")
        assert target.ids() == ["late", "r0", "r1", "r2"]
        assert len(target.load(store).loaded) == 1
        assert target.ids() == IDS == _stored_ids(target)


def test_replaced_rows_and_those_of_killed_loads_are_deleted(target: LoadTarget, store: MemoryStore) -> None:
    """A replacement leaves no row of the old generation in the table, nor of an attempt that ended before its entry."""
    warehouse, _ = _warehouse(target)
    with closing(warehouse):
        rows = warehouse.replacing(_claim()).__enter__()
        rows.add(arrow_rows(ApiVersion.V1, records_in(window(3), 2, "dead"), _claim()))
        assert rows.count() == 2
    assert target.ids() == IDS
    assert "dead0" in _stored_ids(target)
    commit(store, window(3), records_in(window(3), 3, "t"))
    commit(store, window(), records_in(window(), 1, "n"), replace=True)
    target.load(store)
    assert target.ids() == ["n0", "s0", "s1", "t0", "t1", "t2"] == _stored_ids(target)


def test_statement_of_the_page_deletes_replaced_rows_of_a_killed_load(target: LoadTarget, store: MemoryStore) -> None:
    """A load that is killed after its entry leaves the replaced rows, which the statement of the page deletes."""
    commit(store, window(), records_in(window(), 1, "n"), replace=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClickHouseRows, "delete_replaced", lambda *_: None)
        target.load(store)
    assert target.ids() == ["n0", "s0", "s1"]
    assert set(_stored_ids(target)) == {*IDS, "n0"}
    page = (PROJECT / "docs/warehouses/clickhouse.md").read_text()
    statement = page.partition("```sql\n")[2].partition(";\n```")[0]
    assert statement.startswith("DELETE FROM cloudflare_audit_logs_rows")
    target.query(statement.replace("cloudflare_audit_logs", target.table))
    assert target.ids() == ["n0", "s0", "s1"] == _stored_ids(target)


def test_table_that_no_load_created_is_refused(target: LoadTarget) -> None:
    """A table with the view's name, and a ledger without the setting that keeps the first entry, are named errors."""
    target.query(f"create table {target.table} (id String) engine = MergeTree order by id")
    with closing(target.open()) as warehouse, pytest.raises(ConfigurationError, match="not the view"):
        warehouse.prepare(table_columns())
    target.query(f"drop table {target.table} sync")
    with closing(target.open()) as warehouse:
        warehouse.prepare(table_columns())
        target.query(f"alter table {target.table}_loads modify setting non_replicated_deduplication_window = 0")
        with pytest.raises(ConfigurationError, match="non_replicated_deduplication_window"):
            warehouse.prepare(table_columns())


def test_wrong_login_and_missing_database_are_named(target: LoadTarget, clickhouse: str) -> None:
    """A wrong password and a database that does not exist are configuration errors, without the password."""
    for server, name, text in (
        (ClickHouseServer(clickhouse, LOGIN, "wrong"), target.table, "login"),
        (ClickHouseServer(clickhouse, LOGIN, PASSWORD), "nowhere.audit", "database"),
    ):
        warehouse = open_clickhouse(server, table_name(name), SystemClock())
        with closing(warehouse), pytest.raises(ConfigurationError, match=text) as caught:
            warehouse.prepare(table_columns())
        assert "wrong" not in str(caught.value)


def test_condition_on_event_time_is_one_of_the_table_behind_the_view(target: LoadTarget, store: MemoryStore) -> None:
    """The bounds of a query on event_time select parts of the table behind the view."""
    start = f"{window(1).start:%Y-%m-%d %H:%M:%S}"
    plan = target.query(f"explain indexes = 1 select count() from {target.table} where event_time >= '{start}'")
    assert any("Condition: (event_time in [" in row[0] for row in plan)


class Engine:
    """The bridge as a process that can be killed and started again on its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [str(clickhouse_python()), str(BRIDGE), str(self.port), str(self._folder), LOGIN, PASSWORD]
        self._child = subprocess.Popen(command, cwd=self._folder, stderr=subprocess.DEVNULL)
        for _ in range(600):
            with suppress(AuditProviderError), closing(self._client()) as client:
                client.execute("SELECT 1")
                return
            time.sleep(0.1)
        raise RuntimeError("The bridge does not answer.")

    def _client(self) -> ClickHouseClient:
        return ClickHouseClient(ClickHouseServer(f"http://127.0.0.1:{self.port}", LOGIN, PASSWORD))

    def kill(self) -> None:
        """Kills it at once."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()


def test_killed_engine_loses_no_window(tmp_path: Path) -> None:
    """An engine that is killed at random moments of loads, and started again, has each window as a whole."""
    engine, moments, store = Engine(tmp_path), random.Random(28), MemoryStore()
    target = LoadTarget("clickhouse", f"http://127.0.0.1:{engine.port}", "default.audit")
    ids: set[str] = set()
    killed_count = 0
    try:
        for number in range(12):
            new = records_in(window(number), 300, f"k{number}-")
            commit(store, window(number), new)
            ids |= {one.id for one in new}
            kill = threading.Timer(moments.uniform(0, 0.25), engine.kill)
            kill.start()
            outcome, _ = _load(target, store)
            kill.join()
            killed_count += outcome is None
            engine.start()
            assert outcome is None or set(target.ids()) == ids
            _load(target, store)
            assert sorted(target.ids()) == sorted(ids)
    finally:
        engine.kill()
    assert killed_count >= 3
