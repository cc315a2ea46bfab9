"""Waits for a condition of a server.

Invariant: every wait has a generous deadline, and ends early when a server ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.http_json import NoResponseError

WITHIN_SECONDS = 240.0


def poll_until(ready: Callable[[], bool], what: str, check: Callable[[], None] = lambda: None) -> None:
    """Returns once ``ready`` returns true; raises TimeoutError. ``check`` raises if a server has ended.

    A server that does not answer yet is asked again.
    """
    deadline, reason = time.monotonic() + WITHIN_SECONDS, ""
    while time.monotonic() < deadline:
        check()
        try:
            if ready():
                return
        except NoResponseError as error:
            reason = f" ({error})"
        time.sleep(0.2)
    raise TimeoutError(f"Waited {WITHIN_SECONDS:.0f} s for {what}{reason}.")


def until_equal(read: Callable[[], object], expected: object, what: str) -> None:
    """Returns once ``read`` returns a value; raises TimeoutError, which states the last value."""
    last: list[object] = []

    def is_equal() -> bool:
        last[:] = [read()]
        return last[0] == expected

    try:
        poll_until(is_equal, what)
    except TimeoutError as error:
        error.add_note(f"expected {expected!r}, was {last!r}")
        raise
