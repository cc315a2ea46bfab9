"""The machine's clock; the only place that reads it.

Knows: time and randomness. Must not know: what they are used for.
Its one rule: everything else takes the time as a parameter or a ``Clock``.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime


class SystemClock:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Clock` with the machine's clocks."""

    def now(self) -> datetime:
        """Return the wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Suspend this coroutine."""
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        return random.random()
