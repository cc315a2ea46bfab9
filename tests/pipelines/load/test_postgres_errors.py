"""PostgreSQL that does not take a load: settings of the session do not matter, and every refusal has a named error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psycopg
import psycopg2
import psycopg2.extras
import pytest
from psycopg.rows import dict_row

from airflow_audit_provider.adapters.warehouses.postgres import PostgresSession
from airflow_audit_provider.adapters.warehouses.postgres_errors import connection_error, named_postgres_error
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, table_name
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from tests.pipelines.load.warehouses import DESTINATION, LoadTarget
from tests.pipelines.verify.dataset import commit, record, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

pytestmark = pytest.mark.integration
_SETTINGS = [
    "-c DateStyle=German",
    "-c DateStyle=SQL,DMY",
    "-c TimeZone=Asia/Kolkata -c IntervalStyle=sql_standard",
    "-c standard_conforming_strings=off -c bytea_output=escape",
    "-c client_encoding=LATIN1",
    "-c client_encoding=SQL_ASCII",
    "-c default_transaction_isolation=serializable",
    "-c quote_all_identifiers=on",
]


@pytest.fixture(params=["psycopg", "psycopg2"])
def target(request: pytest.FixtureRequest, postgres: dict[str, Any]) -> LoadTarget:
    """An empty target by each driver, as a superuser."""
    address = " ".join(f"{name}={value}" for name, value in postgres.items())
    return LoadTarget(request.param, address, f"audit_{uuid4().hex[:12]}")


@pytest.fixture
def store() -> MemoryStore:
    """A destination with one window of two records."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 2))
    return store


@pytest.fixture
def role(target: LoadTarget) -> Iterator[str]:
    """A role that may log in and has no other rights."""
    name = f"role_{uuid4().hex[:12]}"
    target.query(f"create role {name} login")
    yield name
    target.query(f"drop owned by {name}")
    target.query(f"drop role {name}")


def with_options(target: LoadTarget, options: str) -> LoadTarget:
    """Returns the target with settings of the session."""
    return target._replace(address=f"{target.address} options='{options}'")


def as_role(target: LoadTarget, role: str) -> LoadTarget:
    """Returns the target as another role."""
    return target._replace(address=target.address.replace("user=audit", f"user={role}"))


@pytest.mark.parametrize("options", _SETTINGS)
def test_settings_of_the_session_do_not_matter(target: LoadTarget, options: str) -> None:
    """Times, text and names are loaded and read back whatever the role or the environment has set."""
    store, dataset = MemoryStore(), "d\\x'\"ü\U0001f600"
    ids = ["a\\b", "ü", "\U0001f600", "\\N"]
    commit(store, window(), [record(each.start, text) for each, text in zip([window()] * len(ids), ids, strict=True)])
    configured = with_options(target, options)
    assert configured.load(store, dataset).record_count == len(ids)
    assert configured.load(store, dataset).unchanged_count == 1
    assert target.ids() == sorted(ids)
    assert target.query(f"select distinct dataset from {target.table}") == [(dataset,)]


def test_missing_schema_names_the_statement_that_creates_it(target: LoadTarget, store: MemoryStore) -> None:
    """A schema that does not exist is a configuration error with the remedy; after it the load succeeds."""
    elsewhere = target._replace(table=f"security_{target.table}.records")
    with pytest.raises(ConfigurationError, match="Run CREATE SCHEMA security_"):
        elsewhere.load(store)
    target.query(f"create schema security_{target.table}")
    assert elsewhere.load(store).record_count == 2


def test_search_path_without_a_schema_fails(target: LoadTarget, store: MemoryStore) -> None:
    """Without a default schema, a table without a schema is a configuration error."""
    with pytest.raises(ConfigurationError, match=r"schema\.table"):
        with_options(target, "-c search_path=nowhere").load(store)


@pytest.mark.parametrize("is_ledger_alone", [False, True])
def test_table_in_a_later_schema_of_the_search_path_is_used(
    target: LoadTarget, store: MemoryStore, is_ledger_alone: bool
) -> None:
    """A table without a schema is the one that PostgreSQL finds on the search path, not a new one before it."""
    target.query(f"create schema first_{target.table}")
    target.query(f"create schema second_{target.table}")
    target._replace(table=f"second_{target.table}.{target.table}").load(store)
    if is_ledger_alone:
        target.query(f"drop table second_{target.table}.{target.table}")
    searching = with_options(target, f"-c search_path=first_{target.table},second_{target.table}")
    if is_ledger_alone:
        with pytest.raises(ConfigurationError, match="Restore the table"):
            searching.load(store)
    else:
        assert searching.load(store).unchanged_count == 1
    tables = f"select count(*) from information_schema.tables where table_schema = 'first_{target.table}'"
    assert target.query(tables) == [(0,)]


