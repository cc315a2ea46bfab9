"""The API over httpx: credentials, timeouts, whole answers, sync and async.

Knows: httpx, which certificates count. Must not know: paging, retries, what an answer means.
Its one rule: a credential goes to the connection's own host and nowhere else: no redirect is followed, no
environment proxy credential file is read, and no error text repeats a header.
"""

from __future__ import annotations

import csv
import io
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import httpx

from airflow_audit_provider.core.api.responses import error_of
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.exceptions import ConfigurationError, SourceProtocolError, SourceUnavailableError

DEFAULT_BASE_URL = "https://api.cloudflare.com/client/v4"
_LARGEST_FIELD = 2**31 - 1
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Credentials(NamedTuple):
    """An API token, or an e-mail with its Global API Key; never both. Its text shows neither."""

    token: str | None = None
    email: str | None = None
    key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The header fields that prove who asks."""
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        return {"X-Auth-Email": self.email or "", "X-Auth-Key": self.key or ""}

    @property
    def secret(self) -> str:
        """The token or the key."""
        return self.token or self.key or ""

    def __repr__(self) -> str:
        return f"Credentials({'token' if self.token is not None else 'e-mail and key'} ***)"


class Endpoint(NamedTuple):
    """Where and how the API is reached; timeouts are seconds for one read, not for a whole answer."""

    credentials: Credentials
    base_url: str = DEFAULT_BASE_URL
    timeout_seconds: float = 60.0
    connect_timeout_seconds: float = 10.0
    user_agent: str = "airflow-audit-provider"

    @property
    def is_loopback(self) -> bool:
        """Whether the API is on this machine, where no proxy may come between."""
        return httpx.URL(self.base_url).host in _LOOPBACK_HOSTS

    def check_safe(self) -> None:
        """Raise ``ConfigurationError`` for a base URL that would carry the credential in the clear, or is none."""
        try:
            url = httpx.URL(self.base_url)
        except (httpx.InvalidURL, ValueError) as error:
            raise ConfigurationError(
                f"The connection's host is no URL ({error}). Set it to a plain https URL such as {DEFAULT_BASE_URL}."
            ) from error
        if url.scheme not in ("https", "http") or not url.host or url.userinfo:
            raise ConfigurationError(
                f"The base URL of host {url.host!r} is not usable. "
                f"Set the connection's host to a plain https URL such as {DEFAULT_BASE_URL}."
            )
        if url.scheme == "http" and not self.is_loopback:
            raise ConfigurationError(
                f"The base URL of host {url.host!r} is plain http, which would show the credential to the network. "
                "Use https; http is allowed only to this machine itself."
            )


def open_client(endpoint: Endpoint, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return a client bound to the endpoint; relative URLs are below its base URL."""
    endpoint.check_safe()
    return httpx.Client(
        base_url=endpoint.base_url,
        headers=_headers(endpoint),
        timeout=_timeout(endpoint),
        verify=_trust(endpoint),
        follow_redirects=False,
        trust_env=not endpoint.is_loopback,
        transport=transport,
    )


def open_async_client(endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Return the same client for a running event loop."""
    endpoint.check_safe()
    return httpx.AsyncClient(
        base_url=endpoint.base_url,
        headers=_headers(endpoint),
        timeout=_timeout(endpoint),
        verify=_trust(endpoint),
        follow_redirects=False,
        trust_env=not endpoint.is_loopback,
        transport=transport,
    )


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {**endpoint.credentials.headers, "User-Agent": endpoint.user_agent, "Accept": "application/json"}


def _trust(endpoint: Endpoint) -> ssl.SSLContext | bool:
    """Return what servers are trusted by: the usual authorities, or, for plain http, none, which is quick to load."""
    if httpx.URL(endpoint.base_url).scheme == "https":
        return True
    # Should anything ask for https nevertheless, no certificate is good enough.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _timeout(endpoint: Endpoint) -> httpx.Timeout:
    return httpx.Timeout(endpoint.timeout_seconds, connect=endpoint.connect_timeout_seconds)


@contextmanager
def _translate_transport_errors(request: Request) -> Iterator[None]:
    """Turn what httpx raises into the named error; its own text names hosts and states, never header values."""
    try:
        yield
    except httpx.LocalProtocolError:
        # Its text quotes the illegal header value, which is the credential: it must not be chained either.
        raise ConfigurationError(
            "The request cannot be built, most likely because the credential contains a line break or another "
            "character that a header cannot carry. Enter the connection's password again."
        ) from None
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise SourceUnavailableError(
            f"No whole answer came from the API for {request.path} ({type(error).__name__}: {error}). "
            "Check the network between the worker and the API, or try again later."
        ) from error


class HttpTransport:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Transport` with an httpx client."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def send(self, request: Request) -> Response:
        """Send one GET; raise ``SourceUnavailableError`` when no whole answer came."""
        # Streamed, because an answer that httpx reads itself keeps its body in a circle until the garbage is collected.
        with (
            _translate_transport_errors(request),
            self._client.stream("GET", _relative(request), params=_params(request)) as answer,
        ):
            body = b"".join(answer.iter_bytes())
        return Response(answer.status_code, answer.headers, body)

    def stream_csv(self, request: Request, now: datetime) -> Iterator[dict[str, str]]:
        """Yield the rows of a CSV answer as they come; raise the named error for anything that is not one."""
        with (
            _translate_transport_errors(request),
            self._client.stream("GET", _relative(request), params=_params(request)) as answer,
        ):
            if answer.status_code != 200:
                raise error_of(Response(answer.status_code, answer.headers, answer.read()), now)
            pieces = io.BufferedReader(_Pieces(answer.iter_bytes()))
            with _translate_csv_errors(answer):
                yield from _whole_rows(csv.DictReader(io.TextIOWrapper(pieces, "utf-8-sig", newline=""), strict=True))


@contextmanager
def _translate_csv_errors(answer: httpx.Response) -> Iterator[None]:
    """Name what is no CSV, or only the beginning of one."""
    try:
        yield
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceProtocolError(
            f"The export is not whole CSV ({error}). Large exports are known to fail: ask for a shorter time, or read "
            "the records with iter_audit_logs.",
            status=200,
            ray_id=answer.headers.get("cf-ray"),
        ) from error


def _whole_rows(rows: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    """Yield rows with exactly the header's columns."""
    csv.field_size_limit(_LARGEST_FIELD)
    names = rows.fieldnames or []
    if not names or names[0].lstrip()[:1] in ("{", "[", "<"):
        raise csv.Error(f"it starts {','.join(names)[:40]!r}")
    for row in rows:
        if None in row or None in row.values():
            raise csv.Error(f"line {rows.line_num} has not the {len(names)} columns of the header")
        yield row


class _Pieces(io.RawIOBase):
    """The pieces of a streamed body as a file, so that a quoted line break stays inside its field."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._rest = self._rest or next(self._pieces, b"")
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


class AsyncHttpTransport:
    """Satisfies :class:`~airflow_audit_provider.core.ports.AsyncTransport` with an httpx client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, request: Request) -> Response:
        """Send one GET; raise ``SourceUnavailableError`` when no whole answer came."""
        with _translate_transport_errors(request):
            async with self._client.stream("GET", _relative(request), params=_params(request)) as answer:
                body = b"".join([piece async for piece in answer.aiter_bytes()])
        return Response(answer.status_code, answer.headers, body)


def _params(request: Request) -> list[tuple[str, str | int | float | bool | None]]:
    return list(request.params)


def _relative(request: Request) -> str:
    """Return the path without its leading slash, which would otherwise drop the base URL's own path."""
    return request.path.removeprefix("/")
