"""Making a connection has the limits of a response, and an ended response leaves its connection to nobody."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_audit_provider.adapters.cloudflare.http import (
    AsyncHttpTransport,
    Credentials,
    Endpoint,
    HttpTransport,
    open_async_client,
    open_client,
)
from airflow_audit_provider.exceptions import ConfigurationError, SourceUnavailableError
from tests.adapters.cloudflare.authority import Authority
from tests.adapters.cloudflare.scripted_server import answering, response, slowly
from tests.adapters.cloudflare.senders import BOTH, MAX_BYTES, REQUEST, Send, send
from tests.adapters.cloudflare.tunnel_proxy import tunnelling

pytestmark = pytest.mark.integration

TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
OK = response(b"{}", headers="Content-Length: 2\r\nConnection: close\r\n")
GETADDRINFO = socket.getaddrinfo
# More than the pool of a client has connections.
ABORTED_COUNT = 120


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the proxies and certificates of this machine."""
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_"):
            monkeypatch.delenv(name)


def _endpoint(base_url: str, **settings: Any) -> Endpoint:
    """Returns an endpoint whose responses may take one second."""
    return Endpoint(Credentials(token="t"), base_url, **{"timeout_seconds": 0.2, **settings})


@pytest.fixture
def hanging_look_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that does not answer for ``slow.example.com`` as long as the test runs."""
    is_over = threading.Event()

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "slow.example.com":
            is_over.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return GETADDRINFO(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield
    is_over.set()


@pytest.mark.usefixtures("hanging_look_up")
@pytest.mark.parametrize(("connect_seconds", "words"), [(0.2, "look-up of slow"), (10.0, "not complete after 1 sec")])
def test_look_up_of_a_name_ends_in_time(connect_seconds: float, words: str) -> None:
    """The system's look-up cannot be interrupted: it is left behind after the time to connect, or at the deadline."""
    started = time.monotonic()
    with pytest.raises(SourceUnavailableError, match=words) as caught:
        send(_endpoint("https://slow.example.com", connect_timeout_seconds=connect_seconds))
    assert caught.value.retryable
    assert time.monotonic() - started < 3


def test_addresses_that_do_not_answer_end_together_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address may take the time to connect, all of them no longer than the response."""
    with ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", 0)) for last in range(1, 20)]
        monkeypatch.setattr(
            "airflow_audit_provider.adapters.cloudflare.look_up.socket.getaddrinfo",
            lambda host, *given, **options: (
                found if host == "many.example.com" else GETADDRINFO("127.0.0.1", *given, **options)
            ),
        )
        started = time.monotonic()
        with pytest.raises(SourceUnavailableError, match="not complete after 1 seconds"):
            send(_endpoint(f"https://many.example.com:{full.getsockname()[1]}", connect_timeout_seconds=0.4))
        assert time.monotonic() - started < 3


def test_next_address_is_used_where_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host is reached by any of its addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.9", "127.0.0.1")]
    with answering(OK) as server:
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *given, **options: found if host == "localhost" else GETADDRINFO(host, *given, **options),
        )
        assert send(_endpoint(f"http://localhost:{server.port}")).body == b"{}"


@BOTH
@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".com"])
def test_host_that_no_name_can_be_is_unavailable(send: Send, host: str) -> None:
    """The look-up's own error is a named one."""
    with pytest.raises(SourceUnavailableError, match="no complete response"):
        send(_endpoint(f"https://{host}"))


@BOTH
def test_host_that_no_international_name_can_be_is_named(send: Send) -> None:
    """It is refused before any request."""
    with pytest.raises(ConfigurationError, match="host is not a URL"):
        send(_endpoint("https://xn--.example.com"))


@BOTH
@pytest.mark.parametrize("proxy_scheme", ["http", "https"])
def test_response_arrives_through_a_tunnel(send: Send, proxy_scheme: str, authority: Authority) -> None:
    """Also where the proxy itself is reached by https, so that one encrypted stream is inside another."""
    body = bytes(range(256)) * 2000
    pieces = [body[index : index + 40_000] for index in range(0, len(body), 40_000)]
    script = response(*pieces, headers=f"Content-Length: {len(body)}\r\nConnection: close\r\n")
    context = authority.context if proxy_scheme == "https" else None
    with answering(script, authority.context) as server, tunnelling(server.port, context) as proxy:
        url = f"{proxy_scheme}://user:p%C3%A4ss@localhost:{proxy.port}"
        found = send(_endpoint("https://localhost:444", proxy=url, ca_bundle=str(authority.file), timeout_seconds=5))
        assert found.body == body
        assert proxy.received[0].startswith(b"CONNECT localhost:444 ")
        assert b"Proxy-Authorization: Basic dXNlcjpww6Rzcw==" in proxy.received[0]


