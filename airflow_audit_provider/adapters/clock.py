"""The machine's clock and randomness.

Invariant: no other module reads them; everything else takes the time as a parameter or a ``Clock``.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """Implements :class:`~airflow_audit_provider.core.ports.Clock` with the machine's clocks."""

    def now(self) -> datetime:
        """Returns the wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Returns monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Blocks this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Suspends this coroutine."""
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        """Returns a random number in [0, 1)."""
        return random.random()


def seconds_since_boot() -> float:
    """Returns seconds on a clock that all processes of this machine share, and that no change of the time affects."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """Returns an identifier of the machine's last start (Linux); elsewhere always the same text."""
    try:
        return _BOOT_ID.read_text("ascii").strip()[:8]
    except OSError:
        return "boot"
