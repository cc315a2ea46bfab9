"""Statistics of reading a window, as the manifest records them."""

from __future__ import annotations

import msgspec


class ReadStats(msgspec.Struct):
    """Requests, pages and records of one read; counts are of records unless the name says otherwise.

    ``resumed_count`` is the number of records that an earlier attempt had staged. ``ended_by`` counts paginators by the
    rule that ended each. Statistics of slices and attempts add up to those of the window.
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
        """Adds the statistics of another read to these."""
        for name in self.__struct_fields__:
            if name != "ended_by":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in other.ended_by.items():
            self.ended_by[reason] = self.ended_by.get(reason, 0) + count
