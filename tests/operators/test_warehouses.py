"""Tests of the load operators: windows by catch-up, asset event or run, into every warehouse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog

from airflow_audit_provider._airflow.destinations import dataset_id
from airflow_audit_provider._airflow.warehouses import open_delta_warehouse, open_iceberg_warehouse
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.warehouse.load_plan import PlannedLoad
from airflow_audit_provider.exceptions import (
    ConfigurationError,
    NotCommittedError,
    WarehouseBusyError,
    WarehouseUnavailableError,
)
from airflow_audit_provider.formats.warehouse_rows import table_columns
from airflow_audit_provider.links.audit_logs import CoverageLink
from airflow_audit_provider.operators.warehouses import (
    CloudflareAuditLogsToDeltaOperator,
    CloudflareAuditLogsToIcebergOperator,
    CloudflareAuditLogsToSqlOperator,
)
from tests.operators.task_setup import END, START, TaskSetup
from tests.pipelines.load.postgres_server import postgres_server
from tests.pipelines.load.rest_catalog import rest_catalog
from tests.pipelines.verify.dataset import commit, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

DAY = timedelta(days=1)
NEXT_DAY = {"window_start": END, "window_end": END + DAY}


@pytest.fixture
def two_days(task_setup: TaskSetup) -> TaskSetup:
    """Setup with two landed days."""
    task_setup.clock.advance(DAY.total_seconds() * 2)
    task_setup.land()
    task_setup.land(**NEXT_DAY)
    return task_setup


def _to_duckdb(task_setup: TaskSetup, file: Path, **arguments: Any) -> CloudflareAuditLogsToSqlOperator:
    given = {
        "task_id": "load",
        "destination": f"file://{task_setup.destination}",
        "duckdb_path": str(file),
        **arguments,
    }
    return CloudflareAuditLogsToSqlOperator(**given)


def _days(file: Path) -> dict[str, int]:
    """Returns the number of rows of each day."""
    with duckdb.connect(str(file)) as database:
        database.execute("set TimeZone = 'UTC'")
        query = "select strftime(event_time, '%Y-%m-%d'), count(*) from cloudflare_audit_logs group by 1"
        return dict(database.execute(query).fetchall())


@pytest.mark.integration
def test_pending_loads_every_window_not_loaded_yet(two_days: TaskSetup, tmp_path: Path) -> None:
    """Loads everything committed by default; a second run loads nothing."""
    operator = _to_duckdb(two_days, tmp_path / "a.duckdb")
    assert operator.execute({}) == {
        "loaded_count": 2,
        "replaced_count": 0,
        "unchanged_count": 0,
        "record_count": 600,
        "window_start": START.isoformat(),
        "window_end": (END + DAY).isoformat(),
    }
    assert operator.execute({})["unchanged_count"] == 2
    assert _days(tmp_path / "a.duckdb") == {"2026-10-26": 300, "2026-10-27": 300}


@pytest.mark.integration
def test_events_load_only_the_windows_they_name(two_days: TaskSetup, tmp_path: Path) -> None:
    """By asset event only the windows that the land operator's events name are loaded."""
    extra = {"window_start": END.isoformat(), "window_end": (END + DAY).isoformat()}
    events = {audit_log_asset(f"file://{two_days.destination}"): [SimpleNamespace(extra=extra)]}
    operator = _to_duckdb(two_days, tmp_path / "a.duckdb", windows="events")
    assert operator.execute({"triggering_asset_events": events})["loaded_count"] == 1
    assert _days(tmp_path / "a.duckdb") == {"2026-10-27": 300}


@pytest.mark.integration
def test_link_of_load_leads_to_its_window_or_to_the_dataset(two_days: TaskSetup, tmp_path: Path) -> None:
    """A task that loads several windows, or fails, links to the calendar of what it loads from."""
    link = CoverageLink()
    failing = _to_duckdb(two_days, tmp_path / "a.duckdb", windows="run")
    assert link.get_link(failing, ti_key=None) == ""
    with pytest.raises(AirflowFailException):
        failing.execute({})
    dataset = link.get_link(failing, ti_key=None)
    assert dataset.endswith(f"/cloudflare-audit-logs/d/{dataset_id(f'file://{two_days.destination}')}")
    one = _to_duckdb(two_days, tmp_path / "a.duckdb", windows="run", **NEXT_DAY)
    one.execute({})
    assert link.get_link(one, ti_key=None) == f"{dataset}/w/20261027T000000Z-20261028T000000Z"
    several = _to_duckdb(two_days, tmp_path / "b.duckdb")
    several.execute({})
    assert link.get_link(several, ti_key=None) == dataset


