"""Decides whether a response proves that nothing follows it.

Neither a short page nor a status 400 proves the end. Invariant: a response is accepted as proof only if a server that
omits a row could not have sent it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.api.responses import Page

# Observed by another collector: version 2 never returned more than 100 rows, whatever `limit` was requested. A page of
# 100, 200, … rows may therefore be the server's own maximum rather than the end.
_LIKELY_MAXIMUM_STEP = 100
# Ten rows come back in exactly the opposite order by chance once in 10! = 3.6 million times.
MIN_MIRRORED_ROWS = 10
# An id has 36 characters, so a hundred `id.not` parameters make a URL of about 5,000 characters. RFC 9110, 4.1:
# "It is RECOMMENDED that all senders and recipients support, at a minimum, URIs with lengths of 8000 octets".
MAX_EXCLUDED_IDS = 100


class StopReason(StrEnum):
    """The rule by which a paginator stopped; the manifest counts paginators by it."""

    EMPTY_PAGE = "empty page"
    NO_CURSOR = "no cursor"
    REFUSED = "a 400 past the last known row"
    OTHER_SIDE = "read from the other side"
    NEIGHBOUR = "a row next to a crowded second"
    ONLY_KNOWN_ROWS = "nothing but the known rows of one second"
    FEW_ROWS = "the same few rows of one second from both sides"
    PAST_WINDOW = "a row past the window's end"
    CUT = "cut where time had advanced"


class EndOfData:
    """Judges the pages of one paginator, from the sizes of the pages before.

    ``largest_page`` is the most rows that a page had. ``sends_short_pages`` is set once the server is known to return
    fewer rows than requested although more exist. ``accepts_empty`` is whether an empty first page needs no proof.
    """

    def __init__(self, *, accepts_empty: bool = False) -> None:
        self.largest_page = 0
        self.sends_short_pages = False
        self._accepts_empty = accepts_empty

    def note_page(self, page: Page, requested_count: int) -> StopReason | None:
        """Records the size of a page; returns the reason to stop if the page proves the end, else None.

        An empty page proves nothing by itself: a failing backend may return one for a full window.
        """
        row_count = len(page.records)
        may_be_capped = row_count in (self.largest_page, requested_count) or row_count % _LIKELY_MAXIMUM_STEP == 0
        self.largest_page = max(self.largest_page, row_count)
        if page.cursor is not None:
            # It is not documented whether an empty page can have a cursor; a cursor always leads on.
            return None
        if self._accepts_empty and self.largest_page == 0:
            return StopReason.EMPTY_PAGE
        # Cloudflare API docs, v2 `limit`: "The cursor attribute may be used to iterate over the next […] objects if
        # there are more than the limit." An empty cursor is not accepted on a page that may have been cut.
        if page.states_end and not (may_be_capped or self.sends_short_pages):
            return StopReason.NO_CURSOR
        return None

    def suggests_more(self, row_count: int, requested_count: int, *, has_new_records: bool) -> bool:
        """Returns whether more is likely to follow: after a full page, or a short one from a server known for them."""
        return row_count >= requested_count or (self.sends_short_pages and has_new_records)


def is_mirrored(ids: Sequence[str], probe: Iterable[AuditRecord], *, whole: bool = False) -> bool:
    """Returns whether a probe lists the last of ``ids`` first and continues in exactly the opposite order.

    The order of records within one second is not documented. A server that mirrors it for the opposite direction cannot
    omit a row behind the last one in both. Fewer than ``MIN_MIRRORED_ROWS`` rows do not show an order. With ``whole``,
    the probe must have as many rows.
    """
    probe_ids = [record.id for record in probe]
    is_long_enough = len(probe_ids) >= (max(len(ids), MIN_MIRRORED_ROWS) if whole else MIN_MIRRORED_ROWS)
    return is_long_enough and probe_ids == list(ids[: -len(probe_ids) - 1 : -1])
