"""Ends a reading that makes no progress: counts pages without new records and responses that contradict each other.

Invariant: every reading ends, however a server alternates between known and new records.
"""

from __future__ import annotations

_MAX_PAGES_WITHOUT_NEW_RECORDS = 100
_MAX_CONTRADICTIONS = 5
# A server that sends two rows a page takes about five pages of known records for each page with a new one. More than
# twice as many, beyond a start, grow with the square of the window: the same rows are read again for every step.
_IDLE_PAGES_ALLOWED = 200
_IDLE_PAGES_PER_PAGE = 10


class ProgressGuard:
    """Counts what makes no progress; each method returns the problem once there is too much of it, else None."""

    def __init__(self) -> None:
        self._page_count = self._productive_page_count = 0
        self._pages_without_new_records = self._contradiction_count = 0

    def note_page(self, *, has_new_records: bool) -> str | None:
        """Counts a page with rows: those of known records may not outnumber the others by far."""
        self._page_count += 1
        self._productive_page_count += has_new_records
        idle_page_count = self._page_count - self._productive_page_count
        if idle_page_count > _IDLE_PAGES_ALLOWED + _IDLE_PAGES_PER_PAGE * self._productive_page_count:
            return f"{idle_page_count} of {self._page_count} pages had known records only"
        return None

    def note_cursor(self, *, has_new_records: bool) -> str | None:
        """Counts a page that leads on by a cursor: only so many in a row may have no new record."""
        self._pages_without_new_records = 0 if has_new_records else self._pages_without_new_records + 1
        if self._pages_without_new_records > _MAX_PAGES_WITHOUT_NEW_RECORDS:
            count = _MAX_PAGES_WITHOUT_NEW_RECORDS
            return f"{count} pages in a row had no new record and a cursor to a next page"
        return None

    def note_contradiction(self, problem: str) -> str | None:
        """Counts a response that contradicts an earlier one; a few are tolerated."""
        self._contradiction_count += 1
        return problem if self._contradiction_count > _MAX_CONTRADICTIONS else None
