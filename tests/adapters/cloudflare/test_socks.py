"""SOCKS proxies: every answer of one is a response or a named error.

The package that speaks SOCKS is optional. Where it is not installed, its error is raised in its place.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeAlias, cast

import httpx
import pytest

from airflow_audit_provider.adapters.cloudflare.http import (
    AsyncHttpTransport,
    Credentials,
    Endpoint,
    HttpTransport,
    open_async_client,
    open_client,
)
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError, SourceUnavailableError
from tests.adapters.cloudflare.senders import BOTH, REQUEST, Send
from tests.adapters.cloudflare.senders import send as send_blocking

SendOver: TypeAlias = Callable[[httpx.MockTransport], None]
HOST = "https://api.example.com"
NO_AUTHENTICATION, PASSWORD, NONE_ACCEPTED = b"\x05\x00", b"\x05\x02", b"\x05\xff"
CONNECTED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class ProtocolError(Exception):
    """The error of the package that reads the answers of a SOCKS proxy."""


ProtocolError.__module__ = "socksio.exceptions"


def _malformed(_: httpx.Request) -> httpx.Response:
    raise ProtocolError("Malformed reply")


def _refusing(words: str) -> httpx.MockTransport:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ProxyError(words)

    return httpx.MockTransport(refuse)


def _send_over(transport: httpx.MockTransport) -> None:
    with open_client(Endpoint(Credentials(token="t"), HOST), transport) as client:
        HttpTransport(client).send(REQUEST)


def _send_over_in_loop(transport: httpx.MockTransport) -> None:
    async def run() -> None:
        async with open_async_client(Endpoint(Credentials(token="t"), HOST), transport) as client:
            await AsyncHttpTransport(client).send(REQUEST)

    asyncio.run(run())


OVER_BOTH = pytest.mark.parametrize("send_over", [_send_over, _send_over_in_loop], ids=["sync", "async"])


@OVER_BOTH
def test_answer_that_is_not_socks_is_unavailable(send_over: SendOver) -> None:
    """The package's error, which httpx does not translate, becomes one that can be retried."""
    with pytest.raises(SourceUnavailableError, match=r"not answer as a SOCKS proxy.*Malformed reply") as caught:
        send_over(httpx.MockTransport(_malformed))
    assert caught.value.retryable


@OVER_BOTH
def test_error_of_another_package_is_not_translated(send_over: SendOver) -> None:
    """What nobody expects keeps its type and its traceback."""

    def fail(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send_over(httpx.MockTransport(fail))


@OVER_BOTH
@pytest.mark.parametrize(
    "words",
    [
        "Invalid username/password",
        "Requested NO AUTHENTICATION REQUIRED from proxy server, but got NO ACCEPTABLE METHODS.",
        "407 Proxy Authentication Required",
    ],
)
def test_refused_password_of_a_proxy_is_named_at_once(send_over: SendOver, words: str) -> None:
    """No retry fixes it."""
    with pytest.raises(ConfigurationError, match="proxy asks for authentication"):
        send_over(_refusing(words))


@OVER_BOTH
def test_other_refusal_of_a_proxy_is_unavailable(send_over: SendOver) -> None:
    """A host that the proxy cannot reach may be reached later."""
    with pytest.raises(SourceUnavailableError, match="Host unreachable"):
        send_over(_refusing("Proxy Server could not connect: Host unreachable."))


@contextmanager
def _socks_proxy(answers: Sequence[bytes]) -> Iterator[int]:
    """Runs a server that sends one answer for each message, and then waits; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.settimeout(5)
            for answer in answers:
                connection.recv(4096)
                connection.sendall(answer)
            while answers[-1] and connection.recv(4096):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def _behind(port: int, base_url: str = HOST, user: str = "") -> Endpoint:
    return Endpoint(Credentials(token="t"), base_url, timeout_seconds=0.2, proxy=f"socks5://{user}127.0.0.1:{port}")


@pytest.mark.integration
@BOTH
def test_response_arrives_through_a_socks_proxy(send: Send) -> None:
    """The proxy gets user and password, connects, and passes the response on."""
    with _socks_proxy([PASSWORD, b"\x01\x00", CONNECTED, RESPONSE]) as port:
        assert send(_behind(port, "http://127.0.0.1:9", user="us%C3%A9r:p%40ss@")).body == b"{}"


@pytest.mark.integration
@BOTH
@pytest.mark.parametrize(
    "answers",
    [
        [b""],
        [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        [b"\x05\x77"],
        [NO_AUTHENTICATION, b""],
        [NO_AUTHENTICATION, b"\x05"],
        [NO_AUTHENTICATION, b"\x05\x99\x00\x01\x00\x00\x00\x00\x00\x00"],
        [NO_AUTHENTICATION, b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"],
    ],
)
def test_every_wrong_answer_of_a_socks_proxy_is_unavailable(send: Send, answers: list[bytes]) -> None:
    """A proxy that closes, speaks HTTP or refuses is a named error that can be retried."""
    with _socks_proxy(answers) as port, pytest.raises(SourceUnavailableError) as caught:
        send(_behind(port))
    assert caught.value.retryable


@pytest.mark.integration
@BOTH
@pytest.mark.parametrize("answers", [[NONE_ACCEPTED], [PASSWORD, b"\x01\x01"]])
def test_socks_proxy_that_refuses_the_password_is_named_at_once(send: Send, answers: list[bytes]) -> None:
    """Both ways to refuse it."""
    user = "user:wrong@" if len(answers) > 1 else ""
    with _socks_proxy(answers) as port, pytest.raises(ConfigurationError, match="proxy asks for authentication"):
        send(_behind(port, user=user))


@pytest.mark.integration
@BOTH
def test_silent_socks_proxy_ends_in_time(send: Send) -> None:
    """Httpcore waits for its answers without a limit of its own; the response's limit ends it."""
    with (
        _socks_proxy([NO_AUTHENTICATION]) as port,
        pytest.raises(SourceUnavailableError, match="not complete after 1 seconds"),
    ):
        send(_behind(port))


def _is_connected_to(thing: object, port: int) -> bool:
    try:
        # Not isinstance: a proxy object of another library would import what it stands for.
        is_socket = issubclass(type(thing), socket.socket)
        return is_socket and cast("socket.socket", thing).getpeername()[1:2] == (port,)
    except OSError:
        return False


@pytest.mark.integration
@pytest.mark.parametrize("answer", [b"\x05\x77", NONE_ACCEPTED])
def test_connection_that_a_socks_proxy_did_not_set_up_is_closed(answer: bytes) -> None:
    """No socket is left to the garbage collector, also while the error is kept."""
    with _socks_proxy([answer]) as port:
        with pytest.raises(AuditProviderError) as caught:
            send_blocking(_behind(port))
        assert not any(_is_connected_to(thing, port) for thing in gc.get_objects())
        assert caught.value.__traceback__ is not None
