"""DuckDB: names in any case are one table, and everything that stops a load has a named error."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.adapters.warehouses.duckdb import DuckDbSession, open_duckdb
from airflow_audit_provider.adapters.warehouses.duckdb_errors import named_duckdb_error
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, table_name
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)
from airflow_audit_provider.formats.warehouse_rows import table_columns
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.load.warehouses import LoadTarget
from tests.pipelines.verify.dataset import commit, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

# Loads into a file while no file may be larger than the given number of bytes, as if the disk were full.
_LOAD_INTO_A_FULL_DISK = """
import resource, signal, sys
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.exceptions import WarehouseUnavailableError
from tests.pipelines.load.warehouses import LoadTarget
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    LoadTarget("duckdb", sys.argv[1], "audit").load(LocalStore(sys.argv[2]))
except WarehouseUnavailableError as error:
    print(error, end="")
"""


@pytest.fixture
def store() -> MemoryStore:
    """A destination with one window of two records."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 2))
    return store


@pytest.fixture
def target(tmp_path: Path) -> LoadTarget:
    """An empty DuckDB file."""
    return LoadTarget("duckdb", str(tmp_path / "audit.duckdb"), "AuditLogs")


@pytest.mark.parametrize("name", ["auditlogs", "AUDITLOGS", "main.AuditLogs", "MAIN.auditLOGS"])
def test_name_in_another_case_is_the_same_table(target: LoadTarget, store: MemoryStore, name: str) -> None:
    """DuckDB compares names without case, so a load by another spelling finds the table and its ledger."""
    target.load(store)
    assert target._replace(table=name).load(store).unchanged_count == 1
    commit(store, window(1), records_in(window(1), 1, "s"))
    assert target._replace(table=name).load(store).record_count == 1
    assert target.ids() == ["r0", "r1", "s0"]


def test_column_in_another_case_is_the_same_column(target: LoadTarget, store: MemoryStore) -> None:
    """A column that is written in another case is not added again."""
    target.load(MemoryStore(store.objects), "other")
    target.query("alter table AuditLogs rename column actor_email to Actor_Email")
    assert target.load(store).record_count == 2


def test_missing_schema_names_the_statement_that_creates_it(target: LoadTarget, store: MemoryStore) -> None:
    """A schema that does not exist is a configuration error with the remedy; after it the load succeeds."""
    elsewhere = target._replace(table="security.records")
    with pytest.raises(ConfigurationError, match="Run CREATE SCHEMA security"):
        elsewhere.load(store)
    target.query("create schema Security")
    assert [elsewhere.load(store).record_count for _ in range(2)] == [2, 0]


def test_schema_with_the_name_of_the_file_is_a_schema(target: LoadTarget, store: MemoryStore) -> None:
    """In ``audit.records`` the file audit.duckdb is not meant, although DuckDB would take it for the schema."""
    elsewhere = target._replace(table="audit.records")
    with pytest.raises(ConfigurationError, match="Run CREATE SCHEMA audit"):
        elsewhere.load(store)
    target.query("create schema audit.audit")
    assert [elsewhere.load(store).record_count for _ in range(2)] == [2, 0]
    assert target.query("select count(*) from audit.audit.records") == [(2,)]


@pytest.mark.parametrize("name", ["AuditLogs", "auditlogs_loads"])
def test_view_of_that_name_fails(target: LoadTarget, store: MemoryStore, name: str) -> None:
    """A view with the name of the table or of its ledger is a configuration error."""
    target.query(f"create view {name} as select 1 as id")
    with pytest.raises(ConfigurationError, match="is a VIEW, not a table"):
        target.load(store)


@pytest.mark.parametrize(
    "change", ["create unique index one on AuditLogs (dataset)", "alter table AuditLogs alter actor_email set not null"]
)
def test_constraint_of_the_table_fails(target: LoadTarget, store: MemoryStore, change: str) -> None:
    """A constraint that the records break is a configuration error, not a conflict to be retried."""
    target.load(MemoryStore(store.objects), "other")
    target.query("delete from AuditLogs")
    target.query(change)
    with pytest.raises(ConfigurationError, match="Remove the constraint"):
        target.load(store)


def test_database_that_is_read_only_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A connection of the caller that may not write is a configuration error."""
    target.load(store)
    with closing(duckdb.connect(target.address, read_only=True)) as connection:
        warehouse = SqlWarehouse(DuckDbSession(connection), table_name("new_table"))
        with pytest.raises(ConfigurationError, match="Open it for writing"):
            warehouse.prepare(table_columns())


@pytest.mark.parametrize("content", [b"id,when\n" * 1000, None])
def test_path_of_something_else_fails(tmp_path: Path, content: bytes | None) -> None:
    """A file that is no database, and a folder, are configuration errors."""
    path = tmp_path / "other"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="that the file is a DuckDB database"):
        open_duckdb(str(path), ManualClock())


def test_full_disk_is_retried(tmp_path: Path) -> None:
    """A disk that is full during a load is a retryable error about the disk, and the next load loads everything."""
    one, file = window(), tmp_path / "audit.duckdb"
    store = LocalStore(str(tmp_path / "landed"))
    commit(store, one, records_in(one, 40_000))
    command = [sys.executable, "-c", _LOAD_INTO_A_FULL_DISK, str(file), str(tmp_path / "landed"), str(1 << 20)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "Check the disk's free space" in ended.stdout
    assert LoadTarget("duckdb", str(file), "audit").load(store).record_count == 40_000


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (duckdb.IOException("IO Error: No space left on device"), WarehouseUnavailableError, "free space"),
        (
            duckdb.TransactionException("Failed to commit: Could not write file"),
            WarehouseUnavailableError,
            "free space",
        ),
        (duckdb.TransactionException("Conflict on tuple"), WarehouseBusyError, "again"),
        (duckdb.FatalException("database has been invalidated"), WarehouseUnavailableError, "again"),
        (duckdb.OutOfMemoryException("could not allocate"), ConfigurationError, "memory_limit"),
        (
            duckdb.TransactionException("Failed to commit: failed to pin block of size 256.0 KiB"),
            ConfigurationError,
            "memory_limit",
        ),
        (duckdb.PermissionException("not allowed"), ConfigurationError, "Open it for writing"),
        (duckdb.BinderException("no such column"), ConfigurationError, "Correct the table"),
    ],
)
def test_errors_of_the_library_are_named(error: Exception, kind: type[AuditProviderError], remedy: str) -> None:
    """Each class of DuckDB has the class of its remedy, and the message has DuckDB's text."""
    named = named_duckdb_error(duckdb, error)
    assert type(named) is kind
    assert remedy in str(named)
    assert str(error) in str(named)


def test_other_errors_are_not_named() -> None:
    """An error that is not DuckDB's stays what it is."""
    assert named_duckdb_error(duckdb, ValueError("x")) is None
