"""Serves the campaign's log servers over HTTP/1.1 on a free port of the loopback interface.

Each window has a path prefix of its own, so that a request of an abandoned attempt cannot reach the next window.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from tests.campaign.lying_server import Answer, LogServer, compressed

_TRICKLE_SECONDS = 0.02
_STANDARD_STATUSES = frozenset(map(int, HTTPStatus))
_ENDLESS_PIECE = b'{"id":"x"},' * 6000


class _Connection:
    """Answers the requests of one connection until it is closed."""

    def __init__(self, connection: socket.socket, host: HttpHost) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._received = connection.makefile("rb")
        self._host = host

    def serve(self) -> None:
        """Answers request after request."""
        with suppress(OSError), self._received:
            while (request := self._read_request()) is not None:
                if not self._send(self._host.respond(*request)):
                    return

    def _read_request(self) -> tuple[str, dict[str, str]] | None:
        words = self._received.readline().decode("latin-1").split()
        if len(words) != 3:
            return None
        headers = {}
        while line := self._received.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return words[1], headers

    def _send(self, answer: Answer) -> bool:
        """Sends an answer; returns whether the connection stays open."""
        # Cloudflare has statuses of its own, such as 522, that no standard names.
        reason = HTTPStatus(answer.status).phrase if answer.status in _STANDARD_STATUSES else "Unknown"
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        if answer.pace == "endless":
            self._connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + b'{"success":true,"result":[')
            while True:
                self._connection.sendall(_ENDLESS_PIECE)
        has_body = answer.status not in (204, 205, 304)
        length = f"Content-Length: {len(answer.body)}\r\n" if has_body else ""
        start = f"HTTP/1.1 {answer.status} {reason}\r\n{head}{length}\r\n".encode()
        if answer.pace == "cut":
            self._connection.sendall(start + answer.body[: len(answer.body) // 2])
            return False
        if answer.pace == "trickle":
            self._connection.sendall(start)
            return self._trickle(answer.body)
        self._connection.sendall(start + (answer.body if has_body else b""))
        return True

    def _trickle(self, body: bytes) -> bool:
        for byte in body:
            if self._host.is_closing.wait(_TRICKLE_SECONDS):
                return False
            self._connection.sendall(bytes([byte]))
        return True


class HttpHost(socketserver.ThreadingTCPServer):
    """The HTTP server; ``open_window`` puts a log server behind it."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.is_closing = threading.Event()
        self._window_count = 0
        self._current: tuple[str, LogServer, bool] | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serves one connection, in a thread of its own."""
        _Connection(request, self).serve()

    def open_window(self, server: LogServer, *, compresses: bool) -> str:
        """Serves a window from now on; returns its base URL."""
        self._window_count += 1
        prefix = f"/window{self._window_count}/client/v4"
        self._current = prefix, server, compresses
        return f"http://127.0.0.1:{self.server_address[1]}{prefix}"

    def respond(self, target: str, headers: dict[str, str]) -> Answer:
        """Returns the current window's answer; 410 for a request of another window."""
        path, _, query = target.partition("?")
        if self._current is None or not path.startswith(self._current[0] + "/"):
            return Answer(410, b"")
        prefix, server, compresses = self._current
        answer = server.respond(unquote(path.removeprefix(prefix)), query, headers)
        return compressed(answer, headers.get("accept-encoding", "")) if compresses else answer


@contextmanager
def running_host() -> Iterator[HttpHost]:
    """Serves in a thread until the block ends."""
    with HttpHost() as host:
        thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            host.is_closing.set()
            host.shutdown()
            thread.join()
