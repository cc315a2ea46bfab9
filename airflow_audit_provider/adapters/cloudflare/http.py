"""HTTP access to the API with httpx: credentials, proxies, and complete responses within limits, sync and async.

Invariant: a credential is sent only to the connection's own host. No redirect is followed, and no error message repeats
a header. A response is complete within its limits of time and size, or an error that can be retried.
"""

from __future__ import annotations

import asyncio
import codecs
import csv
import io
import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from airflow_audit_provider.adapters.cloudflare.certificates import check_trusted, trust, trust_nobody
from airflow_audit_provider.adapters.cloudflare.deadline import DeadlineTransport, deadline, monotonic
from airflow_audit_provider.adapters.cloudflare.proxies import (
    LOOPBACK_HOSTS,
    Proxy,
    asks_for_authentication,
    choose_proxy,
)
from airflow_audit_provider.adapters.cloudflare.response_body import (
    ACCEPT_ENCODING,
    DEFAULT_MAX_RESPONSE_BYTES,
    Body,
    BodyDecoder,
)
from airflow_audit_provider.core.api.responses import error_of, proxy_authentication_error
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.exceptions import ConfigurationError, SourceProtocolError, SourceUnavailableError

DEFAULT_BASE_URL = "https://api.cloudflare.com/client/v4"
_MAX_FIELD_CHARACTERS = 2**31 - 1
# A whole response may take so many times as long as the API may be silent: 300 seconds by default.
RESPONSE_TIMEOUTS = 5


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
    """Address and credentials of the API, and how it is reached.

    ``timeout_seconds`` is for one read; a whole response may take five times as long. ``proxy`` is the URL of a proxy,
    ``ca_bundle`` the path of certificates; without them, the environment variables apply.
    """

    credentials: Credentials
    base_url: str = DEFAULT_BASE_URL
    timeout_seconds: float = 60.0
    connect_timeout_seconds: float = 10.0
    user_agent: str = "airflow-audit-provider"
    proxy: str | None = None
    ca_bundle: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.credentials!r}, {self.base_url!r}, proxy={'***' if self.proxy else None})"

    @property
    def is_loopback(self) -> bool:
        """Whether the API runs on this machine; only then it may be plain http."""
        return httpx.URL(self.base_url).host in LOOPBACK_HOSTS

    def check_safe(self) -> None:
        """Raises ``ConfigurationError`` for a base URL that is invalid or would send the credential unencrypted."""
        try:
            url = httpx.URL(self.base_url)
            host = url.host
            # httpx accepts a port that no socket takes; reading this one raises.
            _ = urlsplit(self.base_url).port
        except (httpx.InvalidURL, ValueError) as error:
            raise ConfigurationError(
                f"The connection's host is not a URL ({error}). Set it to a plain https URL such as {DEFAULT_BASE_URL}."
            ) from error
        if url.scheme not in ("https", "http") or not host or url.userinfo:
            raise ConfigurationError(
                f"The base URL of host {host!r} is not usable. "
                f"Set the connection's host to a plain https URL such as {DEFAULT_BASE_URL}."
            )
        if url.scheme == "http" and not self.is_loopback:
            raise ConfigurationError(
                f"The base URL of host {host!r} is plain http, which would send the credential unencrypted. "
                "Use https; http is allowed only to this machine itself."
            )


