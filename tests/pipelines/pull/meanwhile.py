"""Transport that lets another run act while a window is read."""

from __future__ import annotations

from collections.abc import Callable

from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport


class Meanwhile:
    """Transport that runs another action during its first request."""

    def __init__(self, fake: FakeCloudflare, action: Callable[[], object]) -> None:
        self._transport = DirectTransport(fake, ManualClock())
        self._action: Callable[[], object] | None = action

    def send(self, request: Request) -> Response:
        """Sends the request; the action runs once."""
        response, action = self._transport.send(request), self._action
        self._action = None
        if action is not None:
            action()
        return response
