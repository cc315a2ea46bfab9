"""Hooks with one token share a budget without any set-up, and go on without it where it cannot be used."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from airflow_audit_provider._airflow import shared_budget
from airflow_audit_provider.adapters.budget import redis_store
from airflow_audit_provider.adapters.budget.redis_store import RedisServer
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.token_budget import Grant, SharedRateLimiter
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN
from airflow_audit_provider.testing.transport import FakeTransport
from tests.operators.task_setup import TaskSetup

_OPTION = "AIRFLOW__CLOUDFLARE_AUDIT_LOGS__SHARE_RATE_LIMIT"


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three connections: two with one token under a limit of one request, one with another token."""
    monkeypatch.setattr(shared_budget, "AIRFLOW_HOME", str(tmp_path))
    for name, token in (("one", TOKEN), ("two", TOKEN), ("other", "x" + TOKEN)):
        extra = {"account_id": ACCOUNT_ID, "rate_limit_requests": 1}
        text = json.dumps({"conn_type": "cloudflare", "password": token, "extra": extra})
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", text)


def _limiter(conn_id: str) -> RateLimiter:
    return CloudflareHook(conn_id)._rate_limiter


def _reserve(conn_id: str) -> Grant:
    limiter = _limiter(conn_id)
    assert isinstance(limiter, SharedRateLimiter)
    grant = limiter.budget.reserve(None)
    assert grant is not None
    return grant


def test_hooks_with_one_token_share_a_budget() -> None:
    """What one hook has sent counts for another with the same token, in another connection too, and for no other."""
    assert [_reserve(name).sent is not None for name in ("one", "two", "other")] == [True, False, True]


def test_folder_does_not_contain_the_token(tmp_path: Path) -> None:
    """Neither the name nor the content of a file contains a credential."""
    _reserve("one")
    (file,) = (tmp_path / "cloudflare_audit_logs_budget").iterdir()
    assert TOKEN not in file.name
    assert TOKEN.encode() not in file.read_bytes()


def test_option_switches_the_budget_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``share_rate_limit = False`` each hook counts only its own requests."""
    monkeypatch.setenv(_OPTION, "False")
    assert type(_limiter("one")) is RateLimiter


def test_option_that_is_no_boolean_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another text is an error that names the option."""
    monkeypatch.setenv(_OPTION, "perhaps")
    with pytest.raises(ConfigurationError, match=r"Option share_rate_limit .* is 'perhaps'"):
        _limiter("one")


def test_home_that_cannot_be_written_gives_way_to_the_next_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where Airflow's home cannot have the folder, the user's folder of the session has it."""
    (tmp_path / "runtime").mkdir()
    monkeypatch.setattr(shared_budget, "AIRFLOW_HOME", str(tmp_path / "missing"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert [_reserve(name).sent is not None for name in ("one", "two")] == [True, False]
    assert len(list((tmp_path / "runtime" / "cloudflare_audit_logs_budget").iterdir())) == 1


def test_without_any_folder_the_task_goes_on_and_warns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no folder can be used, the hook counts only its own requests and says so."""
    monkeypatch.setattr(shared_budget, "budget_folders", lambda: [tmp_path / "no" / "folder"])
    settings, clock = CloudflareHook("one").settings, SystemClock()
    limiter = shared_budget.open_rate_limiter(settings, "one", clock, logging.getLogger("test"))
    assert type(limiter) is RateLimiter
    assert "The shared request budget of connection 'one' cannot be used: no folder for it" in caplog.text
    assert TOKEN not in caplog.text


def _connect_redis(monkeypatch: pytest.MonkeyPatch, **extra: object) -> None:
    text = json.dumps({"conn_type": "redis", "host": "redis.example.com", "password": "secret", "extra": extra})
    monkeypatch.setenv("AIRFLOW_CONN_BUDGET", text)
    known = {"account_id": ACCOUNT_ID, "rate_limit_conn_id": "budget"}
    monkeypatch.setenv("AIRFLOW_CONN_ONE", json.dumps({"conn_type": "cloudflare", "password": TOKEN, "extra": known}))


def test_connection_names_the_server_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is that of ``rate_limit_conn_id``, with its database and certificates, in both ways of reading it."""
    _connect_redis(monkeypatch, db="2", ssl=True, ssl_ca_certs="/etc/ca.pem")
    expected = RedisServer("redis.example.com", 6379, 2, None, "secret", is_tls=True, ca_certs="/etc/ca.pem")
    waiting = CloudflareHook("one")
    asyncio.run(waiting.load_settings())
    assert tuple(CloudflareHook("one")._budget_server or ()) == tuple(waiting._budget_server or ()) == tuple(expected)
    assert "secret" not in repr(waiting._budget_server)


def test_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library, a connection that names a server is an error that says what to install."""
    _connect_redis(monkeypatch)
    monkeypatch.setattr(redis_store, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'airflow-audit-provider\[redis\]'\.$"):
        _limiter("one")


def test_database_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid database is an error that names the connection."""
    _connect_redis(monkeypatch, db="two")
    with pytest.raises(ConfigurationError, match="'db' of connection 'budget' is 'two'"):
        _limiter("one")


def test_connection_of_the_budget_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing connection is an error that names it and the field."""
    _connect_redis(monkeypatch)
    monkeypatch.delenv("AIRFLOW_CONN_BUDGET")
    with pytest.raises(ConfigurationError, match=r"Connection 'budget' does not exist.*rate_limit_conn_id"):
        _limiter("one")


def test_hook_on_a_test_double_counts_alone(task_setup: TaskSetup) -> None:
    """A hook with a transport or clock of its own sends nothing in real time, so it shares no budget."""
    assert type(task_setup.hook()._rate_limiter) is RateLimiter
    transport = FakeTransport(task_setup.fake, task_setup.clock)
    assert type(CloudflareHook("one", transport=transport)._rate_limiter) is RateLimiter
