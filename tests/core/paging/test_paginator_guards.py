"""Tests of what a paginator rejects, so that no record is lost silently and no loop is endless."""

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
LOST = "records could be lost here: "


@pytest.mark.parametrize(("direction", "seconds"), [(Direction.ASC, (1, 3, 2)), (Direction.DESC, (3, 1, 2))])
def test_page_out_of_order_is_an_error(direction: Direction, seconds: tuple[int, ...]) -> None:
    """A page out of order by more than a second is an error with its position."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), direction))
    with pytest.raises(SourceProtocolError, match="not sorted") as caught:
        paginator.receive(page(*seconds))
    assert f"{direction} by time in" in str(caught.value.position)


def test_any_order_within_a_second_is_accepted() -> None:
    """Within a second any order is accepted."""
    assert len(Paginator(ReadRequest(V1, window(0, 9))).receive(page(1.9, 1.1, 2.5, 2.4))) == 4


def test_probe_out_of_order_is_an_error() -> None:
    """The probe must be sorted in the opposite direction, unless a row behind the window proves the end instead."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    paginator.receive(page(1, 2))
    paginator.receive(page(1, 2))
    with pytest.raises(SourceProtocolError, match=r"ignores the parameter direction: .* not sorted desc"):
        paginator.receive(page(1, 2))


def test_full_page_moves_the_bound_to_the_second_before_its_last() -> None:
    """Time advances with a margin, and rows that are returned again are dropped by id."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), page_size=3))
    delivered, requests = play(paginator, one_by_one(page(1, 2, 4.7), page(4.7, 6), page(6, 4.7)))
    assert [request.since_seconds - T0 for request in requests[:2]] == [-1, 3]
    assert delivered == [row(1), row(2), row(4.7), row(6)]
    assert (paginator.seen.seen_count, paginator.seen.repeated_count) == (5, 1)


def test_descending_bound_stays_a_second_above_the_last_row() -> None:
    """The reached second ends one later, and the API may compare the bound with rounded seconds."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), Direction.DESC, 3))
    paginator.receive(page(8, 7, 4.2))
    request = paginator.next_request()
    assert request is not None
    assert (request.since_seconds - T0, request.before_seconds - T0) == (-1, 6)


def test_an_instant_that_fills_a_page_is_read_by_overlapping_pages() -> None:
    """If time cannot advance, the next page shares a row with the one before."""
    ties = rows(5, 12)
    paginator = Paginator(ReadRequest(V1, window(0, 9), page_size=5))
    pages = {(1, 5): Page(ties[:5]), (2, 4): Page(ties[4:8]), (2, 5): Page(ties[5:10])}
    paginator.receive(pages[1, 5])
    paginator.receive(pages[1, 5])
    assert paginator.next_request() == PageRequest(T0 + 4, T0 + 8, Direction.ASC, 4, 2)
    paginator.receive(pages[2, 4])
    assert paginator.next_request() == PageRequest(T0 + 4, T0 + 8, Direction.ASC, 5, 2)


def test_list_that_moves_is_read_again_and_then_an_error() -> None:
    """A page that shares no row with those before starts the instant again, three times at most."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), page_size=5))
    first, stranger = rows(5, 5), iter(range(100))

    def respond(request: PageRequest) -> Page:
        return Page(first) if request.page == 1 else Page(rows(5, 4, f"moved-{next(stranger)}"))

    with pytest.raises(SourceProtocolError, match=LOST + "the list of one second keeps changing") as caught:
        play(paginator, respond)
    assert "asc by page number in" in str(caught.value.position)
    assert next(stranger) == 4


def test_a_400_inside_one_instant_is_never_the_end() -> None:
    """A depth cap within one instant is an error that names the page."""
    paginator = Paginator(ReadRequest(V1, window(0, 9), page_size=5))
    full = Page(rows(5, 5))
    with pytest.raises(SourceProtocolError, match=LOST + "the API returned status 400 for page 2 of one second"):
        play(paginator, one_by_one(full, full, refusal(), refusal(), refusal()))


def test_400_after_a_proved_end_is_the_end() -> None:
    """If the probe agreed, a status 400 past the last row is accepted as the end."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    delivered, requests = play(paginator, one_by_one(page(5, 5.5), page(5.5, 5), refusal()))
    assert (len(delivered), len(requests), paginator.ended_by) == (2, 3, StopReason.REFUSED)


def test_400_after_a_full_probe_is_no_end() -> None:
    """A full probe proves nothing within one second that the API lists in the same order both ways."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    ties = rows(5, 995)
    with pytest.raises(SourceProtocolError, match="does not list alike both ways"):
        play(paginator, one_by_one(Page(ties), Page(ties + rows(5, 5)[:5]), refusal(), refusal(), Page(ties)))


@pytest.mark.parametrize("version", [V1, V2])
def test_a_400_to_the_first_page_is_raised_as_it_is(version: ApiVersion) -> None:
    """A status 400 that nothing else can avoid is raised."""
    error = refusal("bad filter")
    with pytest.raises(SourceProtocolError) as caught:
        Paginator(ReadRequest(version, window(0, 9))).receive_refusal(error)
    assert caught.value is error


def test_a_cursor_is_followed_also_from_an_empty_page() -> None:
    """An empty page with a cursor is not the end."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    server = one_by_one(
        page(cursor="a"), page(0.1, cursor="b"), page(cursor="c"), page(0.2, states_end=True), page(0.2, 0.1), page()
    )
    delivered, requests = play(paginator, server)
    assert delivered == [row(0.1), row(0.2)]
    assert [request.cursor for request in requests] == [None, "a", "b", "c", None, None]


