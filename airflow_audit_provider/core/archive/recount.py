"""Compares the ids of several reads of a window, keeping eight bytes a record.

A second read that returns other ids than the first is judged by what differs. If it only lacks records, another read
shows whether the API lost them for one answer or for good; the first read has them in both cases. If it has records
that the first read lacks, those are not staged, so the window has to be read from its start.

Invariant: reads agree only if the first one has every id that any read returned, each the same number of times.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from enum import StrEnum

from airflow_audit_provider.core.api.records import id_digest
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import VerificationError

_EXAMPLE_COUNT = 5


class Agreement(StrEnum):
    """What a read means for the first one: it agrees, it only lacks records, or it has others."""

    AGREES = "agrees"
    LACKS = "lacks records"
    DIFFERS = "differs"


class Recount:
    """Takes the ids of the first read, then those of each further one; keeps digests, see :func:`id_digest`.

    ``shown_before`` are digests of ids that the API returned before the first read; it has to have them all. A shared
    digest hides a difference only if one of the two ids is missing from a read.
    """

    def __init__(self, shown_before: Iterable[int] = ()) -> None:
        self._shown_before = array("Q", shown_before)
        self._first = array("Q")
        self._second = array("Q")
        self._is_sorted = False
        self._missing: set[int] | None = None
        self._unknown_count = 0
        self._example_ids: list[str] = []

    @property
    def shown(self) -> set[int]:
        """The digests of all ids that any read returned."""
        return {*self._shown_before, *self._first, *self._second}

    def add_first(self, ids: Iterable[str]) -> None:
        """Adds ids of the first read."""
        self._first.extend(map(id_digest, ids))

    def begin_second(self) -> None:
        """Begins a further read, which starts when the one before has ended."""
        self._second = array("Q")
        self._unknown_count, self._example_ids = 0, []

    def add_second(self, ids: Iterable[str]) -> None:
        """Adds ids of the further read."""
        if not self._is_sorted:
            self._first, self._is_sorted = array("Q", sorted(self._first)), True
        for record_id in ids:
            digest = id_digest(record_id)
            self._second.append(digest)
            if not self._is_in_first(digest):
                self._unknown_count += 1
                self._example_ids = [*self._example_ids, record_id][:_EXAMPLE_COUNT]

    def judge(self) -> Agreement:
        """Returns whether the further read agrees with the first; call it once, at the read's end.

        A read that lacks the same records as the one before agrees: they have vanished since the first read.
        """
        first, second = set(self._first), set(self._second)
        if len(second) < len(self._second) or not second <= first or not first.issuperset(self._shown_before):
            return Agreement.DIFFERS
        missing = first - second
        is_known = not missing or missing == self._missing
        self._missing = missing
        return Agreement.AGREES if is_known else Agreement.LACKS

    def disagreement(self, window_name: str) -> VerificationError:
        """Returns the error of reads that do not agree, with the difference."""
        missing_count = len(set(self._first) - set(self._second))
        lost_count = len(set(self._shown_before) - set(self._first))
        lost = f"; {count_of(lost_count, 'record')} of an earlier read came in neither" if lost_count else ""
        examples = f", such as {', '.join(self._example_ids)}" if self._example_ids else ""
        return VerificationError(
            f"Two reads of {window_name} disagree: the first returned {count_of(len(self._first), 'record')}, the last "
            f"{len(self._second)}. {count_of(self._unknown_count, 'record')} came only in the last read{examples}, and "
            f"{missing_count} only in the first{lost}. Nothing was committed. Run the window again. If the "
            "error repeats, records still arrive: lengthen settle_delay."
        )

    def _is_in_first(self, digest: int) -> bool:
        index = bisect_left(self._first, digest)
        return index < len(self._first) and self._first[index] == digest