def test_events_without_triggering_event_fails_permanently(two_days: TaskSetup, tmp_path: Path) -> None:
    """States that no asset event triggered the run."""
    with pytest.raises(AirflowFailException, match="pending"):
        _to_duckdb(two_days, tmp_path / "a.duckdb", windows="events").execute({})


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "context"),
    [
        ({"window_start": "2026-10-27", "window_length": DAY}, {}),
        ({}, {"partition_date": datetime(2026, 10, 27, tzinfo=UTC), "partition_key": "2026-10-27"}),
        ({}, {"data_interval_start": END, "data_interval_end": END + DAY}),
    ],
)
def test_run_loads_its_window(
    two_days: TaskSetup, tmp_path: Path, arguments: dict[str, Any], context: dict[str, Any]
) -> None:
    """Loads the run's window: explicit, its partition, or its data interval."""
    _to_duckdb(two_days, tmp_path / "a.duckdb", windows="run", **arguments).execute(context)
    assert _days(tmp_path / "a.duckdb") == {"2026-10-27": 300}


@pytest.mark.integration
def test_uncommitted_window_raises_retryable_error(two_days: TaskSetup, tmp_path: Path) -> None:
    """Raises an error that Airflow retries."""
    operator = _to_duckdb(two_days, tmp_path / "a.duckdb", windows="run", window_start="2026-11-02", window_length=DAY)
    with pytest.raises(NotCommittedError):
        operator.execute({})


@pytest.mark.integration
@pytest.mark.parametrize("windows", ["run", "events"])
def test_one_uncommitted_window_of_two_is_retried(two_days: TaskSetup, tmp_path: Path, windows: str) -> None:
    """Loads the committed day, then raises an error that Airflow retries."""
    days = [(END, END + DAY), (END + DAY, END + 2 * DAY)]
    extras = [{"window_start": start.isoformat(), "window_end": end.isoformat()} for start, end in days]
    events = {audit_log_asset(f"file://{two_days.destination}"): [SimpleNamespace(extra=extra) for extra in extras]}
    bounds = {"window_start": END, "window_end": END + 2 * DAY} if windows == "run" else {}
    operator = _to_duckdb(two_days, tmp_path / "a.duckdb", windows=windows, **bounds)
    with pytest.raises(NotCommittedError, match="2026-10-28"):
        operator.execute({"triggering_asset_events": events})
    assert _days(tmp_path / "a.duckdb") == {"2026-10-27": 300}
    two_days.clock.advance(DAY.total_seconds())
    two_days.land(window_start=END + DAY, window_end=END + 2 * DAY)
    assert operator.execute({"triggering_asset_events": events})["loaded_count"] == 1


@pytest.mark.integration
def test_damaged_part_fails_permanently_and_loads_other_windows(two_days: TaskSetup, tmp_path: Path) -> None:
    """Fails without retries, and loads every undamaged window."""
    (part,) = two_days.destination.glob("dt=2026-10-26/**/part-*")
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(AirflowFailException, match="differs from its manifest"):
        _to_duckdb(two_days, tmp_path / "a.duckdb").execute({})
    assert _days(tmp_path / "a.duckdb") == {"2026-10-27": 300}


@pytest.mark.integration
def test_duckdb_by_connection(two_days: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection's host is the file, and its extra has DuckDB's memory limit."""
    file = tmp_path / "a.duckdb"
    connection = {"conn_type": "duckdb", "host": str(file), "extra": {"memory_limit": "1GB"}}
    monkeypatch.setenv("AIRFLOW_CONN_DUCK", json.dumps(connection))
    _to_duckdb(two_days, file, duckdb_path=None, conn_id="duck").execute({})
    assert sum(_days(file).values()) == 600
    monkeypatch.setenv("AIRFLOW_CONN_DUCK", json.dumps(connection | {"extra": {"memory_limit": "plenty"}}))
    with pytest.raises(AirflowFailException, match="memory_limit"):
        _to_duckdb(two_days, file, duckdb_path=None, conn_id="duck").execute({})


@pytest.mark.integration
def test_postgres_by_connection(two_days: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of type postgres is opened by the postgres provider's own hook."""
    with postgres_server() as server:
        fields = {"host": server["host"], "port": server["port"], "login": server["user"], "schema": server["dbname"]}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "postgres", **fields}))
        arguments = {"duckdb_path": None, "conn_id": "warehouse", "table": "public.audit"}
        operator = _to_duckdb(two_days, Path("unused"), **arguments)
        assert operator.execute({})["record_count"] == 600
        assert operator.execute({})["unchanged_count"] == 2


