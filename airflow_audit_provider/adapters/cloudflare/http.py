"""HTTP access to the API with httpx: credentials, timeouts and complete responses, sync and async.

Invariant: a credential is sent only to the connection's own host. No redirect is followed, and no error message repeats
a header.
"""

from __future__ import annotations

import codecs
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
_MAX_FIELD_CHARACTERS = 2**31 - 1
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Credentials(NamedTuple):
    """An API token, or an e-mail address with its Global API Key, never both; ``repr`` shows neither.

    The official SDK 5.9.0 drops the token if both are set, so the request would be authorized as someone else.
    """

    token: str | None = None
    email: str | None = None
    key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers that authenticate a request."""
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
    """Address and credentials of the API; timeouts are seconds for one read, not for a whole response."""

    credentials: Credentials
    base_url: str = DEFAULT_BASE_URL
    timeout_seconds: float = 60.0
    connect_timeout_seconds: float = 10.0
    user_agent: str = "airflow-audit-provider"

    @property
    def is_loopback(self) -> bool:
        """Whether the API runs on this machine; then no proxy is used."""
        return httpx.URL(self.base_url).host in _LOOPBACK_HOSTS

    def check_safe(self) -> None:
        """Raises ``ConfigurationError`` for a base URL that is invalid or would send the credential unencrypted."""
        try:
            url = httpx.URL(self.base_url)
        except (httpx.InvalidURL, ValueError) as error:
            raise ConfigurationError(
                f"The connection's host is not a URL ({error}). Set it to a plain https URL such as {DEFAULT_BASE_URL}."
            ) from error
        if url.scheme not in ("https", "http") or not url.host or url.userinfo:
            raise ConfigurationError(
                f"The base URL of host {url.host!r} is not usable. "
                f"Set the connection's host to a plain https URL such as {DEFAULT_BASE_URL}."
            )
        if url.scheme == "http" and not self.is_loopback:
            raise ConfigurationError(
                f"The base URL of host {url.host!r} is plain http, which would send the credential unencrypted. "
                "Use https; http is allowed only to this machine itself."
            )


def open_client(endpoint: Endpoint, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Returns a client for the endpoint; relative URLs are below its base URL."""
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
    """Returns the same client for an event loop."""
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
    """Returns which certificates are trusted: httpx's default, or, for plain http, none, which loads fast."""
    if httpx.URL(endpoint.base_url).scheme == "https":
        return True
    # If https were used nevertheless, no certificate would be accepted.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _timeout(endpoint: Endpoint) -> httpx.Timeout:
    return httpx.Timeout(endpoint.timeout_seconds, connect=endpoint.connect_timeout_seconds)


@contextmanager
def _translate_transport_errors(request: Request) -> Iterator[None]:
    """Translates errors of httpx; their texts contain hosts and states, but no header values."""
    try:
        yield
    except httpx.LocalProtocolError:
        # Its text quotes the illegal header value, which is the credential, so the error is not chained.
        raise ConfigurationError(
            "The request cannot be built, most likely because the credential contains a line break or another "
            "character that is not allowed in a header. Enter the connection's password again."
        ) from None
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise SourceUnavailableError(
            f"The API sent no complete response for {request.path} ({type(error).__name__}: {error}). "
            "Check the network between the worker and the API, or retry later."
        ) from error


class HttpTransport:
    """Implements :class:`~airflow_audit_provider.core.ports.Transport` with an httpx client."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def send(self, request: Request) -> Response:
        """Sends one GET; raises ``SourceUnavailableError`` if there is no complete response."""
        # Streamed: a response that httpx reads itself keeps its body in a reference cycle until garbage collection.
        with (
            _translate_transport_errors(request),
            self._client.stream("GET", _relative(request), params=_params(request)) as response,
        ):
            body = b"".join(response.iter_bytes())
        return Response(response.status_code, response.headers, body)

    def stream_csv(self, request: Request, now: datetime) -> Iterator[dict[str, str]]:
        """Yields the rows of a CSV response as they arrive; raises the error that any other response stands for."""
        with (
            _translate_transport_errors(request),
            self._client.stream("GET", _relative(request), params=_params(request)) as response,
        ):
            if response.status_code != 200:
                raise error_of(Response(response.status_code, response.headers, response.read()), now, request.path)
            pieces = io.BufferedReader(_BodyFile(response.iter_bytes()))
            with _translate_csv_errors(response):
                _check_starts_as_csv(pieces.peek(), response.headers.get("cf-ray"))
                yield from _whole_rows(csv.DictReader(io.TextIOWrapper(pieces, "utf-8-sig", newline=""), strict=True))


@contextmanager
def _translate_csv_errors(response: httpx.Response) -> Iterator[None]:
    """Translates errors of a body that is not CSV, or only the beginning of it."""
    try:
        yield
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceProtocolError(
            f"The export is not complete CSV ({error}). Large exports are known to fail: request a shorter time, or "
            "read the records with iter_audit_logs.",
            status=200,
            ray_id=response.headers.get("cf-ray"),
        ) from error


def _check_starts_as_csv(start: bytes, ray_id: str | None) -> None:
    """Raises ``SourceUnavailableError`` for a body that is empty, JSON or HTML: what an outage looks like."""
    if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"", b"{", b"[", b"<"):
        raise SourceUnavailableError(
            f"The API returned status 200 with a body that is not CSV. The body starts with {start[:40]!r}. Retry "
            "later; if the error persists, check that the connection's host is the API's base URL and that no proxy "
            "answers in its place.",
            status=200,
            ray_id=ray_id,
        )


def _whole_rows(rows: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    """Yields the rows; raises ``csv.Error`` for a row without exactly the header's columns."""
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    names = rows.fieldnames or []
    for row in rows:
        if None in row or None in row.values():
            raise csv.Error(f"line {rows.line_num} does not have the {len(names)} columns of the header")
        yield row


class _BodyFile(io.RawIOBase):
    """Presents a streamed body as a file, so that a quoted line break stays inside its field."""

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
    """Implements :class:`~airflow_audit_provider.core.ports.AsyncTransport` with an httpx client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, request: Request) -> Response:
        """Sends one GET; raises ``SourceUnavailableError`` if there is no complete response."""
        with _translate_transport_errors(request):
            async with self._client.stream("GET", _relative(request), params=_params(request)) as response:
                body = b"".join([piece async for piece in response.aiter_bytes()])
        return Response(response.status_code, response.headers, body)


def _params(request: Request) -> list[tuple[str, str | int | float | bool | None]]:
    return list(request.params)


def _relative(request: Request) -> str:
    """Returns the path without its leading slash, which would replace the base URL's own path."""
    return request.path.removeprefix("/")
