"""A dbt project of a user that has the package, a DuckDB file with landed days, and what the models hold."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.architecture.source_files import PROJECT
from tests.pipelines.load.warehouses import LoadTarget
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of
from tools.servers import dbt

PACKAGE = PROJECT / "airflow_audit_provider" / "dbt"
END = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
GAP = timedelta(minutes=30)
MODELS = ("audit_window_values", "audit_window_activity", "audit_sessions", "audit_first_seen", "audit_daily")
VERSIONS = ("v1", "v2")
TABLE = "audit_trail"


class Archive:
    """Days of both API versions, landed in normalized Parquet and loaded into a DuckDB file, or into PostgreSQL."""

    def __init__(self, folder: Path, days: int, records_per_day: int, postgres: dict[str, Any] | None = None) -> None:
        self.days = days
        self.path = folder / "audit.duckdb"
        self.postgres = postgres
        self.schema = "main" if postgres is None else "public"
        self.clock = ManualClock()
        self.fake: FakeCloudflare = fake_with(
            self.clock, records_per_day=records_per_day, requests_per_window=None, even_days=False
        )
        self._folder = folder

    def land(self, *days: int) -> None:
        """Lands and loads days, counted from the first one, of both versions."""
        for version in VERSIONS:
            store = LocalStore(str(self._folder / version))
            for number in days or range(self.days):
                start = self.start_of(number)
                format_ = {"schema": "normalized", "file_format": "parquet", "compression": "zstd"}
                land(
                    pull_spec(version, start=start, end=start + DAY, **format_), reader_of(self.fake, self.clock), store
                )
            uri = f"s3://audit/{version}"
            self._target().load(store, uri, uri, self.clock.now())

    def _target(self) -> LoadTarget:
        if self.postgres is None:
            return LoadTarget("duckdb", str(self.path), TABLE)
        return LoadTarget("psycopg", " ".join(f"{name}={value}" for name, value in self.postgres.items()), TABLE)

    def start_of(self, number: int) -> datetime:
        """Returns the midnight at which a day begins."""
        return END - (self.days - number) * DAY

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Returns the rows of a query."""
        if self.postgres is not None:
            with closing(psycopg.connect(**self.postgres, options="-c TimeZone=UTC")) as database:
                return database.execute(statement.encode()).fetchall()
        with closing(duckdb.connect(str(self.path))) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(statement).fetchall()

    def execute(self, statement: str) -> None:
        """Runs a statement that changes something."""
        with closing(duckdb.connect(str(self.path))) as connection:
            connection.execute(statement)

    def models(self) -> dict[str, list[tuple[Any, ...]]]:
        """Returns the rows of each model, sorted."""
        return {name: sorted(self.rows(f"select * from {name}"), key=str) for name in MODELS}

    def true_sessions(self) -> list[tuple[Any, ...]]:
        """Returns dataset, actor, start, end and number of records of each session, computed from the rows alone."""
        times: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        columns = "dataset, actor_email, actor_id, actor_token_id, actor_type, event_time"
        for dataset, email, *names, at in self.rows(f"select {columns} from {TABLE}"):
            actor = next((one for one in ((email or "").lower(), *names) if one), "unknown")
            times[dataset, actor].append(at)
        found = []
        for key, of_actor in times.items():
            session: list[datetime] = []
            for at in sorted(of_actor):
                if session and at - session[-1] > GAP:
                    found.append((*key, session[0], session[-1], len(session)))
                    session = []
                session.append(at)
            found.append((*key, session[0], session[-1], len(session)))
        return sorted(found)


class Project:
    """A user's dbt project whose only content is the package."""

    def __init__(self, folder: Path, archive: Archive) -> None:
        self._folder = folder
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DBT_")},
            "DBT_PROFILES_DIR": str(folder),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        folder.mkdir()
        (folder / "packages.yml").write_text(f"packages:\n  - local: {PACKAGE}\n")
        (folder / "dbt_project.yml").write_text(
            "name: mine\nversion: '1.0'\nconfig-version: 2\nprofile: audit\n"
            f"vars:\n  cloudflare_audit_logs:\n    audit_table: {TABLE}\n    audit_schema: {archive.schema}\n"
        )
        (folder / "profiles.yml").write_text(
            f"audit:\n  target: dev\n  outputs:\n    dev:\n      threads: 1\n{_output(archive)}"
        )
        self.run("deps")

    def run(self, *arguments: str) -> str:
        """Runs a command of dbt and returns what it prints; fails if the command does."""
        status, text = self.attempt(*arguments)
        assert status == 0, text[-6000:]
        return text

    def attempt(self, *arguments: str) -> tuple[int, str]:
        """Runs a command of dbt and returns its exit status and what it prints."""
        command = [str(dbt()), "--no-use-colors", *arguments]
        answer = subprocess.run(
            command, cwd=self._folder, env=self._environ, capture_output=True, text=True, timeout=1800, check=False
        )
        return answer.returncode, answer.stdout + answer.stderr


def _output(archive: Archive) -> str:
    """Returns the lines of a dbt profile that name the database."""
    server = archive.postgres
    if server is None:
        return f"      type: duckdb\n      path: {archive.path}\n      settings: {{TimeZone: UTC}}\n"
    return (
        f"      type: postgres\n      host: {server['host']}\n      port: {server['port']}\n"
        f"      user: {server['user']}\n      password: none\n      dbname: {server['dbname']}\n      schema: public\n"
    )