@pytest.mark.integration
def test_iceberg_in_a_folder(two_days: TaskSetup, tmp_path: Path) -> None:
    """Without a catalog the warehouse is a local folder with an SQLite file as the catalog."""
    operator = CloudflareAuditLogsToIcebergOperator(
        task_id="load", destination=f"file://{two_days.destination}", warehouse=str(tmp_path / "ice")
    )
    assert operator.execute({})["record_count"] == 600
    uri = f"sqlite:///{tmp_path}/ice/catalog.db"
    table = load_catalog("default", type="sql", uri=uri).load_table("audit.cloudflare_audit_logs")
    assert table.scan().to_arrow().num_rows == 600
    assert len(table.snapshots()) == 2


@pytest.mark.integration
def test_iceberg_by_connection(two_days: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection's extra has the catalog's properties, its host the URI."""
    extra = {"type": "sql", "warehouse": f"file://{tmp_path}"}
    fields = {"conn_type": "iceberg", "host": f"sqlite:///{tmp_path}/catalog.db", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(fields))
    operator = CloudflareAuditLogsToIcebergOperator(
        task_id="load", destination=f"file://{two_days.destination}", catalog_conn_id="lake", table="a.b"
    )
    assert operator.execute({})["record_count"] == 600


@pytest.mark.integration
def test_delta_in_a_folder(two_days: TaskSetup, tmp_path: Path) -> None:
    """The table is a local folder, by a URI or a path; a second run loads nothing."""
    for table, loaded_count in ((f"file://{tmp_path}/delta", 2), (f"{tmp_path}/delta/", 0)):
        operator = CloudflareAuditLogsToDeltaOperator(
            task_id="load", destination=f"file://{two_days.destination}", table=table
        )
        assert operator.execute({})["loaded_count"] == loaded_count
    assert DeltaTable(f"{tmp_path}/delta").to_pyarrow_table().num_rows == 600


def test_delta_on_s3_by_connection(
    servers: Callable[[str], Any], two_days: TaskSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection of type aws has credentials and endpoint; of two loaders with one claim the second one fails."""
    server = servers("s3-moto")
    server.make_bucket("delta-lake")
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(server.fields()))
    operator = CloudflareAuditLogsToDeltaOperator(
        task_id="load", destination=f"file://{two_days.destination}", table="s3://delta-lake/a/b", table_conn_id="lake"
    )
    assert [operator.execute({})["loaded_count"] for _ in range(2)] == [2, 0]
    first, second = (open_delta_warehouse("s3://delta-lake/a/b", "lake", None) for _ in range(2))
    claim = PlannedLoad(window(), "", 1).claim("d", "x", CommittedManifest(_empty_manifest(), "", "1" * 64), "1" * 64)
    for warehouse in (first, second):
        warehouse.prepare(table_columns())
    with first.replacing(claim):
        pass
    with pytest.raises(WarehouseBusyError, match="first"), second.replacing(claim):
        pass


def _empty_manifest() -> Manifest:
    return commit(MemoryStore(), window(), [])


def test_delta_options_in_a_connection_are_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that cannot be reached is retried and shows no secret; options that are objects are refused."""
    extra: dict[str, str | None] = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_SECRET_ACCESS_KEY": "tiger-secret-1",
        "AWS_REGION": "x",
    }
    extra |= {"AWS_ACCESS_KEY_ID": "a", "AWS_ALLOW_HTTP": "true", "max_retries": "0", "unset": None}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "extra": extra}))
    with pytest.raises(WarehouseUnavailableError, match="failed") as caught:
        open_delta_warehouse("s3://lake/t", "lake", None).prepare(table_columns())
    assert "tiger-secret-1" not in str(caught.value)
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "extra": {"client": {"a": 1}}}))
    with pytest.raises(ConfigurationError, match="'client'"):
        open_delta_warehouse("s3://lake/t", "lake", None)


@pytest.mark.parametrize(
    ("table", "options", "named"),
    [
        ("relative/folder", None, "neither an absolute folder"),
        ("s3://bucket", None, "nor a folder in a bucket"),
        ("s3://lake@bucket/t", None, "table_conn_id"),
        ("s3://bucket/a#b", None, "does not name the same place"),
        ("s3://bucket/t", "{'AWS_REGION': 'x'}", "Give a dict"),
    ],
)
def test_invalid_delta_table_is_refused(table: str, options: Any, named: str) -> None:
    """A location that is no place, and options that a template has made a text, are configuration errors."""
    with pytest.raises(ConfigurationError, match=named):
        open_delta_warehouse(table, None, options)


def test_catalog_properties_in_a_connection_keep_objects_and_drop_null(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object in the extra reaches pyiceberg as an object, null is left out, and the secret is in no message."""
    auth = {"type": "basic", "basic": {"username": "ann", "password": "tiger-secret-1"}}
    extra = {"type": "rest", "auth": auth, "warehouse": None}
    fields = {"conn_type": "iceberg", "host": "http://127.0.0.1:9/lake", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(fields))
    with pytest.raises(WarehouseUnavailableError, match=r"127\.0\.0\.1.*Connection refused") as caught:
        open_iceberg_warehouse("lake", None, None, "a.b")
    assert "tiger-secret-1" not in str(caught.value)


