"""Records seen by a paginator, and the bounds of its next query."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.query import Direction
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.paging.query_bounds import QueryBounds
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.seen_records import SeenRecords, is_sorted
from airflow_audit_provider.core.windows.window import from_seconds
from tests.core.paging.paginator_runs import T0, row, rows, window

V1 = ApiVersion.V1
UP, DOWN = Direction.ASC, Direction.DESC


def test_an_id_counts_once() -> None:
    """The first of two rows with one id is kept, the other counted."""
    seen = SeenRecords(1)
    assert seen.add([row(1, "a"), row(1, "a"), row(3, "b")]) == [row(1, "a"), row(3, "b")]
    assert seen.add([row(3, "b")]) == []
    assert (seen.seen_count, seen.repeated_count) == (4, 2)
    assert row(9, "a") in seen
    assert row(9, "c") not in seen


@pytest.mark.parametrize(("sign", "furthest_second"), [(1, T0 + 7), (-1, -(T0 + 3))])
def test_the_reached_second_only_advances(sign: int, furthest_second: int) -> None:
    """The furthest last row of all pages applies; an empty page changes nothing."""
    seen = SeenRecords(sign)
    assert seen.count_at_furthest_second() == 0
    for second in (5, 7.5, 3.5, 6):
        seen.advance([row(second)])
        seen.advance([])
    assert seen.furthest_second == furthest_second


def test_rows_in_the_reached_second_are_counted() -> None:
    """Rows of the reached second are counted by their second, not by their instant."""
    seen, records = SeenRecords(-1), [row(6), *rows(5.9, 3), *rows(5, 4)]
    seen.add(records)
    seen.advance(records)
    assert seen.count_at_furthest_second() == 7


@pytest.mark.parametrize(
    ("seconds", "sign", "sorted_so"),
    [
        ((), 1, True), ((1,), -1, True), ((1, 1.5, 1.2, 2), 1, True), ((2, 1.2, 1.5, 1), -1, True),
        ((1, 2), -1, False), ((2, 1), 1, False), ((1, 3, 2), 1, False), ((1.9, 2.0, 1.9), 1, False),
    ],
)  # fmt: skip
def test_order_within_a_second_does_not_matter(seconds: tuple[float, ...], sign: int, sorted_so: bool) -> None:
    """Order is checked by the second, so any order within one is accepted."""
    assert is_sorted([row(second) for second in seconds], sign) is sorted_so


def test_bounds_lie_a_second_outside_and_follow_the_reached_second() -> None:
    """The start bound follows with its margin and never moves back; the end bound stays."""
    up = QueryBounds(ReadRequest(V1, window(0.5, 8.5), UP, horizon=window(-9, 19)))
    assert (up.since_seconds, up.before_seconds) == (T0 - 1, T0 + 20)
    assert [up.advance(T0 + furthest_second) for furthest_second in (0, 3, 3, 2)] == [False, True, False, False]
    assert (up.since_seconds, up.before_seconds) == (T0 + 2, T0 + 20)
    down = QueryBounds(ReadRequest(V1, window(0.5, 8.5), DOWN, horizon=window(-9, 19)))
    assert (down.since_seconds, down.before_seconds) == (T0 - 10, T0 + 10)
    assert [down.advance(-(T0 + furthest_second)) for furthest_second in (8, 3, 3, 5)] == [False, True, False, False]
    assert (down.since_seconds, down.before_seconds) == (T0 - 10, T0 + 5)


def test_a_second_is_complete_when_the_next_one_is_reached() -> None:
    """Ascending, the reached second is incomplete; descending, everything after it is complete."""
    up, down = (QueryBounds(ReadRequest(V1, window(0, 9), direction, horizon=window(0, 9))) for direction in (UP, DOWN))
    assert up.complete_up_to(T0 + 4) == from_seconds(T0 + 4)
    assert down.complete_up_to(-(T0 + 4)) == from_seconds(T0 + 5)


@pytest.mark.parametrize(
    ("direction", "second", "crossed"),
    [(UP, 8, False), (UP, 9, True), (UP, 10, True), (DOWN, 0, False), (DOWN, -1, True), (DOWN, -2, True)],
)
def test_a_window_is_past_when_its_last_second_is_complete(direction: Direction, second: int, crossed: bool) -> None:
    """The first second past the end bound proves that a window is past, the last one inside does not."""
    bounds = QueryBounds(ReadRequest(V1, window(0, 9), direction, horizon=window(-99, 99)))
    assert bounds.is_past(window(0, 9), direction.sign * (T0 + second)) is crossed
