"""Compares the ids of two reads of a window, keeping eight bytes a record.

Invariant: the reads agree only if both have the same ids, each the same number of times.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

from airflow_audit_provider.core.api.records import id_digest
from airflow_audit_provider.exceptions import VerificationError

_EXAMPLE_COUNT = 5


class Recount:
    """Takes the ids of the first read, then those of the second; keeps digests, see :func:`id_digest`.

    A shared digest hides a difference only if one of the two ids is missing from a read.
    """

    def __init__(self) -> None:
        self._first = array("Q")
        self._second = array("Q")
        self._is_sorted = False
        self._unknown_count = 0
        self._example_ids: list[str] = []

    def add_first(self, ids: Iterable[str]) -> None:
        """Adds ids of the first read."""
        self._first.extend(map(id_digest, ids))

    def add_second(self, ids: Iterable[str]) -> None:
        """Adds ids of the second read, which starts when the first has ended."""
        if not self._is_sorted:
            self._first, self._is_sorted = array("Q", sorted(self._first)), True
        for record_id in ids:
            digest = id_digest(record_id)
            self._second.append(digest)
            if not self._is_in_first(digest):
                self._unknown_count += 1
                self._example_ids = [*self._example_ids, record_id][:_EXAMPLE_COUNT]

    def check_agreement(self, window_name: str) -> None:
        """Raises ``VerificationError`` with the difference if the two reads disagree."""
        if sorted(self._first) == sorted(self._second):
            return
        missing_count = len(set(self._first) - set(self._second))
        examples = f", such as {', '.join(self._example_ids)}" if self._example_ids else ""
        raise VerificationError(
            f"Two reads of {window_name} disagree: {len(self._first)} records, then {len(self._second)}. "
            f"{self._unknown_count} came only the second time{examples}; {missing_count} only the first. Nothing was "
            "committed. Run the window again. If the error repeats, records still arrive: lengthen settle_delay."
        )

    def _is_in_first(self, digest: int) -> bool:
        index = bisect_left(self._first, digest)
        return index < len(self._first) and self._first[index] == digest
