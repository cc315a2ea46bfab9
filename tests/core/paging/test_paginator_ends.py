"""Tests of when a paginator accepts the end of the data, and what it requests until then."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.end_of_data import StopReason
from airflow_audit_provider.core.paging.paginator import Paginator
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.paging.paginator_runs import T0, one_by_one, page, play, refusal, row, rows, window

V1, V2 = ApiVersion.V1, ApiVersion.V2
DESC = Direction.DESC
# The probe extends two days before the window, where an earlier record shows that nothing is missing.
BEHIND = T0 - 1 - 2 * 86_400


def test_the_first_query_is_wider_than_the_window() -> None:
    """The first query is a second wider on either side than the window's whole seconds."""
    assert Paginator(ReadRequest(V1, window(0.5, 9.5))).next_request() == PageRequest(
        T0 - 1, T0 + 11, Direction.ASC, 1000
    )
    assert Paginator(ReadRequest(V1, window(0, 9), DESC)).next_request() == PageRequest(T0 - 1, T0 + 10, DESC, 1000)


@pytest.mark.parametrize(
    ("direction", "since", "before"), [(Direction.ASC, T0 - 1, T0 + 101), (DESC, T0 - 51, T0 + 10)]
)
def test_a_horizon_widens_the_end_bound_only(direction: Direction, since: int, before: int) -> None:
    """The query extends past the window in the reading direction only."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), direction, horizon=window(-50, 100)))
    assert paginator.next_request() == PageRequest(since, before, direction, 1000)


@pytest.mark.parametrize("version", [V1, V2])
@pytest.mark.parametrize("direction", list(Direction))
def test_three_empty_pages_end_a_paginator_that_knows_no_record(version: ApiVersion, direction: Direction) -> None:
    """An empty window is requested from both sides and once with the month before it."""
    paginator = Paginator(ReadRequest(version, window(0, 9), direction))
    delivered, requests = play(paginator, one_by_one(page(), page(states_end=True), page()))
    assert (delivered, paginator.ended_by) == ([], StopReason.EMPTY_PAGE)
    assert requests[0] == PageRequest(T0 - 1, T0 + 10, direction, 1000)
    since = BEHIND if direction is Direction.ASC else T0 - 1
    assert requests[1] == PageRequest(since, T0 + 10, direction.opposite, 10)
    assert requests[2] == PageRequest(T0 - 1 - 31 * 86_400, T0 + 10, DESC, 10)


@pytest.mark.parametrize("version", [V1, V2])
def test_record_before_an_empty_window_proves_it(version: ApiVersion) -> None:
    """The newest record up to the window's end lies before the window, in the two days or in the month before."""
    paginator = Paginator(ReadRequest(version, window(0, 9)))
    _, requests = play(paginator, one_by_one(page(), page(-5)))
    assert (len(requests), paginator.ended_by) == (2, StopReason.OTHER_SIDE)
    paginator = Paginator(ReadRequest(version, window(0, 9)))
    _, requests = play(paginator, one_by_one(page(), page(), page(-1_000_000)))
    assert (len(requests), paginator.ended_by) == (3, StopReason.OTHER_SIDE)


@pytest.mark.parametrize("version", [V1, V2])
@pytest.mark.parametrize("empty_count", [1, 2])
def test_empty_first_pages_of_a_window_with_records_are_read_again(version: ApiVersion, empty_count: int) -> None:
    """A window that is empty at first, and then is not, is read as if it had never been empty."""
    paginator = Paginator(ReadRequest(version, window(0, 9)))
    empty = [page()] * empty_count
    delivered, _ = play(paginator, one_by_one(*empty, page(7, 2, 1), page(1, 2, 7), page(7, 2, 1)))
    assert delivered == [row(1), row(2), row(7)]


def test_first_page_that_stays_empty_where_the_other_side_has_records_is_an_error() -> None:
    """A server that never shows in one direction what it shows in the other ends in an error."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    with pytest.raises(SourceProtocolError, match="records could be lost here"):
        play(paginator, lambda request: page(3) if request.direction is DESC else page())


def test_refused_month_is_replaced_by_the_range_that_was_answered() -> None:
    """A status 400 for the month before an empty window costs one request more, and the next 400 is raised."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    _, requests = play(paginator, one_by_one(page(), page(), refusal(), page()))
    assert requests[3] == PageRequest(T0 - 1, T0 + 10, DESC, 10)
    assert paginator.ended_by is StopReason.EMPTY_PAGE
    with pytest.raises(SourceProtocolError, match="too early"):
        play(
            Paginator(ReadRequest(V2, window(0, 9))),
            one_by_one(page(), page(), refusal("too early"), refusal("too early")),
        )


