"""Counts the function calls of a piece of work, which unlike its time are the same on every machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def function_calls(work: Callable[[], object]) -> int:
    """Returns how many functions the work calls, those written in C included."""
    count = 0

    def on_event(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
