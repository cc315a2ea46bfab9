"""Meter of this process: CPU seconds and memory.

Invariant: the counters are those of the kernel; nothing is sampled.
"""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_STATUS = Path("/proc/self/status")
# Writing 5 to this file resets the peak (proc(5), clear_refs).
_FORGET_PEAK = Path("/proc/self/clear_refs")


class Reading(NamedTuple):
    """Counters at one instant: wall and CPU seconds (user and system, own and of ended children)."""

    wall_seconds: float
    cpu_seconds: float


def read_meter() -> Reading:
    """Reads the counters."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Reading(time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in spent))


def resident_bytes() -> int:
    """Returns the resident memory and resets its peak; returns the peak so far on systems other than Linux."""
    with suppress(OSError):
        _FORGET_PEAK.write_text("5")
    return _memory_bytes("VmRSS")


def peak_bytes() -> int:
    """Returns the peak of resident memory since the call of ``resident_bytes``."""
    return _memory_bytes("VmHWM")


def _memory_bytes(name: str) -> int:
    # The peak of getrusage starts at that of the parent process, so it is only the fallback.
    with suppress(OSError):
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields[name].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