def _through(proxy_scheme: str, port: int, authority: Authority, **settings: Any) -> Endpoint:
    """Returns an endpoint behind a proxy of this machine."""
    url = f"{proxy_scheme}://localhost:{port}"
    return _endpoint("https://localhost:444", proxy=url, ca_bundle=str(authority.file), **settings)


@BOTH
@pytest.mark.parametrize("proxy_scheme", ["http", "https"])
def test_certificate_of_another_host_inside_a_tunnel_is_named(
    send: Send, proxy_scheme: str, authority: Authority
) -> None:
    """The host's certificate is checked, not only the proxy's."""
    context = authority.context if proxy_scheme == "https" else None
    with (
        answering(OK, authority.other_host) as server,
        tunnelling(server.port, context) as proxy,
        pytest.raises(ConfigurationError, match=r"not trusted.*Hostname mismatch"),
    ):
        send(_through(proxy_scheme, proxy.port, authority, timeout_seconds=5))


def _trickling_handshake(_: bytes) -> Iterator[bytes]:
    """Yields a tunnel, and in it the beginning of a record of 16 KB, byte by byte."""
    yield TUNNEL
    # What comes together with the answer to CONNECT is not part of the tunnel.
    time.sleep(0.1)
    yield from slowly(b"\x16\x03\x03\x3f\xff", forever=b"\x00")


@BOTH
@pytest.mark.parametrize("proxy_scheme", ["http", "https"])
def test_trickling_handshake_inside_a_tunnel_ends_in_time(send: Send, proxy_scheme: str, authority: Authority) -> None:
    """A record of the inner handshake that comes byte by byte ends with the response."""
    started = time.monotonic()
    with (
        answering(_trickling_handshake, authority.context if proxy_scheme == "https" else None) as proxy,
        pytest.raises(SourceUnavailableError, match=r"not complete after 1 seconds|ConnectTimeout"),
    ):
        send(_through(proxy_scheme, proxy.port, authority))
    assert time.monotonic() - started < 4


@BOTH
@pytest.mark.parametrize("garbage", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_tunnel_without_tls_inside_is_unavailable(send: Send, garbage: bytes, authority: Authority) -> None:
    """Nothing, and what is no TLS, are named errors that can be retried."""
    with (
        answering(lambda _: iter([TUNNEL, garbage]), authority.context) as proxy,
        pytest.raises(SourceUnavailableError, match="no complete response"),
    ):
        send(_through("https", proxy.port, authority))


def _alternating() -> Any:
    """Returns a script whose first responses are announced as too large, on connections that stay open."""
    count = 0

    def script(_: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        if count <= ABORTED_COUNT:
            yield f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_BYTES + 1}\r\n\r\nx".encode()
            time.sleep(2)
        else:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    return script


def test_connection_of_a_response_that_was_not_read_is_closed() -> None:
    """More of them than the pool holds leave it usable, and no rest of a body is taken for the next response."""
    with answering(_alternating()) as server, open_client(_endpoint(f"http://127.0.0.1:{server.port}")) as client:
        transport = HttpTransport(client, MAX_BYTES)
        for _ in range(ABORTED_COUNT):
            with pytest.raises(SourceUnavailableError, match="more than"):
                transport.send(REQUEST)
        assert transport.send(REQUEST).body == b"{}"


def test_connection_of_a_response_that_was_not_read_is_closed_in_a_loop() -> None:
    """The same in an event loop."""

    async def run(port: int) -> bytes:
        async with open_async_client(_endpoint(f"http://127.0.0.1:{port}")) as client:
            transport = AsyncHttpTransport(client, MAX_BYTES)
            for _ in range(ABORTED_COUNT):
                with pytest.raises(SourceUnavailableError, match="more than"):
                    await transport.send(REQUEST)
            return (await transport.send(REQUEST)).body

    with answering(_alternating()) as server:
        assert asyncio.run(run(server.port)) == b"{}"
