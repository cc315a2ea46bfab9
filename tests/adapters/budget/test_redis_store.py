"""The budget on a real server: changes are never lost, and a server that fails or answers nonsense is an outage."""

from __future__ import annotations

import os
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.budget import redis_store
from airflow_audit_provider.adapters.budget.redis_store import RedisBudgetStore, RedisServer, open_redis
from airflow_audit_provider.core.api.token_budget import BudgetUnavailableError
from tests.adapters.budget.redis_server import PASSWORD, RunningRedis
from tests.adapters.cloudflare.authority import new_authority

_KEY = "airflow-audit-provider:budget:digest"
pytestmark = pytest.mark.integration


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RunningRedis]:
    """A running server without content."""
    running = RunningRedis(tmp_path)
    running.start()
    yield running
    running.stop()


def _append(store: RedisBudgetStore, addition: bytes = b"x") -> bytes:
    """Adds to the stored bytes; returns what was stored before. Headers of 25 bytes tell values apart."""

    def appended(content: bytes | None, now: float) -> tuple[bytes, bytes]:
        old = (content or b"")[25:]
        return f"{now:025.6f}".encode() + old + addition, old

    return store.update(appended)


def test_changes_of_several_sharers_are_all_kept(redis: RunningRedis) -> None:
    """Sharers that change the value at the same time lose no change of another."""
    stores = [RedisBudgetStore(redis.server, "digest") for _ in range(8)]

    def append_often(store: RedisBudgetStore) -> None:
        for _ in range(50):
            _append(store)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append_often, stores))
    assert len(_append(stores[0])) == 400


def test_time_is_that_of_the_server(redis: RunningRedis) -> None:
    """The time of a change is the server's, whatever the clocks of the workers."""
    now = RedisBudgetStore(redis.server, "digest").update(lambda _content, now: (b"x" * 30, now))
    assert abs(now - time.time()) < 5


def test_value_expires_when_nobody_uses_it(redis: RunningRedis) -> None:
    """The server forgets a budget two hours after its last use."""
    _append(RedisBudgetStore(redis.server, "digest"))
    assert 7_000_000 < open_redis(redis.server).pttl(_KEY) <= 7_200_000


def test_server_that_stops_is_an_outage_and_works_after_its_return(redis: RunningRedis) -> None:
    """While the server is gone, each change is an outage; after its return, the first change succeeds."""
    store = RedisBudgetStore(redis.server, "digest")
    _append(store)
    redis.stop()
    with pytest.raises(BudgetUnavailableError, match=r"the server 127\.0\.0\.1:\d+ cannot be used .*refused"):
        _append(store)
    redis.start()
    assert _append(store) == b""
    assert _append(store) == b"x"


def test_restart_between_two_changes_is_no_outage(redis: RunningRedis) -> None:
    """A connection that has ended since its last use is opened again without an outage."""
    store = RedisBudgetStore(redis.server, "digest")
    _append(store)
    redis.stop()
    redis.start()
    assert _append(store) == b""


def test_key_of_another_type_is_an_outage_and_stays(redis: RunningRedis) -> None:
    """A list in the place of the budget is named, and neither read nor replaced."""
    other = open_redis(redis.server)
    other.rpush(_KEY, "foreign")
    with pytest.raises(BudgetUnavailableError, match="WRONGTYPE"):
        _append(RedisBudgetStore(redis.server, "digest"))
    assert other.llen(_KEY) == 1


def test_password_is_checked_and_not_shown(tmp_path: Path) -> None:
    """A server with a password refuses others, and no error contains the password."""
    running = RunningRedis(tmp_path, "--requirepass", PASSWORD)
    try:
        running.start()
        with pytest.raises(BudgetUnavailableError, match="Authentication required"):
            _append(RedisBudgetStore(running.server, "digest"))
        with pytest.raises(BudgetUnavailableError, match="does not accept the login, the password") as refused:
            _append(RedisBudgetStore(running.server._replace(password=PASSWORD + "x"), "digest"))
        assert PASSWORD not in str(refused.value)
        assert PASSWORD not in repr(running.server._replace(password=PASSWORD))
        _append(RedisBudgetStore(running.server._replace(password=PASSWORD, database=3), "digest"))
    finally:
        running.stop()


