"""A server on a real socket that answers each request with prepared bytes, as slowly and as long as a test wants."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Script = Callable[[bytes], Iterator[bytes]]


class ScriptedServer:
    """Answers every connection with one script's pieces; ``received`` are the heads of the requests."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.received: list[bytes] = []
        self.sent_bytes = 0
        self._script = script
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_closed = threading.Event()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stops answering."""
        self._is_closed.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(30)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self.received.append(_head(connection))
            for piece in self._script(self.received[-1]):
                connection.sendall(piece)
                self.sent_bytes += len(piece)
                if self._is_closed.is_set():
                    break
        except OSError:
            pass
        finally:
            connection.close()


def _head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            break
        head += piece
    return head


@contextmanager
def answering(script: Script, context: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Runs a server for a block."""
    server = ScriptedServer(script, context)
    try:
        yield server
    finally:
        server.close()


def response(*body: bytes, status: str = "200 OK", headers: str = "Connection: close\r\n") -> Script:
    """Returns a script that sends a head and then the pieces of a body, until the connection closes."""
    return lambda _: iter([f"HTTP/1.1 {status}\r\n{headers}\r\n".encode(), *body])


def slowly(*pieces: bytes, forever: bytes = b"", pause_seconds: float = 0.05) -> Iterator[bytes]:
    """Yields pieces, and then ``forever`` again and again after a pause."""
    yield from pieces
    while forever:
        time.sleep(pause_seconds)
        yield forever
