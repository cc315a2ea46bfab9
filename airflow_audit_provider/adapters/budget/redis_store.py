"""Budget of several machines: a value on a Redis or Valkey server, replaced there only if nobody else has changed it.

The change is decided here, by the same code as for a file. A script on the server replaces the value only if it is
still the one that the decision was made for; otherwise it returns the newer one, and the decision is made again. No
lock is held, so none has to expire. The time is the server's own: the clocks of the workers do not matter.

Needs Redis 5 or Valkey, and the permission to run EVAL, GET, SET and TIME. A server without persistence works, because
a lost budget begins anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from airflow_audit_provider.adapters.budget.redis_connection import RedisConnection, RedisServer
from airflow_audit_provider.core.api.token_budget import HEADER_BYTES, BudgetUnavailableError

_Result = TypeVar("_Result")

_KEY_PREFIX = "airflow-audit-provider:budget:"
# Arguments: the header of the value that was decided for, which contains its digest; the new value, or nothing to read
# only; the length of a header. A value that nobody has used for two hours says nothing.
_SCRIPT = b"""
local time = redis.call('TIME')
local found = redis.call('GET', KEYS[1]) or ''
if ARGV[2] ~= '' and string.sub(found, 1, tonumber(ARGV[3])) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', 7200000)
    return {1, time[1], time[2], ''}
end
return {0, time[1], time[2], found}
"""
# Of sharers that change the value at the same moment one succeeds in each round trip, so this is how many may do so.
_MAX_TRIES = 100
# Seconds since 1970 have ten digits, microseconds six.
_MAX_TIME_DIGITS = 12


class _Answer(NamedTuple):
    is_changed: bool
    now: float
    content: bytes


class RedisBudgetStore:
    """Implements ``BudgetStore`` with one key of a server, over one connection that the threads use in turn."""

    def __init__(self, server: RedisServer, digest: str) -> None:
        self._server = server
        self._key = f"{_KEY_PREFIX}{digest}".encode()
        self._lock = threading.Lock()
        self._connection: RedisConnection | None = None
        self._pid = os.getpid()

    def update(self, change: Callable[[bytes | None, float], tuple[bytes, _Result]]) -> _Result:
        """Replaces the value; raises ``BudgetUnavailableError`` for a server that fails or answers nonsense."""
        if self._pid != os.getpid():
            # A forked process must not write into its parent's connection, nor wait for a lock held at the fork.
            self._lock, self._connection, self._pid = threading.Lock(), None, os.getpid()
        with self._lock:
            answer = self._ask(b"", b"")
            for _ in range(_MAX_TRIES):
                content, result = change(answer.content or None, answer.now)
                answer = self._ask(answer.content[:HEADER_BYTES], content)
                if answer.is_changed:
                    return result
        raise BudgetUnavailableError(f"the value on {self._server} was newer {_MAX_TRIES} times in a row")

    def _ask(self, header: bytes, content: bytes) -> _Answer:
        """Runs the script; once more on a new connection if the old one has ended since it was used."""
        command = (b"EVAL", _SCRIPT, b"1", self._key, header, content, str(HEADER_BYTES).encode())
        is_old = self._connection is not None
        try:
            try:
                return _parsed(self._connected().run(*command), self._server)
            except OSError:
                self._close()
                if not is_old:
                    raise
                return _parsed(self._connected().run(*command), self._server)
        except (OSError, BudgetUnavailableError) as error:
            self._close()
            if isinstance(error, BudgetUnavailableError):
                raise
            raise BudgetUnavailableError(f"{self._server} cannot be reached ({error})") from error

    def _connected(self) -> RedisConnection:
        if self._connection is None:
            self._connection = RedisConnection(self._server)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_time(text: bytes) -> bool:
    return text.isdigit() and len(text) <= _MAX_TIME_DIGITS


def _parsed(found: object, server: RedisServer) -> _Answer:
    match found:
        case [int(changed), bytes(seconds), bytes(micros), bytes(content)] if _is_time(seconds) and _is_time(micros):
            return _Answer(changed == 1, int(seconds) + int(micros) / 1e6, content)
    raise BudgetUnavailableError(f"{server} did not answer as a Redis server does")
