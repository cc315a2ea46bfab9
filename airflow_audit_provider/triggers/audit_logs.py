"""Triggers: waiting without a worker's slot.

Knows: Airflow's triggers. Must not know: pages, and when activity is enough.
Its one rule: a trigger never spins and never fails without saying so: an error ends as an event with its code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.core.activity import Activity, Watch
from airflow_audit_provider.exceptions import AuditProviderError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.watching import alook_for_activity


class WindowSettledTrigger(BaseTrigger):
    """Fires once at an instant, when a window is settled.

    :param settled_at: the instant, timezone-aware, or its ISO 8601 text.
    """

    def __init__(self, settled_at: datetime | str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's base class has no types here
        self.settled_at = datetime.fromisoformat(settled_at) if isinstance(settled_at, str) else settled_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to build the trigger again."""
        return _path(self), {"settled_at": self.settled_at.astimezone(UTC).isoformat()}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait until the instant; an instant in the past fires at once."""
        clock = SystemClock()
        while (wait := (self.settled_at - clock.now()).total_seconds()) > 0:
            await clock.asleep(min(wait, 60.0))
        yield TriggerEvent({"settled_at": self.settled_at.isoformat()})


class AuditLogActivityTrigger(BaseTrigger):
    """Looks for new activity every ``poll_interval_seconds`` until there is enough, or an error that no retry mends.

    :param cloudflare_conn_id: a connection of type ``cloudflare``.
    :param since: the watermark, timezone-aware, or its ISO 8601 text.
    :param minimum_count: how many records are enough.
    :param poll_interval_seconds: seconds between two looks, at least 1.
    :param query: keyword arguments of :meth:`CloudflareHook.query`.

    The event is ``{"status": "found", "activity": {...}}`` or ``{"status": "failed", "code": ..., "message": ...}``.
    """

    def __init__(
        self,
        cloudflare_conn_id: str,
        since: datetime | str,
        minimum_count: int = 1,
        poll_interval_seconds: float = 60.0,
        query: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's base class has no types here
        self.cloudflare_conn_id = cloudflare_conn_id
        self.since = datetime.fromisoformat(since) if isinstance(since, str) else since
        self.minimum_count = minimum_count
        self.poll_interval_seconds = max(1.0, poll_interval_seconds)
        self.query = query or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to build the trigger again."""
        return _path(self), {
            "cloudflare_conn_id": self.cloudflare_conn_id,
            "since": self.since.astimezone(UTC).isoformat(),
            "minimum_count": self.minimum_count,
            "poll_interval_seconds": self.poll_interval_seconds,
            "query": self.query,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again; a retryable error only costs one interval."""
        hook = CloudflareHook(self.cloudflare_conn_id)
        while True:
            try:
                activity = await self._look(hook)
            except AuditProviderError as error:
                if not error.retryable:
                    yield TriggerEvent({"status": "failed", "code": type(error).__name__, "message": str(error)})
                    return
                self.log.warning("Looking again in %.0f s: %s", self.poll_interval_seconds, error)
            else:
                if activity.is_enough:
                    yield TriggerEvent({"status": "found", "activity": activity.summary()})
                    return
            await hook.clock.asleep(self.poll_interval_seconds)

    async def _look(self, hook: CloudflareHook) -> Activity:
        async with await hook.open_async_conn() as client:
            watch = Watch(hook.query(**self.query), self.since, self.minimum_count)
            return await alook_for_activity(watch, hook.async_source(client))


def _path(trigger: BaseTrigger) -> str:
    return f"{type(trigger).__module__}.{type(trigger).__qualname__}"
