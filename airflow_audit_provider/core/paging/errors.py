"""What a pull says when going on could lose a record: the errors, each with where it struck and what to do.

Knows: words. Must not know: when a walk or a try raises which.
Its one rule: every error says that nothing was written, and ends in what to do.
"""

from __future__ import annotations

from airflow_audit_provider.core.api.query import Direction
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.windows.window import format_second
from airflow_audit_provider.exceptions import SourceProtocolError, SourceUnavailableError


def no_progress(trouble: str, position: str) -> SourceProtocolError:
    """Return the error of a walk that finds no way on, or no proof of the end."""
    return SourceProtocolError(
        f"Records could be lost here: {trouble}. Nothing of the window was written. Narrow the filters "
        "(for example by actor or action type) so that fewer records share the instant, or report it.",
        position=position,
    )


def out_of_order(direction: Direction, position: str) -> SourceProtocolError:
    """Return the error of a page whose records do not run in the direction asked for."""
    return SourceProtocolError(
        f"The API sent a page that is not sorted {direction} by time, so its end cannot be trusted. "
        "Report it to the maintainers; nothing of the window was written.",
        position=position,
    )


def conflicting_records(record: AuditRecord, position: str) -> SourceProtocolError:
    """Return the error of an id under which two different records came; ``record`` is the second."""
    second = format_second(record.event_second)
    return SourceProtocolError(
        f"The API sent two different records with the id {record.id!r}, the second of {second}. One of them would be "
        "lost, so nothing of the window was written. Run the window again; if it stays so, open a Cloudflare support "
        "case with the id.",
        position=position,
    )


def contradicts_earlier_attempt(window_name: str) -> SourceUnavailableError:
    """Return the error of a try that went on from an earlier one's records, which the API tells otherwise now."""
    return SourceUnavailableError(
        "The API tells a record otherwise than it told the try that was gone on from. Nothing of the window was "
        "written, and what that try had staged is given up. Run the window again: it is read from its start.",
        window=window_name,
        position="all slices together",
    )
