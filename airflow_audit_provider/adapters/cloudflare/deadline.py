"""A blocking httpx transport with a deadline for the whole response, from the look-up of the host's name on.

The read timeout of httpx starts anew with every byte, so a server that sends one byte a second would never time out.
An event loop needs no such transport: ``asyncio.timeout`` ends a request wherever it waits.

Invariant: no single wait for the network is longer than what remains until the deadline.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import httpcore
import httpx

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.cloudflare.look_up import addresses_of
from airflow_audit_provider.adapters.cloudflare.nested_tls import NestedTls
from airflow_audit_provider.adapters.cloudflare.proxies import Proxy

# Limits of httpx's own transport.
_MAX_CONNECTIONS, _MAX_IDLE_CONNECTIONS, _IDLE_SECONDS = 100, 20, 5.0
# A length of time that httpcore calls a timeout; None for no limit.
_Seconds: TypeAlias = float | None
monotonic = SystemClock().monotonic
# Monotonic seconds at which the response of this thread must be complete, None for no limit.
_DEADLINE: ContextVar[float | None] = ContextVar("_DEADLINE", default=None)
# Connections that the request of this thread has opened, None outside of a request.
_OPENED: ContextVar[list[httpcore.NetworkStream] | None] = ContextVar("_OPENED", default=None)


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """Limits all waits of this thread inside to the monotonic instant ``at``."""
    token = _DEADLINE.set(at)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def _remaining(timeout: _Seconds, late: type[httpcore.TimeoutException]) -> float | None:
    """Returns the timeout of one wait, raises ``late`` if no time remains."""
    at = _DEADLINE.get()
    if at is None:
        return timeout
    remaining = at - monotonic()
    if remaining <= 0:
        raise late("the response is not complete in time")
    return remaining if timeout is None else min(timeout, remaining)


class DeadlineTransport(httpx.BaseTransport):
    """Sends requests over a pool of connections, through a proxy if there is one."""

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            proxy=None
            if proxy is None
            else httpcore.Proxy(proxy.url, proxy.raw_auth, ssl_context=_proxy_trust(proxy, context)),
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=_Network(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Returns the response to a request; its body is read while it is iterated."""
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _httpx_errors(), _closing_on_failure():
            response = self._pool.handle_request(sent)
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    def close(self) -> None:
        """Closes all connections."""
        self._pool.close()


def _proxy_trust(proxy: Proxy, context: ssl.SSLContext) -> ssl.SSLContext | None:
    return context if proxy.url.startswith("https:") else None


class _Body(httpx.SyncByteStream):
    """The body of a response, piece by piece."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._response.iter_stream()

    def close(self) -> None:
        """Gives the connection back to the pool."""
        with _httpx_errors():
            self._response.close()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raises httpcore's errors as those of httpx, which have the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


@contextmanager
def _closing_on_failure() -> Iterator[None]:
    """Closes what was opened inside if it fails: httpcore forgets a connection that a SOCKS proxy did not set up."""
    opened: list[httpcore.NetworkStream] = []
    token = _OPENED.set(opened)
    try:
        yield
    except BaseException:
        for stream in opened:
            stream.close()
        raise
    finally:
        _OPENED.reset(token)


class _Network(httpcore.NetworkBackend):
    """Opens sockets whose waits end at the deadline."""

    def __init__(self) -> None:
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: _Seconds = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first address of a host that answers; each may take as long as ``timeout``."""
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in _addresses(host, port, _remaining(timeout, httpcore.ConnectTimeout)):
            seconds = _remaining(timeout, httpcore.ConnectTimeout)
            try:
                stream = _Stream(self._network.connect_tcp(address, port, seconds, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                _note_opened(stream)
                return stream
        raise failure


def _note_opened(stream: httpcore.NetworkStream) -> None:
    opened = _OPENED.get()
    if opened is not None:
        opened.append(stream)


def _addresses(host: str, port: int, timeout: _Seconds) -> list[str]:
    try:
        return addresses_of(host, port, timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(str(error)) from error
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error


class _Stream(httpcore.NetworkStream):
    """A socket whose waits end at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: _Seconds = None) -> bytes:
        """Returns what has arrived, at least one byte unless the other end has closed."""
        return self._stream.read(max_bytes, _remaining(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: _Seconds = None) -> None:
        """Sends all bytes."""
        self._stream.write(buffer, _remaining(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """Closes the socket."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: _Seconds = None
    ) -> httpcore.NetworkStream:
        """Returns the encrypted stream."""
        if self.get_extra_info("ssl_object") is not None:
            return NestedTls(self, ssl_context, server_hostname, timeout)
        return _Stream(
            self._stream.start_tls(ssl_context, server_hostname, _remaining(timeout, httpcore.ConnectTimeout))
        )

    def get_extra_info(self, name: str) -> Any:
        """Returns a fact about the socket."""
        return self._stream.get_extra_info(name)
