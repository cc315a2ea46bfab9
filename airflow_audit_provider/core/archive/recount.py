"""Do two readings of a window agree? Ids of the first are kept as digests only.

Knows: ids and 64-bit digests of them. Must not know: how or in which direction either reading was made.
Its one rule: agreement means the same ids, each the same number of times.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable

from airflow_audit_provider.exceptions import VerificationError

_NAMED_COUNT = 5


class Recount:
    """Takes the ids of a first reading, then those of a second; eight bytes a record and no id is kept.

    Two ids share a digest by chance once in 10^13 for a million records; such a pair hides only if one of them is lost.
    """

    def __init__(self) -> None:
        self._first = array("Q")
        self._second = array("Q")
        self._is_sorted = False
        self._unknown_count = 0
        self._unknown_ids: list[str] = []

    def add_first(self, ids: Iterable[str]) -> None:
        """Note ids of the first reading."""
        self._first.extend(map(_digest, ids))

    def add_second(self, ids: Iterable[str]) -> None:
        """Note ids of the second reading, which begins when the first has ended."""
        if not self._is_sorted:
            self._first, self._is_sorted = array("Q", sorted(self._first)), True
        for record_id in ids:
            digest = _digest(record_id)
            self._second.append(digest)
            if not self._was_first(digest):
                self._unknown_count += 1
                self._unknown_ids = [*self._unknown_ids, record_id][:_NAMED_COUNT]

    def check_agreement(self, window_name: str) -> None:
        """Raise ``VerificationError`` with the difference when the readings disagree."""
        if sorted(self._first) == sorted(self._second):
            return
        missing_count = len(set(self._first) - set(self._second))
        named = f", such as {', '.join(self._unknown_ids)}" if self._unknown_ids else ""
        raise VerificationError(
            f"Two readings of {window_name} disagree: {len(self._first)} records, then {len(self._second)}. "
            f"{self._unknown_count} came only the second time{named}; {missing_count} only the first. Nothing was "
            "written. Run the window again; if it stays so, lengthen settle_delay, because records still arrive."
        )

    def _was_first(self, digest: int) -> bool:
        place = bisect_left(self._first, digest)
        return place < len(self._first) and self._first[place] == digest


def _digest(record_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(record_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
