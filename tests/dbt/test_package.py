"""The dbt package: its own tests pass, and a late record gives the same models as computing everything anew."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from airflow_audit_provider.core.windows.window import format_instant
from tests.dbt.projects import DAY, END, GAP, PACKAGE, TABLE, VERSIONS, Archive, Project
from tests.pipelines.load.postgres_server import postgres_server

LATE_ACTOR = "late@example.com"


def add_record(archive: Archive, at: datetime, name: str) -> None:
    """Adds a record of the late actor to both versions."""
    actor = {"email": LATE_ACTOR, "type": "user"}
    when = format_instant(at)
    v1 = {"id": f"{name}-1", "when": when, "action": {"type": "login", "result": True}, "actor": actor}
    v2 = {"id": f"{name}-2", "action": {"type": "login", "time": when, "result": "success"}, "actor": actor}
    archive.fake.add(msgspec.json.encode(v1), "v1")
    archive.fake.add(msgspec.json.encode(v2), "v2")


def sessions_of(archive: Archive, actor: str) -> list[tuple[Any, ...]]:
    """Returns the sessions of an actor in the first dataset."""
    columns = "started_at, ended_at, cast(record_count as integer)"
    where = f"where actor = '{actor}' and dataset = 's3://audit/v1'"
    return archive.rows(f"select {columns} from audit_sessions {where} order by 1")


def check_sessions(archive: Archive) -> None:
    """Compares all sessions with those computed from the rows alone."""
    found = archive.rows(
        "select dataset, actor, started_at, ended_at, cast(record_count as integer) from audit_sessions"
    )
    assert sorted(found) == archive.true_sessions()


@pytest.mark.integration
def test_late_record_joins_sessions_and_incremental_runs_agree_with_a_full_one(tmp_path: Path) -> None:
    """A record that comes between two sessions, across midnight, makes one of them in both API versions."""
    archive = Archive(tmp_path, 8, 60)
    midnight = archive.start_of(4)
    early, later = midnight - timedelta(minutes=25), midnight + timedelta(minutes=30)
    add_record(archive, early, "early")
    add_record(archive, later, "later")
    archive.land()
    project = Project(tmp_path / "mine", archive)
    text = project.run("build")
    assert re.search(r"PASS=\d\d+ WARN=0 ERROR=0 SKIP=0", text), text[-2000:]
    assert sessions_of(archive, LATE_ACTOR) == [(early, early, 1), (later, later, 1)]
    check_sessions(archive)
    first = min(archive.rows("select first_seen_at from audit_first_seen where value = 'late@example.com'"))
    assert first == (early,)
    late_at = midnight + timedelta(minutes=3)
    add_record(archive, late_at, "between")
    add_record(archive, archive.start_of(1) + GAP, "before")
    archive.land(1, 4)
    # A row of an unchanged window that is altered stays as it is: the run computes changed windows only. No other model
    # reads this column.
    unchanged = f"window_start = '{archive.start_of(6).isoformat()}'"
    archive.execute(f"update audit_window_activity set stretch = stretch + 900 where {unchanged}")
    project.run("run")
    assert archive.rows(f"select min(stretch) >= 900 from audit_window_activity where {unchanged}") == [(True,)]
    archive.execute(f"update audit_window_activity set stretch = stretch - 900 where {unchanged}")
    assert sessions_of(archive, LATE_ACTOR)[1:] == [(early, later, 3)]
    check_sessions(archive)
    incremental = archive.models()
    project.run("run", "--full-refresh")
    assert incremental == archive.models()


@pytest.mark.integration
def test_rows_that_no_load_explains_fail_the_tests_of_the_package(tmp_path: Path) -> None:
    """A doubled row differs from the ledger, and an unknown API version from the documented ones."""
    archive = Archive(tmp_path, 1, 20)
    archive.land()
    archive.execute(f"insert into {TABLE} select * replace ('v3' as api_version) from {TABLE} limit 1")
    status, text = Project(tmp_path / "mine", archive).attempt("build")
    assert status == 1
    assert "Failure in test loads_have_their_rows" in text
    assert "Failure in test source_accepted_values_cloudflare_audit_logs_records_api_version" in text


@pytest.mark.nightly
def test_tests_of_the_package_pass_on_540_days(tmp_path: Path) -> None:
    """Eighteen months of both API versions, landed from the fake, pass, and so does a run with a late record."""
    archive = Archive(tmp_path, 540, 60)
    archive.land()
    project = Project(tmp_path / "mine", archive)
    project.run("build")
    check_sessions(archive)
    add_record(archive, END - 300 * DAY + GAP, "late")
    archive.land(240)
    project.run("build")
    check_sessions(archive)
    assert {row[0] for row in archive.rows("select distinct api_version from audit_daily")} == set(VERSIONS)


@pytest.mark.nightly
def test_package_runs_on_postgresql(tmp_path: Path) -> None:
    """On PostgreSQL the tests of the package pass, and after late records the sessions are those of the rows alone."""
    with postgres_server() as postgres:
        archive = Archive(tmp_path, 14, 60, postgres)
        archive.land()
        project = Project(tmp_path / "mine", archive)
        text = project.run("build")
        assert re.search(r"PASS=\d\d+ WARN=0 ERROR=0 SKIP=0", text), text[-2000:]
        check_sessions(archive)
        add_record(archive, archive.start_of(7), "late")
        archive.land()
        project.run("build")
        check_sessions(archive)
        incremental = archive.models()
        project.run("run", "--full-refresh")
        assert incremental == archive.models()


def test_each_column_of_each_model_is_documented() -> None:
    """The description of no model, source or column is missing."""
    models = yaml.safe_load((PACKAGE / "models" / "models.yml").read_text())["models"]
    (source,) = yaml.safe_load((PACKAGE / "models" / "sources.yml").read_text())["sources"]
    assert {model["name"] for model in models} == {path.stem for path in (PACKAGE / "models").glob("*.sql")}
    for one in (*models, *source["tables"]):
        assert one["description"]
        assert one["columns"]
        assert all(column["description"].endswith(".") for column in one["columns"]), one["name"]