def test_table_of_another_application_on_the_search_path_is_not_used(target: LoadTarget, store: MemoryStore) -> None:
    """A table of that name without a load ledger stays as it is, and the first schema of the path gets a new one."""
    for schema in ("first", "second"):
        target.query(f"create schema {schema}_{target.table}")
    target.query(f"create table second_{target.table}.{target.table} (message text)")
    path = f"-c search_path=first_{target.table},second_{target.table}"
    assert with_options(target, path).load(store).record_count == 2
    columns = (
        "select table_schema, count(*) from information_schema.columns where table_name = '{}' group by 1 order by 1"
    )
    (first, second) = target.query(columns.format(target.table))
    assert first[0].startswith("first_")
    assert second == (f"second_{target.table}", 1)


def test_ledger_with_its_table_comes_before_a_ledger_alone(target: LoadTarget, store: MemoryStore) -> None:
    """A schema that has only the ledger does not hide a later one that has both."""
    for schema in ("first", "second"):
        target.query(f"create schema {schema}_{target.table}")
    target._replace(table=f"second_{target.table}.{target.table}").load(store)
    ledger = f"{target.table}_loads"
    target.query(f"create table first_{target.table}.{ledger} (like second_{target.table}.{ledger} including all)")
    path = f"-c search_path=first_{target.table},second_{target.table}"
    assert with_options(target, path).load(store).unchanged_count == 1


def test_ledger_that_is_hidden_from_the_role_is_a_matter_of_rights(
    target: LoadTarget, role: str, store: MemoryStore
) -> None:
    """A role that may create tables, and has no right on the existing ones, gets no advice to drop the ledger."""
    schema = f"hidden_{target.table}"
    target.query(f"create schema {schema}")
    hidden = target._replace(table=f"{schema}.{target.table}")
    hidden.load(store)
    target.query(f"grant usage, create on schema {schema} to {role}")
    with pytest.raises(ConfigurationError, match="Grant the role SELECT, INSERT and DELETE"):
        as_role(hidden, role).load(store)


def test_role_without_rights_fails(target: LoadTarget, role: str, store: MemoryStore) -> None:
    """A role that may read only fails with the rights it lacks; before and after the table exists."""
    with pytest.raises(ConfigurationError, match="Grant the role SELECT, INSERT and DELETE"):
        as_role(target, role).load(store)
    target.load(store)
    target.query(f"grant select on {target.table}, {target.table}_loads to {role}")
    commit(store, window(1), records_in(window(1), 1, "s"))
    with pytest.raises(ConfigurationError, match="Grant the role SELECT, INSERT and DELETE"):
        as_role(target, role).load(store)
    assert target.ids() == ["r0", "r1"]


def test_role_that_may_not_create_loads_into_existing_tables(target: LoadTarget, role: str, store: MemoryStore) -> None:
    """A role needs SELECT, INSERT and DELETE only, if table and ledger exist."""
    target.load(store)
    target.query(f"grant select, insert, delete on {target.table}, {target.table}_loads to {role}")
    commit(store, window(1), records_in(window(1), 1, "s"))
    assert as_role(target, role).load(store).record_count == 1


def test_read_only_session_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A session that is read-only, as on a standby, is a configuration error."""
    with pytest.raises(ConfigurationError, match="not read-only"):
        with_options(target, "-c default_transaction_read_only=on").load(store)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("create view {} as select 1 as id", "is a VIEW, not a table"),
        ("create view {}_loads as select 1 as id", "is a VIEW, not a table"),
        ("create materialized view {} as select 1 as id", "belongs to another object"),
        ("create sequence {}", "belongs to another object"),
        ("create table {}_loads (id int)", "has no column"),
    ],
)
def test_other_object_of_that_name_fails(target: LoadTarget, store: MemoryStore, statement: str, named: str) -> None:
    """A view, or another object with the name of the table or of its ledger, is a configuration error."""
    target.query(statement.format(target.table))
    with pytest.raises(ConfigurationError, match=named):
        target.load(store)


def test_name_in_another_case_fails(target: LoadTarget, store: MemoryStore) -> None:
    """A second table whose name differs in case only is not created."""
    target.load(store)
    with pytest.raises(ConfigurationError, match=f"but {target.table} does"):
        target._replace(table=target.table.upper()).load(store)


@pytest.mark.parametrize(
    "change", ["create unique index on {} (dataset)", "alter table {} alter actor_email set not null"]
)
def test_constraint_of_the_table_fails(target: LoadTarget, store: MemoryStore, change: str) -> None:
    """A constraint that the records break is a configuration error, not a conflict to be retried."""
    target.load(MemoryStore(store.objects), "other")
    target.query(f"delete from {target.table}")
    target.query(change.format(target.table))
    with pytest.raises(ConfigurationError, match="Remove the constraint"):
        target.load(store)


def test_connection_lost_in_the_middle_is_retried(
    target: LoadTarget, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that the server ends during a load is a retryable error; the next load loads everything."""

    def end_sessions(*_: object) -> None:
        target.query(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where pid <> pg_backend_pid() and state = 'idle in transaction'"
        )

    monkeypatch.setattr("airflow_audit_provider.pipelines.load.check_row_count", end_sessions)
    with pytest.raises(WarehouseUnavailableError, match="again") as caught:
        target.load(store)
    assert caught.value.retryable
    monkeypatch.undo()
    assert target.load(store).record_count == 2


