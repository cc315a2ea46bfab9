"""The environment variables the demo's children see: nothing of the user's Airflow, all of the demo's.

Knows: which variables leak into Airflow, and Airflow's settings for a quick instance on two cores.
Must not know: which processes are started with them.
Its one rule: standard library only; a variable that could point at the user's own Airflow never gets through.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from demo.layout import Layout

PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"})
LEAKING_PREFIXES = ("AIRFLOW", "_AIRFLOW", "AUDIT_", "OTEL_", "OPENLINEAGE_", "SQLALCHEMY_", "GUNICORN_", "UVICORN_")
LEAKING = frozenset(
    {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "VIRTUAL_ENV", "FORWARDED_ALLOW_IPS"}
)
LOOPBACK = "127.0.0.1,localhost,::1"


@dataclass(frozen=True)
class Ports:
    """The three ports Airflow listens on; all on loopback."""

    api: int
    worker_log: int
    trigger_log: int


def second_half_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without anything that would lead Python or Airflow to another installation."""
    return {
        name: value
        for name, value in environ.items()
        if name not in LEAKING and not name.upper().startswith(LEAKING_PREFIXES)
    }


def airflow_environ(
    environ: Mapping[str, str], layout: Layout, ports: Ports, connection: Mapping[str, object], first_free_day: str
) -> dict[str, str]:
    """All variables of Airflow's own children; `first_free_day` is a UTC date after which schedules may begin."""
    kept = {name: value for name, value in second_half_environ(environ).items() if not name.startswith("CLOUDFLARE_")}
    kept["PATH"] = f"{layout.venv / 'bin'}:{kept.get('PATH', '/usr/bin:/bin')}"
    # Children talk to one another on loopback, which no proxy may carry.
    kept["NO_PROXY"] = kept["no_proxy"] = ",".join(filter(None, (kept.get("no_proxy"), kept.get("NO_PROXY"), LOOPBACK)))
    kept["PYTHONUNBUFFERED"] = "1"
    return kept | _airflow_settings(layout, ports) | _dag_settings(layout, connection, first_free_day)


def without_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The same environment with no proxy at all: for the fake, which is never further than loopback."""
    return {name: value for name, value in environ.items() if name.upper() not in PROXIES}


def _airflow_settings(layout: Layout, ports: Ports) -> dict[str, str]:
    home, base_url = layout.airflow_home, f"http://127.0.0.1:{ports.api}"
    settings = {
        "CORE__DAGS_FOLDER": str(layout.dags),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__MAX_ACTIVE_TASKS_PER_DAG": "4",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"{base_url}/execution/",
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
    }
    prefixed = {f"AIRFLOW__{name}": value for name, value in settings.items()}
    return {"AIRFLOW_HOME": str(home), "AIRFLOW_CONFIG": str(home / "airflow.cfg"), **prefixed}


def _dag_settings(layout: Layout, connection: Mapping[str, object], first_free_day: str) -> dict[str, str]:
    return {
        "AIRFLOW_CONN_CLOUDFLARE_DEFAULT": json.dumps(connection),
        "AUDIT_DESTINATION": (layout.landed / "jsonl").as_uri(),
        "AUDIT_HISTORY_DESTINATION": (layout.landed / "parquet").as_uri(),
        # Schedules begin after the demo has ended, so that only the backfill asked for is run.
        "AUDIT_START_DATE": first_free_day,
        "AUDIT_HISTORY_START_DATE": first_free_day,
    }
