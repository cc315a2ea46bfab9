"""Connection to a Redis or Valkey server: sends one command, returns its reply. Redis serialization protocol 2.

Written here, because one command is needed and a client library would be a dependency of every installation.
"""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.core.api.token_budget import BudgetUnavailableError

# For a whole reply, however slowly its bytes come: all threads of a task wait for it.
_TIMEOUT_SECONDS = 2.0
# A budget of 1200 requests has about 11 kB, a line a few bytes; more is not an answer of such a server.
_MAX_BYTES = 16 << 20
_MAX_LINE_BYTES = 64 << 10
_MAX_DIGITS = 18
_RECEIVED_AT_ONCE = 64 << 10
_MAX_ITEMS = 64
_MAX_DEPTH = 2


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


class RedisConnection:
    """An open connection; raises ``OSError`` if it fails, ``BudgetUnavailableError`` for an error of the server."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._clock = SystemClock()
        self._received = bytearray()
        self._deadline = 0.0
        try:
            self._socket = socket.create_connection((server.host, server.port), _TIMEOUT_SECONDS)
        except (ValueError, OverflowError) as error:
            # A name that is no host name (``UnicodeError``), or a port above 65535.
            raise BudgetUnavailableError(f"{server} has no valid address") from error
        try:
            if server.is_tls:
                context = ssl.create_default_context(cafile=server.ca_certs)
                self._socket = context.wrap_socket(self._socket, server_hostname=server.host)
            self._begin()
        except BaseException:
            self._socket.close()
            raise

    def run(self, *command: bytes) -> object:
        """Sends a command; returns its reply as int, bytes, None or a list of them."""
        parts = [b"*%d\r\n" % len(command), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)]
        self._deadline = self._clock.monotonic() + _TIMEOUT_SECONDS
        self._socket.settimeout(_TIMEOUT_SECONDS)
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def _begin(self) -> None:
        server = self._server
        if server.password:
            self._log_in(server.login, server.password)
        if server.database:
            self.run(b"SELECT", str(server.database).encode())

    def _log_in(self, login: str | None, password: str) -> None:
        """Sends login and password; an error quotes nothing, because a server may repeat the command in its reply."""
        try:
            self.run(b"AUTH", *([login.encode()] if login else []), password.encode())
        except (BudgetUnavailableError, UnicodeError):
            raise BudgetUnavailableError(f"{self._server} does not accept the login and password") from None

    def _reply(self, depth: int = 0) -> object:
        line = self._line()
        kind, text = line[:1], line[1:]
        match kind:
            case b"+":
                return text
            case b"-":
                raise BudgetUnavailableError(f"{self._server} answered {text.decode('ascii', 'replace')[:200]!r}")
            case b":":
                return self._number(text)
            case b"$":
                return self._text(self._number(text))
            case b"*" if depth < _MAX_DEPTH:
                return [self._reply(depth + 1) for _ in range(self._bounded(self._number(text), _MAX_ITEMS))]
        raise self._nonsense()

    def _text(self, length: int) -> bytes | None:
        if length == -1:
            return None
        end = self._bounded(length, _MAX_BYTES) + 2
        while len(self._received) < end:
            self._receive()
        return self._taken(end)

    def _line(self) -> bytes:
        """Returns a line without its end."""
        while (end := self._received.find(b"\r\n")) < 0:
            if len(self._received) > _MAX_LINE_BYTES:
                raise self._nonsense()
            self._receive()
        return self._taken(end + 2)

    def _taken(self, end: int) -> bytes:
        """Returns what was received up to ``end``, without the two bytes that end it, and forgets it."""
        taken = bytes(self._received[: end - 2])
        del self._received[:end]
        return taken

    def _receive(self) -> None:
        """Waits for more bytes, until the deadline of the reply."""
        remaining = self._deadline - self._clock.monotonic()
        if remaining <= 0:
            raise TimeoutError(f"no whole reply within {_TIMEOUT_SECONDS:g} s")
        self._socket.settimeout(remaining)
        received = self._socket.recv(_RECEIVED_AT_ONCE)
        if not received:
            raise ConnectionResetError("the connection was closed")
        self._received += received

    def _number(self, text: bytes) -> int:
        if len(text) > _MAX_DIGITS or not text.removeprefix(b"-").isdigit():
            raise self._nonsense()
        return int(text)

    def _bounded(self, count: int, most: int) -> int:
        if not 0 <= count <= most:
            raise self._nonsense()
        return count

    def _nonsense(self) -> BudgetUnavailableError:
        return BudgetUnavailableError(f"{self._server} did not answer as a Redis server does")
