"""Opens the request budget that all tasks with one token share, and reports its outages in log and metrics."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.configuration import AIRFLOW_HOME

from airflow_audit_provider._airflow.config import shares_rate_limit
from airflow_audit_provider._airflow.connection import ConnectionSettings
from airflow_audit_provider._airflow.observability.metrics import Metrics
from airflow_audit_provider.adapters.budget.file_store import FileBudgetStore
from airflow_audit_provider.adapters.budget.redis_store import RedisBudgetStore, RedisServer, has_redis_library
from airflow_audit_provider.adapters.budget.shared_budget import SharedBudget
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.token_budget import BudgetStore, BudgetUnavailableError, SharedRateLimiter
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.exceptions import ConfigurationError

_FOLDER = "cloudflare_audit_logs_budget"
_TRUE = ("true", "1")


class BudgetLog:
    """Implements ``BudgetEvents``: one warning and one count for each outage and each damage."""

    def __init__(self, log: logging.Logger, conn_id: str) -> None:
        self._log = log
        self._conn_id = conn_id
        self._metrics = Metrics({})

    def on_outage(self, reason: str) -> None:
        """Reports the beginning of an outage."""
        self._metrics.add("fetch.budget_outages", 1)
        self._log.warning(
            "The shared request budget of connection %r cannot be used: %s. Until it works again, this task counts "
            "only its own requests, and Cloudflare may refuse requests (status 429) if other tasks use the token.",
            self._conn_id,
            reason,
        )

    def on_recovery(self) -> None:
        """Reports the end of an outage."""
        self._log.info("The shared request budget of connection %r can be used again", self._conn_id)

    def on_problem(self, problem: str) -> None:
        """Reports damage that the budget has recovered from."""
        self._metrics.add("fetch.budget_problems", 1)
        self._log.warning(
            "The shared request budget of connection %r has a problem: %s. Requests may wait longer; none is lost.",
            self._conn_id,
            problem,
        )


def budget_server(conn_id: str, conn: Any, extra: Mapping[str, Any]) -> RedisServer:
    """Returns the server of a connection of type ``redis``.

    Raises ``ConfigurationError`` for an invalid database, and if the library is missing.
    """
    if not has_redis_library():
        raise ConfigurationError(
            f"The request budget on the server of connection {conn_id!r} needs the redis library. "
            "Run: pip install 'airflow-audit-provider[redis]'."
        )
    database = extra.get("db") or 0
    if not (str(database).isascii() and str(database).isdigit()):
        raise ConfigurationError(
            f"The extra field 'db' of connection {conn_id!r} is {database!r}. Set it to the number of a Redis "
            "database, or leave it out."
        )
    return RedisServer(
        conn.host or "localhost",
        conn.port or 6379,
        int(database),
        conn.login or None,
        conn.password or None,
        is_tls=str(extra.get("ssl", "")).lower() in _TRUE,
        ca_certs=extra.get("ssl_ca_certs") or None,
    )


def open_rate_limiter(
    settings: ConnectionSettings, conn_id: str, clock: Clock, log: Any, server: RedisServer | None = None
) -> RateLimiter:
    """Returns the rate limiter of one hook: on the shared budget of its token, unless that is off or unusable.

    The budget is on ``server``, if one is given, otherwise in a file of this machine.
    """
    if not shares_rate_limit():
        return RateLimiter(settings.limit)
    events = BudgetLog(log, conn_id)
    try:
        store: BudgetStore = (
            RedisBudgetStore(server, settings.token_digest)
            if server is not None
            else FileBudgetStore(budget_folders(), settings.token_digest, clock)
        )
    except BudgetUnavailableError as error:
        events.on_outage(str(error))
        return RateLimiter(settings.limit)
    budget = SharedBudget(store, settings.limit, settings.longest_response_seconds, clock, events)
    return SharedRateLimiter(settings.limit, budget)


def budget_folders() -> list[Path]:
    """Returns the folders in which the budget may be, the preferred one first.

    All components of an installation have the same AIRFLOW_HOME, also those without a login session; it may be
    read-only.
    """
    folders = [Path(AIRFLOW_HOME) / _FOLDER]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folders.append(Path(runtime) / _FOLDER)
    return [*folders, Path(tempfile.gettempdir()) / f"{_FOLDER}_{os.geteuid()}"]
