"""HTTP/1.1 server of the fake on loopback.

Invariant: every byte of a response comes from ``wire``; only connection faults are made here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import unquote

from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.control_api import PREFIX, control_response
from airflow_audit_provider.testing.faults import Cut
from airflow_audit_provider.testing.routes import BASE_PATH
from airflow_audit_provider.testing.wire import Sent, params_of, sent

_LONGEST_HEAD_BYTES = 1024 * 1024
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Asked(NamedTuple):
    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: bytes


class FakeServer:
    """Context manager that serves a fake in its own thread: ``with FakeServer(fake) as server``.

    Port 0 picks a free port; ``base_url`` is the value for a connection's host.
    """

    def __init__(self, fake: FakeCloudflare, host: str = "127.0.0.1", port: int = 0) -> None:
        self.fake = fake
        self.host = host
        self.port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        """Base URL of the API, without a trailing slash."""
        return f"http://{self.host}:{self.port}{BASE_PATH}"

    @property
    def control_url(self) -> str:
        """Base URL of the control API: ``truth``, ``requests``, ``records``, ``misbehave``."""
        return f"http://{self.host}:{self.port}{PREFIX}"

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve(ready.set)), daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("The fake server did not start.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop and self._stop and self._thread:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    async def serve(self, ready: Callable[[], object], stop: asyncio.Event | None = None) -> None:
        """Serves until ``stop`` is set; calls ``ready`` when the port is open."""
        self._loop, self._stop = asyncio.get_running_loop(), stop or asyncio.Event()
        server = await asyncio.start_server(self._talk, self.host, self.port, limit=_LONGEST_HEAD_BYTES)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        await self._stop.wait()
        server.close()
        for talk in list(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection; a client that disconnects is not an error."""
        talk = asyncio.current_task()
        if talk is not None:
            self._talks.add(talk)
            talk.add_done_callback(self._talks.discard)
        try:
            while await self._turn(await _read(reader), writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client disconnected, or the server stops
        finally:
            writer.close()

    async def _turn(self, asked: _Asked, writer: asyncio.StreamWriter) -> bool:
        """Responds to one request; returns whether the connection stays open."""
        if asked.path.startswith(PREFIX):
            await self._tell(asked, writer)
            return False
        exchange = self.fake.exchange(asked.method, asked.path, asked.params, asked.headers)
        if exchange.delay_seconds:
            await asyncio.sleep(exchange.delay_seconds)  # noqa: TID251 - a real server delays in real time
        if exchange.cut is Cut.NO_ANSWER:
            return False
        framed = sent(exchange.response, asked.headers, may_compress=self.fake.settings.gzip)
        body = b"" if asked.method == "HEAD" else framed.body
        if exchange.cut is not None:
            await _break(writer, framed, reset=exchange.cut is Cut.HALF_THEN_RESET)
            return False
        writer.write(_head(framed))
        writer.write(body)
        await writer.drain()
        return not framed.closes and asked.headers.get("connection", "").lower() != "close"

    async def _tell(self, asked: _Asked, writer: asyncio.StreamWriter) -> None:
        """Responds to a control request in pieces, so that a million records need no memory."""
        try:
            parts = control_response(self.fake, asked.path, dict(asked.params), asked.body)
            status, kind = 200, "application/x-ndjson"
        except (KeyError, ValueError) as error:
            parts, status, kind = iter([f"{error!r}\n".encode()]), 400, "text/plain"
        writer.write(_head(Sent(status, (("content-type", kind), ("connection", "close")), b"", closes=True)))
        for part in parts:
            writer.write(part)
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> _Asked:
    """Reads one request with its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return _Asked(method, unquote(path), params_of(query), headers, body)


def _head(framed: Sent) -> bytes:
    """Returns the status line and header fields."""
    phrase = _PHRASES.get(framed.status, "")
    lines = [f"HTTP/1.1 {framed.status} {phrase}", *(f"{name}: {value}" for name, value in framed.headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def _break(writer: asyncio.StreamWriter, framed: Sent, *, reset: bool) -> None:
    """Sends half of the body and ends the connection, cleanly or by a reset."""
    writer.transport.set_write_buffer_limits(high=0)
    writer.write(_head(framed) + framed.body[: len(framed.body) // 2])
    await writer.drain()
    if reset:
        plug: socket.socket | None = writer.get_extra_info("socket")
        if plug is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()