def test_password_without_a_login_is_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The token of a REST catalog is the password of its connection, where Airflow hides it."""
    fields = {"conn_type": "iceberg", "password": "tiger-secret-1", "extra": {"type": "rest", "warehouse": "audit"}}
    with rest_catalog(tmp_path) as server:
        server.token = "tiger-secret-1"
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(fields | {"host": server.uri}))
        with closing(open_iceberg_warehouse("lake", None, None, "a.b")) as warehouse:
            warehouse.prepare(table_columns())
        assert server.requests[0] == "GET /v1/config"


def test_catalog_properties_that_are_text_fail() -> None:
    """Properties that a template has made a text are a configuration error."""
    rendered: Any = "{'type': 'sql'}"
    with pytest.raises(ConfigurationError, match="Give a dict"):
        open_iceberg_warehouse(None, rendered, None, "a.b")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"duckdb_path": None}, "conn_id"),
        ({"conn_id": "both"}, "Set exactly one of them"),
        ({"duckdb_path": None, "conn_id": "nowhere"}, "nowhere"),
        ({"duckdb_path": None, "conn_id": "mysql"}, "mysql"),
        ({"duckdb_path": None, "conn_id": "nameless"}, "has no host"),
        ({"table": 'audit"; drop table x; --'}, "not a valid table name"),
        ({"duckdb_path": "/no/such/folder/a.duckdb"}, "cannot open"),
    ],
)
def test_invalid_warehouse_fails_at_once(
    two_days: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], named: str
) -> None:
    """Fails at once and names the remedy."""
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL", json.dumps({"conn_type": "mysql", "host": "x"}))
    monkeypatch.setenv("AIRFLOW_CONN_NAMELESS", json.dumps({"conn_type": "duckdb"}))
    with pytest.raises(AirflowFailException, match=named):
        _to_duckdb(two_days, tmp_path / "a.duckdb", **arguments).execute({})


@pytest.mark.integration
@pytest.mark.parametrize("warehouse", [None, "relative/folder", "s3://bucket/x"])
def test_iceberg_without_a_catalog_is_refused(two_days: TaskSetup, warehouse: str | None) -> None:
    """A warehouse other than a local folder needs a catalog."""
    operator = CloudflareAuditLogsToIcebergOperator(
        task_id="load", destination=f"file://{two_days.destination}", warehouse=warehouse
    )
    with pytest.raises(AirflowFailException, match="catalog"):
        operator.execute({})


def test_unknown_windows_choice_fails_at_dag_parse(task_setup: TaskSetup, tmp_path: Path) -> None:
    """Rejects an unknown value of ``windows``."""
    with pytest.raises(ConfigurationError, match="'pending', 'events', 'run'"):
        _to_duckdb(task_setup, tmp_path / "a.duckdb", windows="all")


def test_missing_library_names_the_extra(two_days: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names the extra to install."""
    monkeypatch.setattr("airflow_audit_provider.adapters.warehouses.duckdb.find_spec", lambda _: None)
    with pytest.raises(AirflowFailException, match=r"airflow-audit-provider\[duckdb\]"):
        _to_duckdb(two_days, tmp_path / "a.duckdb").execute({})


def test_windows_and_place_are_templated() -> None:
    """Every argument that selects windows or the place is templated."""
    assert {"destination", "table", "window_start", "conn_id", "duckdb_path"} <= set(
        CloudflareAuditLogsToSqlOperator.template_fields
    )
    assert {"catalog_properties", "warehouse"} <= set(CloudflareAuditLogsToIcebergOperator.template_fields)
    assert {"table_conn_id", "storage_options"} <= set(CloudflareAuditLogsToDeltaOperator.template_fields)


