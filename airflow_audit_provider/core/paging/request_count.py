"""Estimates how many requests a pull needs for a window, from the number of its records.

It follows what the paginator does: pages by time, each of which queries the last second again; a response that proves
the end; for a window without a second of its own to compare, one request more. The constants are counted in pulls by
``tests/pipelines/plan``, which fails when the paginator changes.
"""

from __future__ import annotations

from math import floor
from typing import NamedTuple

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE

# A page queries the second that the one before reached again, and the second before it.
_REPEATED_SECONDS = 2
# Slices that are read side by side end in pages that are not full: counted, a tenth more pages from a dozen on.
_SLICED_FROM_PAGES, _SLICED_FACTOR = 12, 1.1
# How far before a window the probe looks for a record (``query_bounds``).
PROBE_SECONDS = 2 * 86_400
# The second look at a window: two requests for its last page, one for its first (``edge_check``).
EDGES_REQUESTS = 3


class LogAnswers(NamedTuple):
    """How the API answers: rows of a full page, and whether a last page says that it is the last (version 2 may)."""

    page_rows: int = MAX_PAGE_SIZE
    states_end: bool = False


def read_requests(record_count: float, seconds: float, answers: LogAnswers, *, is_sliced: bool) -> float:
    """Returns the requests that read a window of so many seconds once, where a record lies near its records."""
    repeated = _REPEATED_SECONDS * record_count / seconds
    new_rows = max(answers.page_rows / 2, answers.page_rows - repeated)
    page_count = floor(record_count / new_rows) + 1
    needs_proof = not answers.states_end or record_count < 1
    sliced = _SLICED_FACTOR if is_sliced and page_count >= _SLICED_FROM_PAGES else 1.0
    return page_count * sliced + needs_proof


def lonely_requests(empty: float, single: float, empty_before: float, answers: LogAnswers) -> float:
    """Returns the requests beyond those of ``read_requests`` for a window that may have no record to compare with.

    ``empty`` and ``single`` are the probabilities that it has none or one, ``empty_before`` that the two days before
    it have none.
    """
    return (empty + (0.0 if answers.states_end else single)) * empty_before
