"""A whole response has limits of time and size, blocking and in an event loop; crossing one can be retried."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import repeat

import pytest

from airflow_audit_provider.adapters.cloudflare.http import Credentials, Endpoint, HttpTransport, open_client
from airflow_audit_provider.exceptions import SourceProtocolError, SourceUnavailableError
from tests.adapters.cloudflare.scripted_server import Script, answering, response, slowly
from tests.adapters.cloudflare.senders import BOTH, MAX_BYTES, REQUEST, Send

pytestmark = pytest.mark.integration

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
# A read may be silent so long; the whole response may take five times as long.
TIMEOUT_SECONDS = 0.2


def _endpoint(port: int) -> Endpoint:
    return Endpoint(Credentials(token="t"), f"http://127.0.0.1:{port}", timeout_seconds=TIMEOUT_SECONDS)


@BOTH
@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD + b"\r\n", b"x"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1", b"0"),
        (HEAD + b"X-Padding: ", b"x"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["body", "body of a length", "body in pieces", "size of a piece", "header", "informational responses"],
)
def test_trickling_response_ends_in_time(send: Send, pieces: tuple[bytes, bytes]) -> None:
    """A byte every 50 ms never reaches the read timeout; the response as a whole ends after five of them."""
    started = time.monotonic()
    with (
        answering(lambda _: slowly(pieces[0], forever=pieces[1])) as server,
        pytest.raises(SourceUnavailableError, match=r"not complete after 1 seconds.*timeout_seconds") as caught,
    ):
        send(_endpoint(server.port))
    assert caught.value.retryable
    assert 0.9 < time.monotonic() - started < 4


@BOTH
def test_endless_body_ends_at_its_limit(send: Send) -> None:
    """Of a body without end, no more is read than the limit and what the sockets hold."""
    with (
        answering(lambda _: _endless(HEAD + b"\r\n", b"x" * 65_536)) as server,
        pytest.raises(SourceUnavailableError, match=r"more than 1048576 bytes.*max_response_bytes") as caught,
    ):
        send(_endpoint(server.port))
    assert server.sent_bytes < 16 * MAX_BYTES
    assert (caught.value.retryable, caught.value.status) == (True, 200)


def _endless(head: bytes, piece: bytes) -> Iterator[bytes]:
    yield head
    yield from repeat(piece)


@BOTH
def test_announced_length_beyond_the_limit_is_not_read(send: Send) -> None:
    """``Content-Length`` alone is enough."""
    with (
        answering(response(headers=f"Content-Length: {MAX_BYTES + 1}\r\nCF-Ray: ray1\r\n")) as server,
        pytest.raises(SourceUnavailableError, match="more than 1048576 bytes") as caught,
    ):
        send(_endpoint(server.port))
    assert caught.value.ray_id == "ray1"


def _compressed(window: int, content: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, window)
    return compressor.compress(content) + compressor.flush()


@cache
def _bomb(window: int) -> bytes:
    """Returns 200 MB in 200 KB."""
    return _compressed(window, bytes(200 << 20))


@BOTH
@pytest.mark.parametrize(("coding", "window"), [("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_compression_bomb_ends_at_the_limit(send: Send, coding: str, window: int) -> None:
    """200 MB in 200 KB: the limit counts decoded bytes."""
    with (
        answering(response(_bomb(window), headers=f"Content-Encoding: {coding}\r\nConnection: close\r\n")) as server,
        pytest.raises(SourceUnavailableError, match="more than 1048576 bytes") as caught,
    ):
        send(_endpoint(server.port))
    assert caught.value.retryable


@BOTH
@pytest.mark.parametrize("coding", ["zstd", "br", "gzip, gzip", "compress"])
def test_coding_that_was_not_requested_is_named(send: Send, coding: str) -> None:
    """Codings of other ratios, and several of them, are not decoded."""
    with (
        answering(response(b"x", headers=f"Content-Encoding: {coding}\r\nConnection: close\r\n")) as server,
        pytest.raises(SourceUnavailableError, match="was not requested"),
    ):
        send(_endpoint(server.port))
    assert b"accept-encoding: gzip, deflate\r\n" in server.received[0].lower()


@BOTH
@pytest.mark.parametrize("cut", [5, 30])
def test_compressed_body_that_stops_is_unavailable(send: Send, cut: int) -> None:
    """A body cut inside its compression is not the beginning of a page."""
    content = gzip.compress(b'{"result": []}' * 100)[:cut]
    with (
        answering(response(content, headers="Content-Encoding: gzip\r\nConnection: close\r\n")) as server,
        pytest.raises(SourceUnavailableError, match="stops in the middle"),
    ):
        send(_endpoint(server.port))


@BOTH
def test_compressed_body_that_is_broken_is_unavailable(send: Send) -> None:
    """Bytes that are no gzip are a named error that can be retried."""
    with (
        answering(response(b"plain text", headers="Content-Encoding: gzip\r\nConnection: close\r\n")) as server,
        pytest.raises(SourceUnavailableError, match="cannot be decoded"),
    ):
        send(_endpoint(server.port))


@BOTH
@pytest.mark.parametrize(
    ("headers", "encode"),
    [
        ("", bytes),
        ("Content-Encoding: identity\r\n", bytes),
        ("Content-Encoding: gzip\r\n", gzip.compress),
        ("Content-Encoding: gzip\r\n", lambda content: gzip.compress(content[:700]) + gzip.compress(content[700:])),
        ("Content-Encoding: deflate\r\n", lambda content: _compressed(15, content)),
        ("Content-Encoding: deflate\r\n", lambda content: _compressed(-15, content)),
        ("Content-Encoding: gzip\r\n", lambda _: b""),
    ],
    ids=["plain", "identity", "gzip", "gzip of two members", "zlib", "raw deflate", "nothing"],
)
def test_whole_body_arrives_in_every_coding(send: Send, headers: str, encode: Callable[[bytes], bytes]) -> None:
    """Every requested coding gives the same bytes, also one byte at a time."""
    content = bytes(range(256)) * 8
    body = encode(content)
    pieces = [body[index : index + 1] for index in range(min(len(body), 300))] + [body[300:]]
    with answering(response(*pieces, headers=f"{headers}Connection: close\r\n")) as server:
        assert send(_endpoint(server.port)).body == (content if body else b"")


def _rows(port: int) -> Iterator[dict[str, str]]:
    with open_client(_endpoint(port)) as client:
        yield from HttpTransport(client, MAX_BYTES).stream_csv(REQUEST, datetime(2026, 11, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (lambda _: slowly(HEAD + b"\r\nid\r\n", forever=b"x"), "not complete after 1 seconds"),
        (lambda _: slowly(HEAD + b"X-Padding: ", forever=b"x"), "not complete after 1 seconds"),
        (lambda _: slowly(b"HTTP/1.1 503 X\r\n\r\n", forever=b"x"), "not complete after 1 seconds"),
        (lambda _: _endless(HEAD + b"\r\nid\r\n", b"x" * 65_536), "more than 1048576 bytes"),
        (lambda _: _endless(HEAD + b'\r\nid\n"', b"x\n" * 32_768), "more than 1048576 bytes"),
    ],
    ids=["row", "header", "error", "line", "field"],
)
def test_row_of_the_export_has_the_same_limits(script: Script, words: str) -> None:
    """A row without end stops in time and size; so does the error in place of the export."""
    with answering(script) as server, pytest.raises((SourceUnavailableError, SourceProtocolError), match=words):
        list(_rows(server.port))


def test_export_may_be_longer_and_larger_than_one_response() -> None:
    """The limits begin anew with each row."""
    rows = [b"x" * 60_000 + b"\n"] * 24

    def script(_: bytes) -> Iterator[bytes]:
        yield HEAD + b"\r\nid\n"
        for row in rows:
            time.sleep(0.06)
            yield row

    with answering(script) as server:
        assert sum(len(row["id"]) for row in _rows(server.port)) == 24 * 60_000 > MAX_BYTES


@BOTH
def test_slow_but_steady_response_within_the_limit_is_read(send: Send) -> None:
    """A response may take longer than one read timeout."""
    pieces = (HEAD + b"\r\n", *[b"x"] * 8)

    def script(_: bytes) -> Iterator[bytes]:
        for piece in pieces:
            time.sleep(0.06)
            yield piece

    with answering(script) as server:
        assert send(_endpoint(server.port)).body == b"x" * 8
