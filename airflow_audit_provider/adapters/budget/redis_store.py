"""Budget of several machines: a value on a Redis or Valkey server, replaced there only if nobody else has changed it.

The change is decided here, by the same code as for a file. A script on the server replaces the value only if it is
still the one that the decision was made for; otherwise it returns the newer one, and the decision is made again. No
lock is held, so none has to expire. The time is the server's own: the clocks of the workers do not matter.

Needs Redis 5 or Valkey, and the permission to run EVAL, GET, SET and TIME. A server without persistence works, because
a lost budget begins anew. The client is redis-py. Its time limit is for each read of the socket, so a timer closes the
connection if a whole reply takes too long.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar

from airflow_audit_provider.core.api.token_budget import HEADER_BYTES, BudgetUnavailableError

_Result = TypeVar("_Result")

_KEY_PREFIX = "airflow-audit-provider:budget:"
# Arguments: the header of the value that was decided for, which contains its digest; the new value, or nothing to read
# only; the length of a header. A value that nobody has used for two hours says nothing.
_SCRIPT = """
local time = redis.call('TIME')
local found = redis.call('GET', KEYS[1]) or ''
if ARGV[2] ~= '' and string.sub(found, 1, tonumber(ARGV[3])) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', 7200000)
    return {1, time[1], time[2], ''}
end
return {0, time[1], time[2], found}
"""
# For a whole reply, however slowly its bytes come: all threads of a task wait for it.
_TIMEOUT_SECONDS = 2.0
# Of sharers that change the value at the same moment one succeeds in each round trip, so this is how many may do so.
_MAX_TRIES = 100
# Seconds since 1970 have ten digits, microseconds six.
_MAX_TIME_DIGITS = 12


class RedisServer(NamedTuple):
    """Address and credential of a server; with ``is_tls``, its certificate is always checked. Shows no secret."""

    host: str
    port: int = 6379
    database: int = 0
    login: str | None = None
    password: str | None = None
    is_tls: bool = False
    ca_certs: str | None = None

    def __repr__(self) -> str:
        return f"the server {self.host}:{self.port}"


class _Answer(NamedTuple):
    is_changed: bool
    now: float
    content: bytes


def has_redis_library() -> bool:
    """Whether redis-py is installed; it is looked up and not imported."""
    return find_spec("redis") is not None


def open_redis(server: RedisServer) -> Any:
    """Returns a client of redis-py that connects when it is first used, and again when a connection has ended."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Protocol 2 is what Redis 5 knows. The name in a certificate is checked by default only since redis-py 6.
    return Redis(
        host=server.host,
        port=server.port,
        db=server.database,
        username=server.login if server.password else None,
        password=server.password,
        protocol=2,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        redis_connect_func=_log_in,  # type: ignore[arg-type]  # it is called with the connection; its annotation is wrong
        ssl=server.is_tls,
        ssl_cert_reqs="required",
        ssl_check_hostname=True,
        ssl_ca_certs=server.ca_certs,
    )


class RedisBudgetStore:
    """Implements ``BudgetStore`` with one key of a server; the threads of a process change it in turn."""

    def __init__(self, server: RedisServer, digest: str) -> None:
        self._server = server
        self._key = f"{_KEY_PREFIX}{digest}"
        self._client = open_redis(server)
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def update(self, change: Callable[[bytes | None, float], tuple[bytes, _Result]]) -> _Result:
        """Replaces the value; raises ``BudgetUnavailableError`` for a server that fails or answers nonsense."""
        if self._pid != os.getpid():
            # A lock that was held at the fork is never released in the child. The client opens a connection of its own.
            self._lock, self._pid = threading.Lock(), os.getpid()
        with self._lock:
            answer = self._ask(b"", b"")
            for _ in range(_MAX_TRIES):
                content, result = change(answer.content or None, answer.now)
                answer = self._ask(answer.content[:HEADER_BYTES], content)
                if answer.is_changed:
                    return result
        raise BudgetUnavailableError(f"the value on {self._server} was newer {_MAX_TRIES} times in a row")

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Closes the connection, which fails its command, if it is still in use after the time limit."""
        timer = threading.Timer(_TIMEOUT_SECONDS, self._client.connection_pool.disconnect)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _ask(self, header: bytes, content: bytes) -> _Answer:
        """Runs the script on the server."""
        try:
            with self._time_limit():
                found = self._client.execute_command("EVAL", _SCRIPT, 1, self._key, header, content, HEADER_BYTES)
        # A reply of a server that is no Redis, or a connection that the timer closes, fails at any place of the client:
        # with its own errors, those of sockets, and ValueError, AttributeError or RecursionError.
        except Exception as error:
            raise BudgetUnavailableError(f"{self._server} cannot be used ({str(error)[:200]})") from error
        return _parsed(found, self._server)


def _log_in(connection: Any) -> None:
    """Sends login and password; an error quotes nothing, because a server may repeat the command in its reply."""
    from redis import exceptions

    try:
        connection.on_connect()
    except (exceptions.RedisError, UnicodeError) as error:
        if type(error) in (exceptions.ConnectionError, exceptions.TimeoutError):
            raise
        raise exceptions.AuthenticationError("it does not accept the login, the password or the database") from None


def _is_time(text: bytes) -> bool:
    return text.isdigit() and len(text) <= _MAX_TIME_DIGITS


def _parsed(found: object, server: RedisServer) -> _Answer:
    match found:
        case [int(changed), bytes(seconds), bytes(micros), bytes(content)] if _is_time(seconds) and _is_time(micros):
            return _Answer(changed == 1, int(seconds) + int(micros) / 1e6, content)
    raise BudgetUnavailableError(f"{server} did not answer as a Redis server does")
