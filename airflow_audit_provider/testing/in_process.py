"""In-process transports: the core's ports implemented by a fake, without an HTTP library.

Invariant: a broken connection raises SourceUnavailableError; every complete response is returned, whatever its status.
"""

from __future__ import annotations

from airflow_audit_provider.core.ports import Clock, Request, Response
from airflow_audit_provider.exceptions import SourceUnavailableError
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.faults import Exchange
from airflow_audit_provider.testing.routes import BASE_PATH


class DirectTransport:
    """A :class:`~airflow_audit_provider.core.ports.Transport` that calls a fake directly; delays wait on ``clock``."""

    def __init__(self, fake: FakeCloudflare, clock: Clock | None = None, token: str | None = None) -> None:
        self._fake = fake
        self._clock = clock
        self._token = token or next(iter(fake.settings.tokens))

    def send(self, request: Request) -> Response:
        """Returns the response; raises SourceUnavailableError if it is incomplete."""
        exchange = self._exchange(request)
        if self._clock and exchange.delay_seconds:
            self._clock.sleep(exchange.delay_seconds)
        return _whole(exchange)

    def _exchange(self, request: Request) -> Exchange:
        headers = {"authorization": f"Bearer {self._token}"}
        return self._fake.exchange("GET", BASE_PATH + request.path, request.params, headers)


class AsyncDirectTransport(DirectTransport):
    """Same as an :class:`~airflow_audit_provider.core.ports.AsyncTransport`."""

    async def send(self, request: Request) -> Response:  # type: ignore[override]  # the async port is the sync one, awaited
        """Returns the response; raises SourceUnavailableError if it is incomplete."""
        exchange = self._exchange(request)
        if self._clock and exchange.delay_seconds:
            await self._clock.asleep(exchange.delay_seconds)
        return _whole(exchange)


def _whole(exchange: Exchange) -> Response:
    if exchange.cut is not None:
        raise SourceUnavailableError("The connection broke before the response was complete. Retry the request.")
    return exchange.response
