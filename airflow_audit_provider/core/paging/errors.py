"""Errors of the page protocol, raised where continuing could lose a record.

Invariant: every message states that nothing of the window was written and ends in what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.query_bounds import keeps_start_bound
from airflow_audit_provider.core.paging.seen_records import is_sorted
from airflow_audit_provider.core.windows.window import count_of, format_second
from airflow_audit_provider.exceptions import SourceProtocolError, SourceUnavailableError

_EXAMPLE_COUNT = 5


def page_error(records: Sequence[AuditRecord], requested: PageRequest, position: str) -> SourceProtocolError | None:
    """Returns what is wrong with a page, None if nothing is."""
    direction = requested.direction
    if not is_sorted(records, direction.sign):
        is_reversed = is_sorted(records, direction.opposite.sign)
        return ignored_direction(direction, position) if is_reversed else out_of_order(direction, position)
    if not keeps_start_bound(records, requested):
        # Moving a bound that is ignored would read the same rows again for every page.
        return ignored_bound(direction, position)
    return None


def no_progress(problem: str, position: str) -> SourceProtocolError:
    """Returns the error of a paginator that can neither continue nor prove the end."""
    return SourceProtocolError(
        f"Reading stopped because records could be lost here: {problem}. Nothing of the window was written. Narrow the "
        "filters (for example by actor or action type) so that fewer records share one second, or report the problem.",
        position=position,
    )


def out_of_order(direction: Direction, position: str) -> SourceProtocolError:
    """Returns the error of a page whose records are not sorted in the requested direction."""
    return SourceProtocolError(
        f"The API returned a page that is not sorted {direction} by time, so the end of the data cannot be determined. "
        "Nothing of the window was written. Report it to the maintainers.",
        position=position,
    )


def ignored_direction(direction: Direction, position: str) -> SourceProtocolError:
    """Returns the error of a page whose records are sorted in the opposite of the requested direction."""
    return SourceProtocolError(
        f"The API ignores the parameter direction: it returned a page that is not sorted {direction} by time, but the "
        "other way round, so the end of the data cannot be determined. Nothing of the window was written. Check that "
        "no proxy removes query parameters, or report it to the maintainers.",
        position=position,
    )


def ignored_bound(direction: Direction, position: str) -> SourceProtocolError:
    """Returns the error of a page that starts outside the requested range; ``direction`` tells which bound."""
    bound = "since" if direction is Direction.ASC else "before"
    return SourceProtocolError(
        f"The API ignores the parameter {bound}: it returned records outside of the requested range, so reading by "
        "time makes no progress. Nothing of the window was written. Check that no proxy removes query parameters, or "
        "report it to the maintainers.",
        position=position,
    )


def conflicting_records(record: AuditRecord, position: str) -> SourceProtocolError:
    """Returns the error of two different records with one id; ``record`` is the second."""
    return SourceProtocolError(
        f"The API returned two different records with the id {record.id!r}, the second with the event time "
        f"{format_second(record.event_second)}. One of them would be lost, so nothing of the window was written. Run "
        "the window again; if the error persists, open a Cloudflare support case with the id.",
        position=position,
    )


def edges_differ(ids: Sequence[str], window_name: str) -> SourceUnavailableError:
    """Returns the error of a second look that showed records, with these ids, next to which more may be missing."""
    examples = ", ".join(ids[:_EXAMPLE_COUNT])
    return SourceUnavailableError(
        f"The first and the last page of the window were requested again, and showed {count_of(len(ids), 'record')} "
        f"that the reading before had not returned, such as {examples}. More may be missing, so nothing of the window "
        "was written. Run the window again. If the error repeats, servers of the API lag behind: lengthen "
        "settle_delay.",
        window=window_name,
        position="second look at the edges",
    )


def contradicts_earlier_attempt(window_name: str) -> SourceUnavailableError:
    """Returns the error of an attempt that resumed from records which the API now returns with other content."""
    return SourceUnavailableError(
        "The API returned different content for a record than during the previous attempt. Nothing of the window was "
        "written, and the records staged by that attempt are discarded. Run the window again: it is read from its "
        "start.",
        window=window_name,
        position="all slices together",
    )
