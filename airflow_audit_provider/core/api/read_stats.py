"""What a reading cost and dropped, as a manifest says it.

Knows: what is counted. Must not know: who counts (``reading``, ``exchange``).
Its one rule: tallies add up, so a window read in slices or by several tries has one.
"""

from __future__ import annotations

import msgspec


class ReadStats(msgspec.Struct):
    """What a reading cost and dropped; counts are of records unless named otherwise.

    ``resumed_count`` are those that an earlier try had staged, ``ended_by`` counts the walks by the rule that ended
    each.
    """

    request_count: int = 0
    retry_count: int = 0
    page_count: int = 0
    throttled_seconds: float = 0.0
    seen_count: int = 0
    outside_count: int = 0
    repeated_count: int = 0
    ended_by: dict[str, int] = {}
    resumed_count: int = 0

    def add(self, other: ReadStats) -> None:
        """Add another reading's tally to this one."""
        for name in self.__struct_fields__:
            if name != "ended_by":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        for rule, count in other.ended_by.items():
            self.ended_by[rule] = self.ended_by.get(rule, 0) + count
