"""Builds the environment variables of Airflow's processes and of the fake Cloudflare.

Imports only the standard library, because the demo uses it before anything is installed.

Invariant: no variable of the caller that could point to another Airflow or another Python is passed on.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from harness.airflow_folders import AirflowFolders

PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"})
LEAKING_PREFIXES = ("AIRFLOW", "_AIRFLOW", "AUDIT_", "OTEL_", "OPENLINEAGE_", "SQLALCHEMY_", "GUNICORN_", "UVICORN_")
LEAKING = frozenset(
    {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "VIRTUAL_ENV", "FORWARDED_ALLOW_IPS"}
)
LOOPBACK = "127.0.0.1,localhost,::1"


@dataclass(frozen=True)
class Ports:
    """The loopback ports Airflow listens on."""

    api: int
    worker_log: int
    trigger_log: int


def isolated_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without what would lead Python or Airflow to another installation."""
    return {
        name: value
        for name, value in environ.items()
        if name not in LEAKING and not name.upper().startswith(LEAKING_PREFIXES)
    }


def airflow_environ(
    environ: Mapping[str, str],
    folders: AirflowFolders,
    ports: Ports,
    connection: Mapping[str, object],
    first_free_day: str,
) -> dict[str, str]:
    """Returns the variables of Airflow's processes. Schedules begin at `first_free_day`, a UTC date."""
    kept = {name: value for name, value in isolated_environ(environ).items() if not name.startswith("CLOUDFLARE_")}
    kept["PATH"] = f"{folders.venv / 'bin'}:{kept.get('PATH', '/usr/bin:/bin')}"
    # The processes talk to each other on loopback, which must not go through a proxy.
    kept["NO_PROXY"] = kept["no_proxy"] = ",".join(filter(None, (kept.get("no_proxy"), kept.get("NO_PROXY"), LOOPBACK)))
    kept["PYTHONUNBUFFERED"] = "1"
    return kept | _airflow_settings(folders, ports) | _dag_settings(folders, connection, first_free_day)


def without_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without proxies, for programs that only talk on loopback."""
    return {name: value for name, value in environ.items() if name.upper() not in PROXIES}


def _airflow_settings(folders: AirflowFolders, ports: Ports) -> dict[str, str]:
    home, base_url = folders.airflow_home, f"http://127.0.0.1:{ports.api}"
    settings = {
        "CORE__DAGS_FOLDER": str(folders.dags),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__MAX_ACTIVE_TASKS_PER_DAG": "4",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"{base_url}/execution/",
        # The default is 5 s. An API server that waits for SQLite's only writer on a busy machine takes longer, and a
        # task that cannot report its start fails without a log.
        "WORKERS__EXECUTION_API_TIMEOUT": "60",
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "API__HOST": "127.0.0.1",
        "API__PORT": str(ports.api),
        "API__BASE_URL": base_url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": secrets.token_urlsafe(32),
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(32),
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "LOGGING__WORKER_LOG_SERVER_PORT": str(ports.worker_log),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports.trigger_log),
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "SCHEDULER__CATCHUP_BY_DEFAULT": "False",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
        # The default of 30 s is for a real API; the fake has no replicas.
        "CLOUDFLARE_AUDIT_LOGS__EDGES_PAUSE_SECONDS": "1",
    }
    prefixed = {f"AIRFLOW__{name}": value for name, value in settings.items()}
    return {"AIRFLOW_HOME": str(home), "AIRFLOW_CONFIG": str(home / "airflow.cfg"), **prefixed}


def _dag_settings(folders: AirflowFolders, connection: Mapping[str, object], first_free_day: str) -> dict[str, str]:
    return {
        "AIRFLOW_CONN_CLOUDFLARE_DEFAULT": json.dumps(connection),
        "AUDIT_DESTINATION": (folders.landed / "jsonl").as_uri(),
        "AUDIT_HISTORY_DESTINATION": (folders.landed / "parquet").as_uri(),
        # Schedules begin after the caller has ended, so that only the backfills asked for run.
        "AUDIT_START_DATE": first_free_day,
        "AUDIT_HISTORY_START_DATE": first_free_day,
    }
