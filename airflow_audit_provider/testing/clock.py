"""Manual clock: time advances only when a test advances it or code sleeps on it.

Invariant: sleeping takes no real time and is recorded.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

DEFAULT_START = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


class ManualClock:
    """A :class:`~airflow_audit_provider.core.ports.Clock` advanced by hand; ``sleeps`` lists the seconds slept."""

    def __init__(self, start: datetime = DEFAULT_START, jitter: float = 0.5) -> None:
        if start.tzinfo is None:
            raise ValueError("start has no timezone; pass an aware datetime")
        self.sleeps: list[float] = []
        self._start = start.astimezone(UTC)
        self._elapsed_seconds = 0.0
        self._jitter = jitter
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Returns the current time, timezone-aware, in UTC."""
        return self._start + timedelta(seconds=self._elapsed_seconds)

    def monotonic(self) -> float:
        """Returns the seconds by which the clock was advanced so far."""
        return self._elapsed_seconds

    def advance(self, seconds: float) -> None:
        """Advances the clock without recording a sleep."""
        with self._lock:
            self._elapsed_seconds += seconds

    def sleep(self, seconds: float) -> None:
        """Advances the clock at once and records the sleep."""
        self.sleeps.append(seconds)
        self.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        """Same as :meth:`sleep`, for a coroutine."""
        self.sleep(seconds)

    def jitter(self) -> float:
        """Returns the same number every time."""
        return self._jitter
