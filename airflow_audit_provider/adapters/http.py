"""The API over httpx: credentials, timeouts, whole answers, sync and async.

Knows: httpx. Must not know: paging, retries, what an answer means.
Its one rule: a credential goes to the connection's own host and nowhere else: no redirect is followed, no
environment proxy credential file is read, and no error text repeats a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx

from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.exceptions import ConfigurationError, SourceUnavailableError

DEFAULT_BASE_URL = "https://api.cloudflare.com/client/v4"
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

    def __repr__(self) -> str:
        return f"Credentials({'token' if self.token is not None else 'e-mail and key'} ***)"


class Endpoint(NamedTuple):
    """Where and how the API is reached; timeouts are seconds for one read, not for a whole answer."""

    credentials: Credentials
    base_url: str = DEFAULT_BASE_URL
    timeout_seconds: float = 60.0
    connect_timeout_seconds: float = 10.0
    user_agent: str = "airflow-audit-provider"

    def refuse_unsafe(self) -> None:
        """Raise ``ConfigurationError`` for a base URL that would carry the credential in the clear, or is none."""
        url = httpx.URL(self.base_url)
        if url.scheme not in ("https", "http") or not url.host or url.userinfo:
            raise ConfigurationError(
                f"The base URL of host {url.host!r} is not usable. "
                f"Set the connection's host to a plain https URL such as {DEFAULT_BASE_URL}."
            )
        if url.scheme == "http" and url.host not in _LOOPBACK_HOSTS:
            raise ConfigurationError(
                f"The base URL of host {url.host!r} is plain http, which would show the credential to the network. "
                "Use https; http is allowed only to this machine itself."
            )


def open_client(endpoint: Endpoint, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return a client bound to the endpoint; relative URLs are below its base URL."""
    endpoint.refuse_unsafe()
    return httpx.Client(
        base_url=endpoint.base_url,
        headers=_headers(endpoint),
        timeout=_timeout(endpoint),
        follow_redirects=False,
        transport=transport,
    )


def open_async_client(endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Return the same client for a running event loop."""
    endpoint.refuse_unsafe()
    return httpx.AsyncClient(
        base_url=endpoint.base_url,
        headers=_headers(endpoint),
        timeout=_timeout(endpoint),
        follow_redirects=False,
        transport=transport,
    )


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {**endpoint.credentials.headers, "User-Agent": endpoint.user_agent, "Accept": "application/json"}


def _timeout(endpoint: Endpoint) -> httpx.Timeout:
    return httpx.Timeout(endpoint.timeout_seconds, connect=endpoint.connect_timeout_seconds)


@contextmanager
def _named_failures(request: Request) -> Iterator[None]:
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
        with _named_failures(request):
            answer = self._client.get(_relative(request), params=list(request.params))
        return Response(answer.status_code, answer.headers, answer.content)

    @contextmanager
    def stream(self, request: Request) -> Iterator[tuple[Response, Iterator[str]]]:
        """Send one GET and give its status and header with the lines of its body as they come.

        The body of an answer other than 200 is in the response; that of a 200 is only in the lines.
        """
        with _named_failures(request), self._client.stream("GET", _relative(request), params=list(request.params)) as answer:
            body = b"" if answer.status_code == 200 else answer.read()
            yield Response(answer.status_code, answer.headers, body), answer.iter_lines()


class AsyncHttpTransport:
    """Satisfies :class:`~airflow_audit_provider.core.ports.AsyncTransport` with an httpx client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, request: Request) -> Response:
        """Send one GET; raise ``SourceUnavailableError`` when no whole answer came."""
        with _named_failures(request):
            answer = await self._client.get(_relative(request), params=list(request.params))
        return Response(answer.status_code, answer.headers, answer.content)


def _relative(request: Request) -> str:
    """Return the path without its leading slash, which would otherwise drop the base URL's own path."""
    return request.path.removeprefix("/")