def test_a_short_page_is_proved_by_the_probe() -> None:
    """Version 1's short page is the end only if the probe shows nothing new."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    delivered, requests = play(paginator, one_by_one(page(1, 2, 3), page(3, 2, 1)))
    assert delivered == [row(1), row(2), row(3)]
    assert requests[1] == PageRequest(BEHIND, T0 + 10, DESC, 11)
    assert paginator.ended_by is StopReason.OTHER_SIDE


def test_probe_extends_ten_rows_past_the_last_second() -> None:
    """The probe requests ten rows more than the last second has, at most a page."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    paginator.receive(Page([row(1), *rows(2, 40)]))
    assert paginator.next_request() == PageRequest(BEHIND, T0 + 10, DESC, 50)
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    paginator.receive(Page([row(1), *rows(2, 995)]))
    assert paginator.next_request() == PageRequest(BEHIND, T0 + 10, DESC, 1000)


def test_rows_that_only_the_probe_shows_are_read() -> None:
    """The probe reveals a server that returns fewer rows than requested, and reading continues."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    server = one_by_one(page(1, 2), page(7, 6, 5), page(2, 5, 6), page(6, 7), page(7), page(7, 6, 5))
    delivered, requests = play(paginator, server)
    assert delivered == [row(1), row(2), row(5), row(6), row(7)]
    assert [request.since_seconds - T0 for request in requests if request.direction is Direction.ASC] == [-1, 1, 5, 6]


def test_late_rows_are_taken_from_the_probe() -> None:
    """A row that appeared in a part already read is delivered when the probe shows it."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    delivered, _ = play(paginator, one_by_one(page(1, 4, 5), Page([row(5), row(4), row(3, "late"), row(1)])))
    assert delivered == [row(1), row(4), row(5), row(3, "late")]
    assert paginator.ended_by is StopReason.OTHER_SIDE
    assert (paginator.seen.seen_count, paginator.seen.repeated_count) == (4, 0)


def test_a_late_row_outside_the_window_is_counted_as_outside() -> None:
    """A row of the probe outside the window is not delivered."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    delivered, _ = play(paginator, one_by_one(page(1, 5), Page([row(5), row(1), row(-0.5, "late")])))
    assert delivered == [row(1), row(5)]
    assert paginator.outside_count == 1


def test_window_within_one_second_requests_the_next_row() -> None:
    """If both directions could omit the same row, exactly the page behind the first one is requested, in its size."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    delivered, requests = play(paginator, one_by_one(page(5, 5.5), page(5.5, 5), page()))
    assert delivered == [row(5), row(5.5)]
    assert requests[2] == PageRequest(T0 - 1, T0 + 10, Direction.ASC, 2, 2)
    assert paginator.ended_by is StopReason.EMPTY_PAGE


def test_row_after_the_last_one_continues_reading() -> None:
    """A row found by requesting the next one is delivered, and the end is proved after it."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    server = one_by_one(page(5, 5.1), page(5.1, 5), page(5.2), page(5, 5.1, 5.2), page(5.2, 5.1, 5), page(), page())
    delivered, requests = play(paginator, server)
    assert delivered == [row(5), row(5.1), row(5.2)]
    assert requests[-1].page == 4


@pytest.mark.parametrize(("row_count", "end"), [(7, StopReason.NO_CURSOR), (250, StopReason.NO_CURSOR)])
def test_explicit_end_of_version_two_is_accepted(row_count: int, end: StopReason) -> None:
    """An explicit end on a page that cannot be truncated needs no proof."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    _, requests = play(paginator, one_by_one(Page(rows(5, row_count), None, states_end=True)))
    assert len(requests) == 1
    assert paginator.ended_by is end