def test_forked_child_opens_a_connection_of_its_own(redis: RunningRedis) -> None:
    """A child of a fork does not write into the connection of its parent."""
    store = RedisBudgetStore(redis.server, "digest")
    _append(store)
    child = os.fork()
    if not child:
        _append(store)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _append(store) == b"xx"


@contextmanager
def _answering(answer: bytes) -> Iterator[RedisServer]:
    """Runs a server that gives each connection the same answer and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    talk, _ = listener.accept()
                except OSError:
                    return
                with talk, suppress(OSError):
                    # The client's name and version come first.
                    while b"SETINFO" in talk.recv(65536):
                        talk.sendall(b"+OK\r\n")
                    talk.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield RedisServer("127.0.0.1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*4\r\n:1\r\n", b"*99999999\r\n", b"$999999999999\r\n", b":7\r\n",
        b"$-1\r\n", b"*4\r\n:1\r\n$1\r\nx\r\n$1\r\n2\r\n$0\r\n\r\n", b"*1\r\n" * 2000, b":x\r\n", b"+OK\r\n",
        b"\xff" * 100, b"*3\r\n:0\r\n$1\r\n1\r\n$1\r\n2\r\n", b":" + b"9" * 5000 + b"\r\n", b"+" + b"x" * 70000,
        b"*4\r\n:0\r\n$400\r\n" + b"9" * 400 + b"\r\n$1\r\n0\r\n$0\r\n\r\n",
    ],
)  # fmt: skip
def test_nonsense_is_an_outage(answer: bytes) -> None:
    """Whatever a server answers that is no Redis, the outage is named and nothing else is raised."""
    with _answering(answer) as server, pytest.raises(BudgetUnavailableError, match="the server 127"):
        _append(RedisBudgetStore(server, "digest"))


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", "a\0b"])
def test_name_that_is_no_host_is_an_outage(host: str) -> None:
    """An address that cannot be looked up is named, and no task fails because of it."""
    with pytest.raises(BudgetUnavailableError, match="cannot be used"):
        _append(RedisBudgetStore(RedisServer(host), "digest"))


@pytest.mark.parametrize("password", ["s3cret-pass", "s3cret-\ud800"])
def test_refused_password_is_not_repeated(password: str) -> None:
    """A server that repeats an unknown command brings no password into the log."""
    answer = b"-ERR unknown command `AUTH`, with args beginning with: `s3cret-pass`\r\n"
    with _answering(answer) as server, pytest.raises(BudgetUnavailableError, match="the login, the password") as caught:
        _append(RedisBudgetStore(server._replace(password=password), "digest"))
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_reply_that_comes_byte_by_byte_is_an_outage_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit is for the whole reply, so that a slow server cannot hold a task up."""
    monkeypatch.setattr(redis_store, "_TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            talk, _ = listener.accept()
            with talk, suppress(OSError):
                while True:
                    talk.sendall(b"+")
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(BudgetUnavailableError, match="cannot be used"):
            _append(RedisBudgetStore(RedisServer("127.0.0.1", listener.getsockname()[1]), "digest"))


def test_certificate_of_a_server_with_tls_is_checked(tmp_path: Path) -> None:
    """A server is used over TLS if its certificate is of a known authority and for its name; otherwise it is not."""
    authority = new_authority(tmp_path)
    running = RunningRedis(tmp_path, authority=authority)
    known = running.server._replace(is_tls=True, ca_certs=str(authority.file))
    try:
        running.start()
        assert _append(RedisBudgetStore(known, "digest")) == b""
        assert _append(RedisBudgetStore(known, "digest")) == b"x"
        for other in (known._replace(ca_certs=None), known._replace(host="127.0.0.2"), running.server):
            with pytest.raises(BudgetUnavailableError, match="cannot be used"):
                _append(RedisBudgetStore(other, "digest"))
    finally:
        running.stop()


def test_server_that_never_agrees_is_an_outage() -> None:
    """A server that always has a newer value ends the attempts."""
    answer = b"*4\r\n:0\r\n$1\r\n1\r\n$1\r\n2\r\n$3\r\nabc\r\n" * 200
    with _answering(answer) as server, pytest.raises(BudgetUnavailableError, match="newer 100 times"):
        _append(RedisBudgetStore(server, "digest"))