def test_statement_timeout_is_retried(target: LoadTarget, store: MemoryStore) -> None:
    """A statement that takes too long is a retryable error that names the setting."""
    target.load(MemoryStore(store.objects), "other")
    target.query(
        f"create or replace function slow_{target.table}() returns trigger language plpgsql as "
        "$$ begin perform pg_sleep(5); return new; end $$"
    )
    target.query(f"create trigger slow before insert on {target.table} execute function slow_{target.table}()")
    with pytest.raises(WarehouseUnavailableError, match="statement_timeout"):
        with_options(target, "-c statement_timeout=300").load(store)


def test_database_without_unicode_fails(target: LoadTarget) -> None:
    """A character that the database's encoding lacks is a configuration error."""
    name = f"latin_{target.table}"
    with closing(psycopg.connect(target.address, autocommit=True)) as connection:
        connection.execute(f"create database {name} encoding 'LATIN1' locale 'C' template template0")
    store = MemoryStore()
    commit(store, window(), [record(window().start, "\U0001f600")])
    with pytest.raises(ConfigurationError, match="encoding UTF8"):
        target._replace(address=target.address.replace("dbname=postgres", f"dbname={name}")).load(store)


_OPENERS: dict[str, Callable[[str], Any]] = {
    "dict rows": lambda address: psycopg.connect(address, row_factory=dict_row),
    "autocommit": lambda address: psycopg.connect(address, autocommit=True),
    "dict cursor": lambda address: psycopg2.connect(address, cursor_factory=psycopg2.extras.DictCursor),
    "real dict cursor": lambda address: psycopg2.connect(address, cursor_factory=psycopg2.extras.RealDictCursor),
    "named tuples": lambda address: psycopg2.connect(address, cursor_factory=psycopg2.extras.NamedTupleCursor),
}


@pytest.mark.parametrize("opener", _OPENERS.values(), ids=_OPENERS)
def test_options_of_the_driver_do_not_matter(
    postgres: dict[str, Any], store: MemoryStore, opener: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of any kind are read, and a load is one transaction, whatever the connection's extra has chosen."""
    address = " ".join(f"{name}={value}" for name, value in postgres.items())
    target = LoadTarget("psycopg", address, f"audit_{uuid4().hex[:12]}")

    def load() -> int:
        with closing(SqlWarehouse(PostgresSession(opener(address)), table_name(target.table))) as warehouse:
            return load_committed(LoadSpec("d", DESTINATION), store, warehouse, lambda _: None).record_count

    monkeypatch.setattr("airflow_audit_provider.pipelines.load.check_row_count", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load()
    monkeypatch.undo()
    assert target.ids() == []
    assert (load(), load()) == (2, 0)


def _error(name: str, state: str | None, schema: str | None = None) -> Exception:
    error: Any = type(name, (Exception,), {})("text of the server")
    error.sqlstate, error.diag = state, SimpleNamespace(schema_name=schema)
    failed: Exception = error
    return failed


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (_error("DiskFull", "53100"), WarehouseUnavailableError, "disk space"),
        (_error("TooManyConnections", "53300"), WarehouseUnavailableError, "connections"),
        (_error("AdminShutdown", "57P01"), WarehouseUnavailableError, "again"),
        (_error("IdleInTransactionSessionTimeout", "25P03"), WarehouseUnavailableError, "timeouts"),
        (_error("OperationalError", None), WarehouseUnavailableError, "was lost"),
        (_error("InterfaceError", None), WarehouseUnavailableError, "was lost"),
        (_error("UniqueViolation", "23505", "pg_catalog"), WarehouseBusyError, "again"),
        (_error("DeadlockDetected", "40P01"), WarehouseBusyError, "again"),
        (_error("InvalidSchemaName", "3F000"), ConfigurationError, "CREATE SCHEMA"),
        (_error("GeneratedAlways", "428C9"), ConfigurationError, "Correct the table"),
    ],
)
def test_errors_of_the_server_are_named(error: BaseException, kind: type[AuditProviderError], remedy: str) -> None:
    """Each state has the class of its remedy, and the message has the server's text."""
    named = named_postgres_error(error)
    assert type(named) is kind
    assert remedy in str(named)
    assert "text of the server" in str(named)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y"), _error("ProgrammingError", None)])
def test_other_errors_are_not_named(error: BaseException) -> None:
    """An error that is not the server's stays what it is."""
    assert named_postgres_error(error) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_error("OperationalError", None), WarehouseUnavailableError),
        (ValueError("Invalid cursor passed"), ConfigurationError),
        (_error("ProgrammingError", None), ConfigurationError),
    ],
)
def test_errors_of_opening_are_named(error: Exception, kind: type[AuditProviderError]) -> None:
    """A server that does not answer is retried; anything else is a configuration error."""
    assert type(connection_error("warehouse", error)) is kind
