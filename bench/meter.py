"""What this process has cost so far: CPU seconds and memory.

Knows: the kernel's counters. Must not know: what was done.
Its one rule: the counters are the kernel's own; nothing is sampled.
"""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_STATUS = Path("/proc/self/status")
# Writing 5 here makes the kernel forget the peak so far.
_FORGET_PEAK = Path("/proc/self/clear_refs")


class Reading(NamedTuple):
    """The counters at one instant: wall and CPU (user and system, own and of ended children) seconds."""

    wall_seconds: float
    cpu_seconds: float


def read_meter() -> Reading:
    """Read the clocks."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Reading(time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in spent))


def resident_bytes() -> int:
    """Return the memory this process holds now, from here on also its peak; elsewhere than on Linux its peak so far."""
    with suppress(OSError):
        _FORGET_PEAK.write_text("5")
    return _memory_bytes("VmRSS")


def peak_bytes() -> int:
    """Return the most memory this process held since ``resident_bytes`` was asked."""
    return _memory_bytes("VmHWM")


def _memory_bytes(name: str) -> int:
    # The peak of getrusage begins with that of the parent, so it is only the second choice.
    with suppress(OSError):
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields[name].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
