"""The command ``load`` fills DuckDB, PostgreSQL and Iceberg as the operators do, without Airflow's database."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.cli.progress import LoadProgress
from airflow_audit_provider.core.warehouse.load_plan import check_row_count
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToSqlOperator
from airflow_audit_provider.pipelines.load import LoadedWindow
from airflow_audit_provider.testing.clock import ManualClock
from tests.cli.published import check
from tests.operators.task_setup import END, START, TaskSetup
from tests.pipelines.load.postgres_server import postgres_server
from tests.pipelines.pull.landing import record_at

DAY = timedelta(days=1)
TABLE = "cloudflare_audit_logs"


@pytest.fixture
def two_days(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> TaskSetup:
    """Two landed days of 300 records each, and the machine's clock at the time of the fake's."""
    monkeypatch.setattr(SystemClock, "now", lambda _: task_setup.clock.now())
    for number in (0, 1):
        task_setup.land(window_start=START + number * DAY, window_end=END + number * DAY)
    return task_setup


def load(two_days: TaskSetup, *arguments: str) -> int:
    """Runs the command for the destination, given as a path."""
    return main(["load", str(two_days.destination), *arguments])


def loaded_ids(path: Path) -> list[str]:
    """Returns the ids in the table of a DuckDB file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return [row[0] for row in connection.execute(f"SELECT id FROM {TABLE} ORDER BY id").fetchall()]


def true_ids(two_days: TaskSetup) -> list[str]:
    """Returns the ids of the two days in the log."""
    return sorted(row.id for row in two_days.fake.truth("v1", None, START, END + DAY))


@pytest.mark.integration
def test_duckdb_gets_every_record_once(two_days: TaskSetup, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first load has both days, the second one nothing, and the one after late records that generation."""
    capsys.readouterr()
    assert load(two_days, "--duckdb", str(tmp_path / "a.duckdb"), "--json") == 0
    answer = capsys.readouterr()
    values = json.loads(answer.out)
    check("load", values)
    assert (values["loaded_count"], values["record_count"], values["is_interrupted"]) == (2, 600, False)
    assert [line[:32] for line in answer.err.splitlines()] == [
        "Loaded 300 records of 2026-10-26",
        "Loaded 300 records of 2026-10-27",
    ]
    assert load(two_days, "--duckdb", str(tmp_path / "a.duckdb"), "--quiet") == 0
    answer = capsys.readouterr()
    assert (answer.out, answer.err) == (f"Nothing new to load into {TABLE}; 2 windows loaded before\n", "")
    two_days.fake.add(record_at("2026-10-26T03:00:00Z", "late-one"))
    two_days.land()
    assert load(two_days, "--duckdb", str(tmp_path / "a.duckdb")) == 0
    assert loaded_ids(tmp_path / "a.duckdb") == true_ids(two_days)


@pytest.mark.integration
def test_command_and_task_share_the_ledger(two_days: TaskSetup, tmp_path: Path) -> None:
    """A task has nothing to load after the command, though one names the destination by a URI and one by a path."""
    assert load(two_days, "--duckdb", str(tmp_path / "a.duckdb")) == 0
    task = CloudflareAuditLogsToSqlOperator(
        task_id="load", destination=f"file://{two_days.destination}", duckdb_path=str(tmp_path / "a.duckdb")
    )
    assert task.execute({})["loaded_count"] == 0


@pytest.mark.integration
def test_postgres_by_connection(two_days: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection comes from the environment, and the table has every record once."""
    with postgres_server() as server:
        fields = {"host": server["host"], "port": server["port"], "login": server["user"], "schema": server["dbname"]}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "postgres", **fields}))
        assert load(two_days, "--conn-id", "warehouse", "--table", "public.audit") == 0
        with psycopg.connect(**server) as connection:
            rows = connection.execute("SELECT id FROM public.audit").fetchall()
    assert sorted(row[0] for row in rows) == true_ids(two_days)