@pytest.mark.parametrize("row_count", [100, 300, 1000])
def test_explicit_end_on_a_page_of_a_likely_maximum_is_proved(row_count: int) -> None:
    """A round or a full page without a cursor is proved by the probe."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    paginator.receive(Page([row(1), *rows(5, row_count - 1)], None, states_end=True))
    request = paginator.next_request()
    assert request is not None
    assert request.direction is DESC


def test_explicit_end_on_a_page_as_large_as_the_largest_is_proved() -> None:
    """A page as large as the largest one before may be truncated like it."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    paginator.receive(page(1, 2, cursor="a"))
    paginator.receive(page(3, 4, states_end=True))
    request = paginator.next_request()
    assert request is not None
    assert request.direction is DESC


def test_version_two_page_without_paging_facts_is_proved() -> None:
    """A page without paging facts is never the end by itself."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    play(paginator, one_by_one(page(1, 2), page(2, 1)))
    assert paginator.ended_by is StopReason.OTHER_SIDE


def test_earlier_row_proves_a_window_within_one_second() -> None:
    """If all records share one second, an earlier row in the probe saves a third request."""
    for version in (V1, V2):
        paginator = Paginator(ReadRequest(version, window(0, 9)))
        delivered, requests = play(paginator, one_by_one(page(5, 5.5), page(5.5, 5, -40_000)))
        assert (len(delivered), len(requests), paginator.ended_by) == (2, 2, StopReason.OTHER_SIDE)
        assert paginator.outside_count == 1


def test_descending_the_probe_stays_inside_the_window() -> None:
    """In descending order the range before the first record may be in the future."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), DESC))
    paginator.receive(page(5))
    assert paginator.next_request() == PageRequest(T0 - 1, T0 + 10, Direction.ASC, 11)


def test_version_two_within_one_second_excludes_known_ids() -> None:
    """Without page numbers, a single second is proved by a request that excludes the known ids and returns nothing."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    _, requests = play(paginator, one_by_one(page(5, 5.5), page(5.5, 5), page()))
    assert requests[2] == PageRequest(T0 - 1, T0 + 10, Direction.ASC, 10, without_ids=("at-5", "at-5.5"))
    assert paginator.ended_by is StopReason.ONLY_KNOWN_ROWS


@pytest.mark.parametrize("response", [page(5.7), page(5.5, 5.7), page(cursor="c")], ids=str)
def test_hidden_row_within_one_second_is_an_error(response: Page) -> None:
    """A hidden row and a page that leads on leave the end unproved."""
    with pytest.raises(SourceProtocolError, match="records could be lost here"):
        play(Paginator(ReadRequest(V2, window(0, 9))), one_by_one(page(5, 5.5), page(5.5, 5), response))


@pytest.mark.parametrize("response", [page(5, 5.5), page(5.5), refusal()], ids=str)
def test_ignored_or_refused_id_not_is_replaced_by_the_month_before(response: Page | SourceProtocolError) -> None:
    """Known rows in spite of ``id.not`` prove nothing; a record before them does, and so do a few rows alike."""
    first = page(5, 5.5), page(5.5, 5), response
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    _, requests = play(paginator, one_by_one(*first, page(5.5, 5, -1_000_000)))
    assert requests[3] == PageRequest(T0 - 1 - 31 * 86_400, T0 + 10, DESC, 12)
    assert paginator.ended_by is StopReason.OTHER_SIDE
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    delivered, _ = play(paginator, one_by_one(*first, page(5.5, 5)))
    assert (len(delivered), paginator.ended_by) == (2, StopReason.FEW_ROWS)


def test_many_rows_of_one_second_that_only_an_ignored_filter_could_prove_are_an_error() -> None:
    """Ten rows or more, alike from both sides, raise an error, because a cut page looks the same."""
    ties = Page(rows(5, 12))
    with pytest.raises(SourceProtocolError, match="the end lies within one crowded second"):
        play(Paginator(ReadRequest(V2, window(0, 9))), lambda _request: ties)


def test_probe_in_exactly_the_opposite_order_is_proof() -> None:
    """A server that mirrors the order of one second cannot hide a row behind the last one, however many there are."""
    ties = rows(5, 250)
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    delivered, requests = play(paginator, one_by_one(Page(ties), Page(ties[::-1])))
    assert (delivered, len(requests), paginator.ended_by) == (ties, 2, StopReason.OTHER_SIDE)


@pytest.mark.parametrize("row_count", [101, 137, 300])
def test_crowded_second_of_version_two_without_proof_is_an_error(row_count: int) -> None:
    """More rows in one second than can be excluded, in an order that is not mirrored, are an error."""
    ties = Page(rows(5, row_count))
    with pytest.raises(
        SourceProtocolError, match="the end lies within one crowded second, and the API returned no cursor"
    ):
        play(Paginator(ReadRequest(V2, window(0, 9))), one_by_one(ties, ties))


@pytest.mark.parametrize("row_count", [37, 100])
def test_400_after_rows_of_a_likely_maximum_is_no_end(row_count: int) -> None:
    """A version 1 probe with the same rows in the same order does not prove that they are all."""
    ties = Page(rows(5, row_count))
    with pytest.raises(SourceProtocolError, match="does not list alike both ways"):
        play(Paginator(ReadRequest(V1, window(0, 9))), one_by_one(ties, ties, refusal(), refusal(), ties))


def test_empty_page_where_a_record_is_known_is_requested_again() -> None:
    """An empty page is not the end if a record is known; reading continues when the probe shows rows."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), known_second=T0))
    responses = one_by_one(page(), page(5, 0.5), page(0.5, 5), page(5, 0.5))
    delivered, requests = play(paginator, responses)
    assert delivered == [row(0.5), row(5)]
    assert requests[1] == PageRequest(T0 - 2 * 86_400 - 1, T0 + 10, DESC, 10)
    assert requests[2] == requests[0]


