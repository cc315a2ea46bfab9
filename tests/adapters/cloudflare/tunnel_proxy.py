"""A proxy on a real socket that makes tunnels to this machine, whatever host it is asked for."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class TunnelProxy:
    """Connects every tunnel to one port of this machine; ``received`` are the heads of the requests for tunnels."""

    def __init__(self, target_port: int, context: ssl.SSLContext | None) -> None:
        self.received: list[bytes] = []
        self._target_port = target_port
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Makes no more tunnels."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self.received.append(connection.recv(65_536))
            target = socket.create_connection(("127.0.0.1", self._target_port))
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        except OSError:
            connection.close()
            return
        threading.Thread(target=_copy, args=(connection, target), daemon=True).start()
        _copy(target, connection)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(1000):
            target.sendall(piece)
    except OSError:
        pass
    finally:
        _end(target)


def _end(connection: socket.socket) -> None:
    """Ends a connection that another thread may be waiting for."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def tunnelling(target_port: int, context: ssl.SSLContext | None = None) -> Iterator[TunnelProxy]:
    """Runs a proxy for a block."""
    proxy = TunnelProxy(target_port, context)
    try:
        yield proxy
    finally:
        proxy.close()
