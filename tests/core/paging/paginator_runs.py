"""Drives a paginator in tests, with rows written as seconds and pages written as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from airflow_audit_provider.core.api.query import PageRequest
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.paginator import Paginator
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, from_seconds
from airflow_audit_provider.exceptions import SourceProtocolError

T0 = 1_700_000_000
Respond = Callable[[PageRequest], Page | SourceProtocolError]


def window(first: float, last: float) -> TimeWindow:
    """Returns the window between two offsets from T0, in seconds."""
    base_at = from_seconds(T0)
    length = type(from_seconds(1) - base_at)
    return TimeWindow(base_at + length(seconds=first), base_at + length(seconds=last))


def row(second: float, name: str | None = None) -> AuditRecord:
    """Returns a record at an offset from T0; its id is its name, or else its second."""
    return AuditRecord(T0 * SECOND_NS + round(second * SECOND_NS), name or f"at-{second}", b"{}")


def rows(second: float, count: int, name: str = "tie") -> list[AuditRecord]:
    """Returns this many records of one instant."""
    return [row(second, f"{name}-{second}-{number:05}") for number in range(count)]


def page(*seconds: float, cursor: str | None = None, states_end: bool = False) -> Page:
    """Returns a page of one record at each offset."""
    return Page([row(second) for second in seconds], cursor, states_end)


def refusal(text: str = "no such page") -> SourceProtocolError:
    """Returns the error of a status 400."""
    return SourceProtocolError(text, status=400)


def play(
    paginator: Paginator, respond: Respond, request_limit: int = 500
) -> tuple[list[AuditRecord], list[PageRequest]]:
    """Drives a paginator to its end; returns its records and its requests."""
    delivered: list[AuditRecord] = []
    requests: list[PageRequest] = []
    while (request := paginator.next_request()) is not None:
        assert len(requests) < request_limit, "the paginator does not end"
        requests.append(request)
        response = respond(request)
        if isinstance(response, SourceProtocolError):
            paginator.receive_refusal(response)
        else:
            delivered += paginator.receive(response)
    return delivered, requests


def one_by_one(*responses: Page | SourceProtocolError) -> Respond:
    """Returns a server that returns these responses in turn, whatever is requested."""
    remaining: Iterable[Page | SourceProtocolError] = iter(responses)
    return lambda _request: next(iter(remaining))
