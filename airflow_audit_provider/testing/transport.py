"""httpx transport of the fake, for clients in the same process.

Invariant: it returns the same bytes as the server, and raises what httpx raises if the connection breaks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx

from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.faults import Cut
from airflow_audit_provider.testing.wire import Sent, params_of, sent


class FakeTransport(httpx.MockTransport):
    """An ``httpx.BaseTransport`` and ``httpx.AsyncBaseTransport`` in one, for any host.

    Delayed responses wait on ``clock``; without a clock there is no delay.
    """

    def __init__(self, fake: FakeCloudflare, clock: Clock | None = None) -> None:
        super().__init__(self._answer)
        self._fake = fake
        self._clock = clock

    def _answer(self, request: httpx.Request) -> httpx.Response:
        asked = {name.lower(): value for name, value in request.headers.items()}
        params = params_of(request.url.query.decode("ascii"))
        exchange = self._fake.exchange(request.method, request.url.path, params, asked)
        if exchange.cut is Cut.NO_ANSWER:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        framed = sent(exchange.response, asked, may_compress=self._fake.settings.gzip)
        delay = exchange.delay_seconds if self._clock else 0.0
        stream = _Body(framed, exchange.cut, delay, self._clock)
        return httpx.Response(framed.status, headers=list(framed.headers), stream=stream)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Body of one response, delayed or cut off half-way by a misbehaviour."""

    def __init__(self, framed: Sent, cut: Cut | None, delay_seconds: float, clock: Clock | None) -> None:
        self._body = framed.body
        self._cut = cut
        self._delay_seconds = delay_seconds
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        if self._clock and self._delay_seconds:
            self._clock.sleep(self._delay_seconds)
        yield from self._parts()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._clock and self._delay_seconds:
            await self._clock.asleep(self._delay_seconds)
        for part in self._parts():
            yield part

    def _parts(self) -> Iterator[bytes]:
        if self._cut is None:
            yield self._body
            return
        half = self._body[: len(self._body) // 2]
        yield half
        if self._cut is Cut.HALF_THEN_RESET:
            raise httpx.ReadError("[Errno 104] Connection reset by peer")
        counts = f"received {len(half)} bytes, expected {len(self._body)}"
        raise httpx.RemoteProtocolError(f"peer closed connection without sending complete message body ({counts})")
