"""Connection to a Redis or Valkey server: sends one command, returns its reply. Redis serialization protocol 2.

Written here, because one command is needed and a client library would be a dependency of every installation.
"""

from __future__ import annotations

import socket
import ssl
from typing import BinaryIO, NamedTuple

from airflow_audit_provider.core.api.token_budget import BudgetUnavailableError

_TIMEOUT_SECONDS = 2.0
# A budget of 1200 requests has about 11 kB, a line a few bytes; more is not an answer of such a server.
_MAX_BYTES = 64 << 20
_MAX_LINE_BYTES = 64 << 10
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
        self._socket = socket.create_connection((server.host, server.port), _TIMEOUT_SECONDS)
        try:
            if server.is_tls:
                context = ssl.create_default_context(cafile=server.ca_certs)
                self._socket = context.wrap_socket(self._socket, server_hostname=server.host)
            self._replies: BinaryIO = self._socket.makefile("rb")
            self._begin()
        except BaseException:
            self._socket.close()
            raise

    def run(self, *command: bytes) -> object:
        """Sends a command; returns its reply as int, bytes, None or a list of them."""
        parts = [b"*%d\r\n" % len(command), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)]
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def close(self) -> None:
        """Closes the connection."""
        self._replies.close()
        self._socket.close()

    def _begin(self) -> None:
        server = self._server
        if server.password:
            login = [server.login.encode()] if server.login else []
            self.run(b"AUTH", *login, server.password.encode())
        if server.database:
            self.run(b"SELECT", str(server.database).encode())

    def _reply(self, depth: int = 0) -> object:
        line = self._replies.readline(_MAX_LINE_BYTES)
        if not line:
            raise ConnectionResetError("the connection was closed")
        kind, text = line[:1], line[1:].rstrip(b"\r\n")
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
        content = self._replies.read(self._bounded(length, _MAX_BYTES) + 2)
        if len(content) != length + 2:
            raise ConnectionResetError("the connection was closed")
        return content[:-2]

    def _number(self, text: bytes) -> int:
        if not text.removeprefix(b"-").isdigit():
            raise self._nonsense()
        return int(text)

    def _bounded(self, count: int, most: int) -> int:
        if not 0 <= count <= most:
            raise self._nonsense()
        return count

    def _nonsense(self) -> BudgetUnavailableError:
        return BudgetUnavailableError(f"{self._server} did not answer as a Redis server does")
