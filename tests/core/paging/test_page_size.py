"""Page size near the end of a window inside the log."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.query import PageRequest
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.end_of_data import StopReason
from airflow_audit_provider.core.paging.page_size import PageSizer
from airflow_audit_provider.core.paging.paginator import Paginator
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.seen_records import SeenRecords
from airflow_audit_provider.core.windows.window import TimeWindow
from tests.core.model_server import ModelServer
from tests.core.paging.paginator_runs import T0, play, refusal, row, rows, window

SLICE, LOG = window(0, 100), window(0, 1000)
# An even log with more records in one second before the boundary than a reduced page has.
BURST = [*(row(number / 12 + 0.01) for number in range(12 * 95)), *rows(94, 700)]
BEHIND = [row(100 + number / 12) for number in range(2000)]


def page_sizer(*, page_size: int = 1000, horizon: TimeWindow = LOG) -> PageSizer:
    """Returns the page sizer of the slice, by default inside a log that continues past it."""
    return PageSizer(ReadRequest(ApiVersion.V1, SLICE, page_size=page_size, horizon=horizon))


def read_up_to(second: int, count: int) -> SeenRecords:
    """Returns the seen records of a paginator that has read up to this many seconds after the slice's start."""
    seen = SeenRecords(1)
    seen.add([row(second * number / count, f"r{number}") for number in range(1, count + 1)])
    seen.last_record_second = T0 + second
    return seen


def test_the_first_page_is_full() -> None:
    """Before a row is seen, a full page is requested."""
    assert page_sizer().row_count(SeenRecords(1), None) == 1000


def test_last_page_is_as_large_as_the_expected_rest() -> None:
    """For 600 expected records, 600 and a tenth, three deviations and three seconds' worth are requested."""
    seen = read_up_to(40, 400)
    assert page_sizer().row_count(seen, None) == int(660 + 3 * 600**0.5 + 30) + 1


def test_a_page_in_the_middle_is_full() -> None:
    """If more than a page is expected, a full page is requested."""
    assert page_sizer().row_count(read_up_to(10, 1000), None) == 1000


@pytest.mark.parametrize(("page_size", "least"), [(1000, 250), (10, 3), (1, 1)])
def test_no_page_is_smaller_than_a_quarter(page_size: int, least: int) -> None:
    """The smallest page is a quarter of a full one, because the density is an estimate."""
    assert page_sizer(page_size=page_size).row_count(read_up_to(99, 1), None) == least


@pytest.mark.parametrize("second", [0, 100, 101])
def test_a_paginator_at_a_bound_requests_full_pages(second: int) -> None:
    """If no density is known, or the end is reached, a full page is requested."""
    assert page_sizer().row_count(read_up_to(second, 3), None) == 1000


def test_the_end_of_the_log_is_requested_with_full_pages() -> None:
    """If nothing follows the window, full pages are requested."""
    assert page_sizer(horizon=SLICE).row_count(read_up_to(99, 100), None) == 1000


def test_a_cursor_is_followed_in_pages_of_one_size() -> None:
    """With a cursor a full page is requested."""
    assert page_sizer().row_count(read_up_to(99, 100), "next") == 1000


class PageNumberCursors(ModelServer):
    """Model whose cursor is the next page number, for any page size."""

    def respond(self, request: PageRequest) -> Page:
        self.requests.append(request)
        number = int(request.cursor or 1)
        selected, start = self._selected(request), (number - 1) * request.page_size
        found = selected[start : start + request.page_size]
        is_last = start + len(found) >= len(selected)
        return Page(found, None if is_last else str(number + 1), states_end=is_last)


class StrictCursors(PageNumberCursors):
    """Model that rejects a cursor with another page size than the one it was returned for."""

    def respond(self, request: PageRequest) -> Page:
        number, _, size = (request.cursor or "1:").partition(":")
        if size and int(size) != request.page_size:
            raise refusal("the cursor is of another page size")
        page = super().respond(request._replace(cursor=number))
        return page if page.cursor is None else page._replace(cursor=f"{page.cursor}:{request.page_size}")


@pytest.mark.parametrize(
    "server",
    [
        PageNumberCursors([*BURST, *BEHIND], ApiVersion.V2),
        StrictCursors([*BURST, *BEHIND], ApiVersion.V2),
        ModelServer([*BURST, *BEHIND], ApiVersion.V2, omits_paging_facts=True),
        ModelServer([*BURST, *BEHIND], ApiVersion.V1),
    ],
    ids=["cursors are page numbers", "cursors are of one page size", "no cursors", "version 1"],
)
def test_a_crowded_second_before_the_end_is_read_completely(server: ModelServer) -> None:
    """If a reduced page does not advance time, it is requested again in full, and its cursor is not followed."""
    paginator = Paginator(ReadRequest(server.version, SLICE, horizon=LOG))
    delivered, requests = play(paginator, server.respond)
    assert sorted(delivered) == sorted(BURST)
    assert any(request.page_size < 1000 for request in requests)
    assert all(request.page_size == 1000 for request in requests if request.cursor is not None)


def test_a_crowded_second_at_the_end_is_the_last() -> None:
    """Version 1 reads the crowded second by page numbers, and nothing after the end is requested."""
    crowded = rows(5, 50)
    server = ModelServer([*crowded, *(row(second) for second in range(6, 60))])
    paginator = Paginator(ReadRequest(ApiVersion.V1, window(0, 6), page_size=20, horizon=window(0, 60)))
    delivered, requests = play(paginator, server.respond)
    assert sorted(delivered) == sorted(crowded)
    assert paginator.ended_by is StopReason.PAST_WINDOW
    assert max(request.since_seconds for request in requests) < T0 + 6