@pytest.mark.integration
def test_iceberg_in_a_folder(two_days: TaskSetup, tmp_path: Path) -> None:
    """The warehouse is a local folder with an SQLite file as the catalog, as for the operator."""
    assert load(two_days, "--warehouse", str(tmp_path / "ice")) == 0
    catalog = load_catalog("default", type="sql", uri=f"sqlite:///{tmp_path}/ice/catalog.db")
    ids = catalog.load_table(f"audit.{TABLE}").scan().to_arrow()["id"].to_pylist()
    assert sorted(map(str, ids)) == true_ids(two_days)


@pytest.mark.integration
def test_delta_in_a_relative_folder(two_days: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is a folder, relative to the working folder; a second warehouse beside it is refused."""
    monkeypatch.chdir(tmp_path)
    assert load(two_days, "--delta", "lake/audit") == 0
    ids = DeltaTable(f"{tmp_path}/lake/audit").to_pyarrow_table()["id"].to_pylist()
    assert sorted(map(str, ids)) == true_ids(two_days)
    assert load(two_days, "--delta", "lake/audit", "--duckdb", "a.duckdb") == 2


@pytest.mark.integration
def test_range_that_is_not_committed_returns_1(
    two_days: TaskSetup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is committed of a range is loaded, and the status says that a part of it is missing."""
    arguments = ["--duckdb", str(tmp_path / "a.duckdb")]
    assert load(two_days, *arguments, "--start", "2026-10-27", "--end", "2026-10-28") == 0
    assert len(loaded_ids(tmp_path / "a.duckdb")) == 300
    assert load(two_days, *arguments, "--start", "2026-10-26", "--end", "2026-10-30") == 1
    assert "NotCommittedError" in capsys.readouterr().err
    assert loaded_ids(tmp_path / "a.duckdb") == true_ids(two_days)


@pytest.mark.integration
def test_interrupted_load_continues(
    two_days: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C inside the second window leaves the first one loaded, and the same command loads the rest."""
    calls: list[object] = []

    def interrupt_second(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        check_row_count(*arguments)

    monkeypatch.setattr("airflow_audit_provider.pipelines.load.check_row_count", interrupt_second)
    assert load(two_days, "--duckdb", str(tmp_path / "a.duckdb")) == 130
    assert "this run has loaded 1 window" in capsys.readouterr().err
    assert len(loaded_ids(tmp_path / "a.duckdb")) == 300
    assert load(two_days, "--duckdb", str(tmp_path / "a.duckdb")) == 0
    assert loaded_ids(tmp_path / "a.duckdb") == true_ids(two_days)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name no warehouse, or several"),
        (["--duckdb", "a.duckdb", "--warehouse", "/ice"], "name no warehouse, or several"),
        (["--duckdb", "a.duckdb", "--start", "2026-10-26"], "Only one of --start and --end"),
        (["--conn-id", "nowhere"], "nowhere"),
        (["--warehouse", "relative/folder"], "not an absolute local folder"),
        (["--duckdb", "a.duckdb", "--table", "a.b.c.d"], "a.b.c.d"),
    ],
)
def test_wrong_arguments_return_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """An argument that no load can use is named, and nothing is printed as a result."""
    monkeypatch.chdir(tmp_path)
    assert main(["load", str(tmp_path), *arguments]) == 2
    answer = capsys.readouterr()
    assert message in answer.err
    assert not answer.out


class Screen(StringIO):
    """Text output that says it is a terminal."""

    def isatty(self) -> bool:
        """Returns true."""
        return True


def test_terminal_shows_one_line_and_is_left_clean() -> None:
    """The line has the newest window and the sums so far, and is removed at the end."""
    screen, clock = Screen(), ManualClock()
    with LoadProgress(screen, clock) as progress:
        for number in (0, 1):
            clock.sleep(61)
            window = TimeWindow(START + number * DAY, END + number * DAY)
            progress.loaded(LoadedWindow(window, 1, 0, 1_000))
    *_, line, end = screen.getvalue().split("\r\x1b[K")
    assert line == "2026-10-27: 2,000 records of 2 windows, 2:02"
    assert (end, progress.loaded_count) == ("", 2)
