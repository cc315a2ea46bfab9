"""A time stamp authority whose clock the test sets; ``authority`` has a real one, whose clock it cannot set."""

from __future__ import annotations

import hashlib
from datetime import datetime


class SteppedAuthority:
    """Makes and verifies time stamps of its own kind; ``now`` is its clock."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def stamp(self, content: bytes) -> bytes:
        """Returns the time stamp of a content, now."""
        return f"{self.now.isoformat()} {hashlib.sha256(content).hexdigest()}".encode()

    def verify(self, content: bytes, response: bytes) -> datetime | str:
        """Returns the time in a time stamp, or why it does not count."""
        at, _, digest = response.decode(errors="replace").partition(" ")
        if digest != hashlib.sha256(content).hexdigest():
            return "The time stamp is about another content."
        return datetime.fromisoformat(at)

    def check(self, content: bytes, response: bytes) -> str | None:
        """Returns why a time stamp does not count, None if it does."""
        checked = self.verify(content, response)
        return checked if isinstance(checked, str) else None
