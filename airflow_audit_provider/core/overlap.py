"""Page numbers that overlap: how one instant is read by pages without missing a row when the list moves.

Knows: arithmetic. Must not know: the API.
Its one rule: the next page shares at least one row with what was read, where any page size allows it.
"""

from __future__ import annotations


def overlapping_page(read_count: int, row_limit: int) -> tuple[int, int]:
    """Return the (page, page size) that starts before ``read_count`` rows, shares at least one, and reaches furthest.

    Pages count from 1; ``read_count`` and ``row_limit`` are at least 1. The size is at most ``row_limit`` and more than
    its half; where no such size reaches past ``read_count``, the exact next row is asked for: size 1, nothing shared.
    """

    def end_of(row_count: int) -> int:
        return ((read_count - 1) // row_count + 1) * row_count

    size = max(range(row_limit, row_limit // 2, -1), key=end_of)
    if end_of(size) <= read_count:
        return read_count + 1, 1
    return end_of(size) // size, size
