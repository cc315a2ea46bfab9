"""A clock that stands still until somebody sleeps on it.

Knows: the instant it was set to, and every sleep asked of it.
Must not know: the machine's time.
Its one rule: waiting costs nothing and is written down.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

DEFAULT_START = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


class ManualClock:
    """A :class:`~airflow_audit_provider.core.ports.Clock` moved by hand; ``sleeps`` lists the seconds slept."""

    def __init__(self, start: datetime = DEFAULT_START, jitter: float = 0.5) -> None:
        if start.tzinfo is None:
            raise ValueError("start has no timezone; pass an aware datetime")
        self.sleeps: list[float] = []
        self._start = start.astimezone(UTC)
        self._elapsed_seconds = 0.0
        self._jitter = jitter
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the wall-clock time, timezone-aware, in UTC."""
        return self._start + timedelta(seconds=self._elapsed_seconds)

    def monotonic(self) -> float:
        """Return the seconds this clock was moved so far."""
        return self._elapsed_seconds

    def advance(self, seconds: float) -> None:
        """Move the clock without writing down a sleep."""
        with self._lock:
            self._elapsed_seconds += seconds

    def sleep(self, seconds: float) -> None:
        """Move the clock by so many seconds, at once, and remember that."""
        self.sleeps.append(seconds)
        self.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        """Do the same for a coroutine."""
        self.sleep(seconds)

    def jitter(self) -> float:
        """Return the same number every time."""
        return self._jitter