def test_more_than_a_hundred_pages_without_new_rows_are_an_error() -> None:
    """A hundred pages in a row without a new row are followed, one more is an error."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    numbers = iter(range(1000))
    with pytest.raises(SourceProtocolError, match=LOST + "100 pages in a row had no new record"):
        play(paginator, lambda _request: page(cursor=f"c{next(numbers)}"))
    assert next(numbers) == 101


def test_new_row_resets_the_count_of_pages_without_new_rows() -> None:
    """Fewer than a hundred pages without a new row in a row are accepted, however many in all."""
    paginator = Paginator(ReadRequest(V2, window(0, 900)))
    numbers = iter(range(1000))

    def respond(request: PageRequest) -> Page:
        number = next(numbers)
        if number >= 450:
            return page(450) if request.direction is Direction.ASC else page(450, 360)
        if request.direction is not Direction.ASC:
            return page(0)
        return page(*([number] if number % 90 == 0 else []), cursor=f"c{number}")

    delivered, _ = play(paginator, respond)
    assert len(delivered) == 6


def test_repeated_cursor_is_replaced_by_time() -> None:
    """A cursor that is returned twice is not followed again; reading continues from the time reached."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    server = one_by_one(page(1, 2, cursor="a"), page(3, 4, cursor="a"), page(4, 5, 6, states_end=True))
    delivered, requests = play(paginator, server)
    assert [record.id for record in delivered] == [f"at-{n}" for n in range(1, 7)]
    assert requests[-1] == PageRequest(T0 + 3, T0 + 10, Direction.ASC, 1000)


def test_cursor_is_replaced_once_time_has_advanced() -> None:
    """Reading by time replaces a cursor, so that an expired one costs no record."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    delivered, requests = play(paginator, one_by_one(page(1, 2, cursor="a"), page(2, 3, 4, states_end=True)))
    assert [record.id for record in delivered] == ["at-1", "at-2", "at-3", "at-4"]
    assert [(request.cursor, request.since_seconds - T0) for request in requests] == [(None, -1), (None, 1)]


@pytest.mark.parametrize(
    ("responses", "problem"),
    [
        ([page(0.1, cursor="a"), page(0.2, cursor="a"), page(0.1, cursor="a")], "a cursor that was used before"),
        ([page(-0.5, cursor="a"), refusal("gone")], r"own cursor \(gone\)"),
        ([page(cursor="a"), page(cursor="a")], "a cursor that was used before"),
        ([page(cursor="a"), refusal()], "refused its own cursor"),
    ],
)
def test_broken_cursor_is_an_error_if_time_cannot_advance(
    responses: list[Page | SourceProtocolError], problem: str
) -> None:
    """If neither cursor nor time can advance, the paginator raises instead of ending."""
    with pytest.raises(SourceProtocolError, match=f"{LOST}.*{problem}"):
        play(Paginator(ReadRequest(V2, window(0, 9))), one_by_one(*responses))


def test_cursor_lost_in_an_instant_that_fills_the_probe_is_an_error() -> None:
    """Version 2 without a cursor inside a dense instant is an error, never the end."""
    paginator = Paginator(ReadRequest(V2, window(0, 9)))
    ties = rows(5, 1000)
    with pytest.raises(SourceProtocolError, match="one crowded second, and the API returned no cursor"):
        play(paginator, one_by_one(Page(ties), Page(ties)))


def test_rows_of_one_second_hidden_by_version_two_are_an_error() -> None:
    """Rows that only the probe shows and that time cannot reach are an error."""
    paginator = Paginator(ReadRequest(V2, window(5, 9)))
    server = one_by_one(page(4.1, 4.2), page(4.4, 4.3, 4.2), page(4.1, 4.2), page(4.4, 4.3, 4.2))
    with pytest.raises(SourceProtocolError, match=LOST + "the API returns fewer rows than requested"):
        play(paginator, server)


@pytest.mark.parametrize(
    ("direction", "second", "bound"), [(Direction.ASC, -3, "since"), (Direction.DESC, 12, "before")]
)
def test_page_that_starts_outside_the_range_is_an_error(direction: Direction, second: int, bound: str) -> None:
    """A bound that the API ignores is named."""
    with pytest.raises(SourceProtocolError, match=f"ignores the parameter {bound}"):
        Paginator(ReadRequest(V1, window(0, 9), direction)).receive(page(second))


def test_no_request_is_larger_than_the_first_page() -> None:
    """A server that sends more rows than requested is never asked for as many."""
    ties = rows(5, 1500)
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    for _ in range(2):
        paginator.receive(Page(ties))
    request = paginator.next_request()
    assert request is not None
    assert (request.page > 1, request.page_size <= 1000) == (True, True)
