"""The fake as the core's own ports, for the pipeline without any HTTP library.

Knows: the ports, and what a cut connection is called there.
Must not know: httpx, sockets.
Its one rule: a broken wire raises SourceUnavailableError; every whole answer is returned, whatever its status.
"""

from __future__ import annotations

from airflow_audit_provider.core.ports import Clock, Request, Response
from airflow_audit_provider.exceptions import SourceUnavailableError
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.faults import Exchange
from airflow_audit_provider.testing.routes import BASE_PATH


class DirectTransport:
    """A :class:`~airflow_audit_provider.core.ports.Transport` straight into a fake; waits on ``clock``."""

    def __init__(self, fake: FakeCloudflare, clock: Clock | None = None, token: str | None = None) -> None:
        self._fake = fake
        self._clock = clock
        self._token = token or next(iter(fake.settings.tokens))

    def send(self, request: Request) -> Response:
        """Return the answer; raises SourceUnavailableError when no whole one comes."""
        exchange = self._exchange(request)
        if self._clock and exchange.delay_seconds:
            self._clock.sleep(exchange.delay_seconds)
        return _whole(exchange)

    def _exchange(self, request: Request) -> Exchange:
        headers = {"authorization": f"Bearer {self._token}"}
        return self._fake.exchange("GET", BASE_PATH + request.path, request.params, headers)


class AsyncDirectTransport(DirectTransport):
    """The same as an :class:`~airflow_audit_provider.core.ports.AsyncTransport`."""

    async def send(self, request: Request) -> Response:  # type: ignore[override]  # the async port is the sync one, awaited
        """Return the answer; raises SourceUnavailableError when no whole one comes."""
        exchange = self._exchange(request)
        if self._clock and exchange.delay_seconds:
            await self._clock.asleep(exchange.delay_seconds)
        return _whole(exchange)


def _whole(exchange: Exchange) -> Response:
    if exchange.cut is not None:
        raise SourceUnavailableError("The connection broke before the whole answer came. Try again.")
    return exchange.response