def open_client(endpoint: Endpoint, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Returns a client for the endpoint; relative URLs are below its base URL.

    Raises ``ConfigurationError`` for an unsafe base URL, a proxy that cannot be used, and certificates that cannot be
    read.
    """
    endpoint.check_safe()
    if transport is None:
        proxy = _proxy(endpoint)
        transport = DeadlineTransport(_trust(endpoint, proxy), proxy)
    return httpx.Client(
        base_url=endpoint.base_url,
        headers=_headers(endpoint),
        timeout=_timeout(endpoint),
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )


def open_async_client(endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Returns the same client for an event loop."""
    endpoint.check_safe()
    if transport is None:
        transport = _async_transport(endpoint)
    return httpx.AsyncClient(
        base_url=endpoint.base_url,
        headers=_headers(endpoint),
        timeout=_timeout(endpoint),
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )


def _async_transport(endpoint: Endpoint) -> httpx.AsyncHTTPTransport:
    proxy = _proxy(endpoint)
    context = _trust(endpoint, proxy)
    if proxy is None:
        return httpx.AsyncHTTPTransport(verify=context, trust_env=False)
    proxy_context = context if proxy.url.startswith("https:") else None
    return httpx.AsyncHTTPTransport(
        verify=context, trust_env=False, proxy=httpx.Proxy(proxy.url, auth=proxy.auth, ssl_context=proxy_context)
    )


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {
        **endpoint.credentials.headers,
        "User-Agent": endpoint.user_agent,
        "Accept": "application/json",
        "Accept-Encoding": ACCEPT_ENCODING,
    }


def _proxy(endpoint: Endpoint) -> Proxy | None:
    return choose_proxy(endpoint.base_url, endpoint.proxy, getproxies())


def _trust(endpoint: Endpoint, proxy: Proxy | None) -> ssl.SSLContext:
    """Returns which certificates are trusted: none if only plain http is sent, because that loads fast."""
    schemes = {httpx.URL(endpoint.base_url).scheme, "" if proxy is None else httpx.URL(proxy.url).scheme}
    return trust(endpoint.ca_bundle, os.environ) if "https" in schemes else trust_nobody()


def _timeout(endpoint: Endpoint) -> httpx.Timeout:
    return httpx.Timeout(endpoint.timeout_seconds, connect=endpoint.connect_timeout_seconds)


class _Limits(NamedTuple):
    """Limits of the duration and the size of a response."""

    seconds: float
    max_bytes: int

    @classmethod
    def of(cls, client: httpx.Client | httpx.AsyncClient, max_bytes: int) -> _Limits:
        """Returns the limits of a client's responses."""
        return cls((client.timeout.read or Endpoint(Credentials()).timeout_seconds) * RESPONSE_TIMEOUTS, max_bytes)


@contextmanager
def _translate_transport_errors(request: Request, limits: _Limits, host: str) -> Iterator[None]:
    """Translates errors of httpx; their texts contain hosts and states, but no header values."""
    until = monotonic() + limits.seconds
    try:
        yield
    except httpx.LocalProtocolError:
        # Its text quotes the illegal header value, which is the credential, so the error is not chained.
        raise ConfigurationError(
            "The request cannot be built, most likely because the credential contains a line break or another "
            "character that is not allowed in a header. Enter the connection's password again."
        ) from None
    except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
        check_trusted(error, host)
        if isinstance(error, httpx.ProxyError) and asks_for_authentication(str(error)):
            raise proxy_authentication_error() from error
        if isinstance(error, httpx.TimeoutException | TimeoutError) and monotonic() >= until:
            raise SourceUnavailableError(
                f"The response to {request.path} is not complete after {limits.seconds:g} seconds, which is "
                f"{RESPONSE_TIMEOUTS} times timeout_seconds. Retry later; if the error persists, raise timeout_seconds "
                "in the connection's extra."
            ) from error
        raise SourceUnavailableError(
            f"The API sent no complete response for {request.path} ({type(error).__name__}: {error}). "
            "Check the network between the worker and the API, or retry later."
        ) from error
    except Exception as error:
        # httpcore does not translate the errors of the package that reads the answers of a SOCKS proxy.
        if not type(error).__module__.startswith("socksio"):
            raise
        raise SourceUnavailableError(
            f"The proxy does not answer as a SOCKS proxy does ({error}). Check that the URL of the proxy names a "
            "SOCKS5 proxy and its port, or retry later."
        ) from error


class HttpTransport:
    """Implements :class:`~airflow_audit_provider.core.ports.Transport` with an httpx client."""

    def __init__(self, client: httpx.Client, max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES) -> None:
        self._client = client
        self._limits = _Limits.of(client, max_response_bytes)

    def send(self, request: Request) -> Response:
        """Sends one GET; raises ``SourceUnavailableError`` if there is no complete response within the limits."""
        # Streamed: a response that httpx reads itself keeps its body in a reference cycle until garbage collection.
        with (
            self._translate(request),
            deadline(monotonic() + self._limits.seconds),
            self._client.stream("GET", _relative(request), params=_params(request)) as response,
        ):
            return Response(response.status_code, response.headers, self._body(response))

    def stream_csv(self, request: Request, now: datetime) -> Iterator[dict[str, str]]:
        """Yields the rows of a CSV response as they arrive; raises the error that any other response stands for.

        The limits of time and size apply to each row, because the whole export may be large.
        """
        with self._translate(request), ExitStack() as stack:
            with deadline(monotonic() + self._limits.seconds):
                opened = self._client.stream("GET", _relative(request), params=_params(request))
                response = stack.enter_context(opened)
                if response.status_code != 200:
                    whole = Response(response.status_code, response.headers, self._body(response))
                    raise error_of(whole, now, request.path)
            file = _BodyFile(response, self._limits)
            pieces = io.BufferedReader(file)
            with _translate_csv_errors(response):
                _check_starts_as_csv(pieces.peek(), response.headers.get("cf-ray"))
                text = io.TextIOWrapper(pieces, "utf-8-sig", newline="")
                yield from _whole_rows(csv.DictReader(text, strict=True), file)

    def _translate(self, request: Request) -> Any:
        return _translate_transport_errors(request, self._limits, self._client.base_url.host)

    def _body(self, response: httpx.Response) -> bytes:
        """Returns the decoded body; a transport in memory may have decoded it already."""
        if response.is_stream_consumed:
            return _decoded_already(response, self._limits)
        body, until = (
            Body(response.status_code, response.headers, self._limits.max_bytes),
            monotonic() + self._limits.seconds,
        )
        for piece in response.iter_raw():
            body.add(piece)
            if monotonic() > until:
                raise httpx.ReadTimeout("the response is not complete in time")
        return body.complete()


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


def _whole_rows(rows: csv.DictReader[str], file: _BodyFile) -> Iterator[dict[str, str]]:
    """Yields the rows; raises ``csv.Error`` for a row without exactly the header's columns."""
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    names = rows.fieldnames or []
    for row in rows:
        if None in row or None in row.values():
            raise csv.Error(f"line {rows.line_num} does not have the {len(names)} columns of the header")
        yield row
        file.begin_row()


class _BodyFile(io.RawIOBase):
    """Presents a streamed body as a file, so that a quoted line break stays inside its field; limits each row."""

    def __init__(self, response: httpx.Response, limits: _Limits) -> None:
        super().__init__()
        self._pieces = iter([response.content]) if response.is_stream_consumed else response.iter_raw()
        headers = {} if response.is_stream_consumed else response.headers
        self._decoder = BodyDecoder(response.status_code, headers, limits.max_bytes)
        self._limits = limits
        self._rest = b""
        self.begin_row()

    def begin_row(self) -> None:
        """Starts to count time and bytes anew."""
        self._until = monotonic() + self._limits.seconds
        self._row_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            with deadline(self._until):
                piece = next(self._pieces, None)
            if piece is None:
                self._decoder.check_end()
                return 0
            if monotonic() > self._until:
                raise httpx.ReadTimeout("the row is not complete in time")
            self._rest = self._decoder.decode(piece)
            self._row_bytes += len(piece)
            self._decoder.check_received(self._row_bytes)
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def _decoded_already(response: httpx.Response, limits: _Limits) -> bytes:
    """Returns the body that a transport in memory made as a whole, within the same limit of size."""
    BodyDecoder(response.status_code, {}, limits.max_bytes).check_received(len(response.content))
    return response.content


class AsyncHttpTransport:
    """Implements :class:`~airflow_audit_provider.core.ports.AsyncTransport` with an httpx client."""

    def __init__(self, client: httpx.AsyncClient, max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES) -> None:
        self._client = client
        self._limits = _Limits.of(client, max_response_bytes)

    async def send(self, request: Request) -> Response:
        """Sends one GET; raises ``SourceUnavailableError`` if there is no complete response within the limits."""
        with _translate_transport_errors(request, self._limits, self._client.base_url.host):
            async with (
                asyncio.timeout(self._limits.seconds),
                self._client.stream("GET", _relative(request), params=_params(request)) as response,
            ):
                return Response(response.status_code, response.headers, await self._body(response))

    async def _body(self, response: httpx.Response) -> bytes:
        if response.is_stream_consumed:
            return _decoded_already(response, self._limits)
        body = Body(response.status_code, response.headers, self._limits.max_bytes)
        async for piece in response.aiter_raw():
            body.add(piece)
        return body.complete()


def _params(request: Request) -> list[tuple[str, str | int | float | bool | None]]:
    return list(request.params)


def _relative(request: Request) -> str:
    """Returns the path without its leading slash, which would replace the base URL's own path."""
    return request.path.removeprefix("/")