@pytest.mark.parametrize(
    ("direction", "known", "requested"),
    [(Direction.ASC, -500, (T0 - 501, T0 + 10)), (DESC, 500, (T0 - 1, T0 + 502))],
)
def test_known_record_before_the_window_proves_an_empty_window(
    direction: Direction, known: int, requested: tuple[int, int]
) -> None:
    """The probe extends to the known record, and the window is empty if it shows nothing else."""
    paginator = Paginator(ReadRequest(V2, window(0, 9), direction, known_second=T0 + known))
    delivered, requests = play(paginator, one_by_one(page(states_end=True), page(known)))
    assert (delivered, paginator.ended_by) == ([], StopReason.OTHER_SIDE)
    assert (requests[1].since_seconds, requests[1].before_seconds) == requested


def test_known_record_that_is_never_returned_is_an_error() -> None:
    """Responses that stay empty although a record is known are an error."""
    with pytest.raises(SourceProtocolError, match="empty when it is read from the other side"):
        play(Paginator(ReadRequest(V1, window(0, 9), known_second=T0)), lambda _request: page())


def test_a_row_past_the_end_proves_the_end() -> None:
    """With a horizon, the first row past the window ends the paginator without another request."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), page_size=4, horizon=window(0, 100)))
    delivered, requests = play(paginator, one_by_one(page(1, 2, 8.9, 9)))
    assert delivered == [row(1), row(2), row(8.9)]
    assert (len(requests), paginator.ended_by, paginator.outside_count) == (1, StopReason.PAST_WINDOW, 1)


def test_row_before_the_start_proves_the_end_in_descending_order() -> None:
    """The same applies in descending order, where the window's first instant is still inside."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), DESC, 4, window(-100, 9)))
    delivered, _ = play(paginator, one_by_one(page(8, 0.5, 0, -0.25)))
    assert delivered == [row(8), row(0.5), row(0)]
    assert paginator.ended_by is StopReason.PAST_WINDOW


@pytest.mark.parametrize(("direction", "last"), [(Direction.ASC, 9.4), (DESC, 0.6)])
def test_a_row_in_the_second_of_the_bound_proves_nothing(direction: Direction, last: float) -> None:
    """A bound within a second is crossed only when that second is complete."""
    paginator = Paginator(ReadRequest(V1, window(0.7, 9.3), direction, 2, window(-50, 50)))
    paginator.receive(page(5, last))
    assert paginator.ended_by is None
    assert paginator.next_request() is not None


def test_a_paginator_that_is_done_accepts_nothing() -> None:
    """A page after the end is an error of the caller."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    play(paginator, lambda _request: page())
    with pytest.raises(RuntimeError, match="is done"):
        paginator.receive(page())