def _landed(folder: Path, prefix: str, count: int) -> str:
    """Lands one day with so many records; returns the destination."""
    store = LocalStore(str(folder))
    commit(store, window(), records_in(window(), count, prefix))
    return f"file://{folder}"


@pytest.mark.integration
def test_two_destinations_under_one_dataset_fail_permanently(tmp_path: Path) -> None:
    """The second destination under one dataset name fails and names both, also with the URI spelled otherwise."""
    file = tmp_path / "a.duckdb"
    ours, theirs = _landed(tmp_path / "a", "a", 4), _landed(tmp_path / "b", "b", 6)
    arguments = {"task_id": "load", "duckdb_path": str(file), "dataset": "cloudflare"}
    assert CloudflareAuditLogsToSqlOperator(destination=ours, **arguments).execute({})["record_count"] == 4
    with pytest.raises(AirflowFailException, match=rf"(?s){ours}.*{theirs}.*dataset name of its own"):
        CloudflareAuditLogsToSqlOperator(destination=theirs, **arguments).execute({})
    assert CloudflareAuditLogsToSqlOperator(destination=f"{ours}/", **arguments).execute({})["unchanged_count"] == 1


@pytest.mark.integration
def test_destination_landed_anew_is_loaded_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A destination with other manifests at the same URI replaces its rows, and the log says so."""
    destination = _landed(tmp_path / "a", "a", 4)
    operator = CloudflareAuditLogsToSqlOperator(
        task_id="load", destination=destination, duckdb_path=str(tmp_path / "a.duckdb")
    )
    operator.execute({})
    shutil.rmtree(tmp_path / "a")
    _landed(tmp_path / "a", "b", 6)
    summary = operator.execute({})
    assert (summary["record_count"], summary["replaced_count"], summary["unchanged_count"]) == (6, 1, 0)
    assert "replacing generation 1 of an earlier landing" in capsys.readouterr().out
    assert sum(_days(tmp_path / "a.duckdb").values()) == 6


@pytest.mark.parametrize(
    ("connection", "named"),
    [
        ({"conn_type": "duckdb", "extra": {"memorylimit": "1GB"}}, "'memorylimit' in its extra"),
        ({"conn_type": "duckdb", "extra": {"memory_limit": 1}}, "memory_limit.* is a int"),
        ({"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "extra": {"colour": "blue"}}, "colour"),
        ({"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "extra": {"sslmode": "perhaps"}}, "sslmode"),
        ({"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "extra": {"cursor": "square"}}, "cursor"),
    ],
)
def test_wrong_extra_of_a_connection_fails_permanently(
    two_days: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], named: str
) -> None:
    """An unknown or invalid option in the connection's extra is named, and the message shows no password."""
    connection = {"host": str(tmp_path / "a.duckdb"), "login": "ann", "password": "swordfish", **connection}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with pytest.raises(AirflowFailException, match=named) as caught:
        _to_duckdb(two_days, tmp_path / "unused", duckdb_path=None, conn_id="warehouse").execute({})
    assert "swordfish" not in str(caught.value)


@pytest.mark.integration
@pytest.mark.parametrize("conn_type", ["duckdb", "postgres"])
def test_extra_that_is_no_object_fails_permanently(
    two_days: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    """An extra that is a JSON list, as a secrets backend may hold it, is named."""
    connection = {"conn_type": conn_type, "host": "127.0.0.1", "port": 1, "extra": "[1]"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with pytest.raises(AirflowFailException, match="not an object"):
        _to_duckdb(two_days, tmp_path / "unused", duckdb_path=None, conn_id="warehouse").execute({})


def test_server_that_does_not_answer_is_retried(
    two_days: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PostgreSQL server that cannot be reached is an error that Airflow retries."""
    connection = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "ann", "password": "swordfish"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with pytest.raises(WarehouseUnavailableError, match="cannot be reached") as caught:
        _to_duckdb(two_days, tmp_path / "unused", duckdb_path=None, conn_id="warehouse").execute({})
    assert "swordfish" not in str(caught.value)


@pytest.mark.integration
def test_folder_that_cannot_be_created_fails_permanently(two_days: TaskSetup, tmp_path: Path) -> None:
    """A local Iceberg warehouse below a file is named."""
    (tmp_path / "file").write_text("")
    operator = CloudflareAuditLogsToIcebergOperator(
        task_id="load", destination=f"file://{two_days.destination}", warehouse=f"{tmp_path}/file/ice"
    )
    with pytest.raises(AirflowFailException, match="cannot be created"):
        operator.execute({})
