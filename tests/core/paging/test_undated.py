"""Undated records are placed by their dated neighbours, the same on every page and for every division of a window."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.odd_heads import OddKind
from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import AuditRecord, OddRecord, follow_previous
from airflow_audit_provider.core.paging.seen_records import is_sorted
from airflow_audit_provider.core.paging.undated import UndatedOnce, UndatedRecords
from airflow_audit_provider.core.windows.window import SECOND_NS
from tests.core.paging.paginator_runs import T0, row, window

UNDATED = OddRecord(0, "u", b"{}", OddKind.TIME)
OTHER = OddRecord(0, "v", b"null", OddKind.NOT_AN_OBJECT)


def _request(direction: Direction = Direction.ASC, page: int = 1) -> PageRequest:
    return PageRequest(T0 - 1, T0 + 101, direction, 1000, page)


def _second(record: AuditRecord) -> int:
    return record.event_second - T0


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    ("page", "placed_seconds", "final_second"),
    [
        ([row(10), UNDATED, row(20)], [10, 10, 20], 10),
        ([row(10), UNDATED], [10, 10], 10),
        ([UNDATED, row(20)], [20, 20], 0),
        ([UNDATED], None, 0),
    ],
)
def test_undated_record_takes_the_time_of_the_record_before_it(
    direction: Direction, page: list[AuditRecord], placed_seconds: list[int] | None, final_second: int
) -> None:
    """On its page it takes a neighbour's time, in the window that of the record before it, else the start."""
    undated = UndatedRecords((T0 - 1, T0 + 101))
    is_ascending = direction is Direction.ASC
    placed = undated.placed(page if is_ascending else page[::-1], _request(direction))
    assert is_sorted(placed, direction.sign)
    expected = placed_seconds or ([0] if is_ascending else [100])
    assert [_second(record) for record in placed] == (expected if is_ascending else expected[::-1])
    (final,) = undated.inside(window(0, 100))
    assert (final.id, _second(final)) == ("u", final_second)


@pytest.mark.parametrize(
    ("page", "is_inside"),
    [
        ([row(10), UNDATED, row(20)], True),
        ([row(-0.5), UNDATED, row(20)], True),
        ([row(-0.9), UNDATED, row(-0.5)], False),
        ([row(99), UNDATED, row(100.5)], True),
        ([row(100), UNDATED], False),
    ],
)
def test_undated_record_is_inside_if_its_place_may_be(page: list[AuditRecord], is_inside: bool) -> None:
    """A record between two neighbours outside of the window on one side is outside, any other is inside."""
    undated = UndatedRecords((T0 - 1, T0 + 101))
    undated.placed(page, _request())
    assert bool(undated.inside(window(0, 100))) is is_inside


def test_next_row_of_a_query_follows_the_page_before() -> None:
    """Alone on its page, a record takes the time of the last row before it in that direction."""
    undated = UndatedRecords((T0 - 1, T0 + 101))
    undated.placed([row(10), row(11)], _request())
    undated.placed([row(90), row(80)], _request(Direction.DESC))
    next_row = PageRequest(T0 - 1, T0 + 101, Direction.ASC, 1, 3)
    assert [_second(record) for record in undated.placed([UNDATED], next_row)] == [11]
    assert [_second(record) for record in undated.inside(window(0, 100))] == [11]


def test_page_that_overlaps_the_pages_before_starts_anew() -> None:
    """A record at the head of such a page is placed by what follows it, or by what an earlier page showed."""
    undated = UndatedRecords((T0 - 1, T0 + 101))
    undated.placed([row(10), OTHER, row(20), row(30)], _request())
    placed = undated.placed([OTHER, row(20), row(30), row(40)], _request(page=2))
    assert [_second(record) for record in placed] == [10, 20, 30, 40]
    placed = undated.placed([UNDATED, row(20), row(30)], _request(page=2))
    assert [_second(record) for record in placed] == [20, 20, 30]


@pytest.mark.parametrize(
    ("direction", "since", "before", "page", "placed_seconds"),
    [
        (Direction.DESC, -99, 101, [row(10), UNDATED], [10, -99]),
        (Direction.DESC, -99, 101, [row(10), UNDATED, row(-20)], [10, -20, -20]),
        (Direction.DESC, -99, 101, [UNDATED], [-99]),
        (Direction.ASC, -1, 201, [row(90), UNDATED], [90, 201]),
        (Direction.ASC, -1, 201, [row(90), UNDATED, row(120)], [90, 120, 120]),
    ],
)
def test_record_shown_only_by_a_proof_past_the_range_lies_past_it(
    direction: Direction, since: int, before: int, page: list[AuditRecord], placed_seconds: list[int]
) -> None:
    """Pages of the range itself would show it otherwise, so it is as far away as its neighbours let it be."""
    undated = UndatedRecords((T0 - 1, T0 + 101))
    placed = undated.placed(page, PageRequest(T0 + since, T0 + before, direction, 1000, 1))
    assert [_second(record) for record in placed] == placed_seconds
    assert undated.inside(window(0, 100)) == []


def test_record_shown_by_a_proof_between_rows_of_the_range_is_inside() -> None:
    """Its neighbours say where it is, so it counts even if no other page has shown it."""
    undated = UndatedRecords((T0 - 1, T0 + 101))
    undated.placed([row(10), UNDATED, row(5), row(-20)], PageRequest(T0 - 99, T0 + 101, Direction.DESC, 1000, 1))
    assert [_second(record) for record in undated.inside(window(0, 100))] == [5]


def test_record_between_two_distant_rows_stays_inside_the_bounds_of_a_query() -> None:
    """A later query starts after the row before it, so it is placed at the start of that query."""
    undated = UndatedRecords((T0 - 1, T0 + 101))
    undated.placed([row(10), UNDATED, row(50.2)], _request())
    placed = undated.placed([UNDATED, row(50.2)], PageRequest(T0 + 49, T0 + 101, Direction.ASC, 1000, 1))
    assert [_second(record) for record in placed] == [49, 50]
    assert [_second(record) for record in undated.inside(window(0, 100))] == [10]


def test_undated_records_in_a_row_stay_in_order() -> None:
    """One that is known and one that only a proof shows, of which nothing is known, are placed in the page's order."""
    undated = UndatedRecords((T0 - 1, T0 + 101))
    undated.placed([row(10), UNDATED], _request())
    page = [row(50), OTHER, UNDATED]
    placed = undated.placed(page, PageRequest(T0 - 99, T0 + 101, Direction.DESC, 1000, 1))
    assert [_second(record) for record in placed] == [50, 10, 10]


def test_every_page_narrows_the_place() -> None:
    """A page that shows a nearer neighbour corrects one that showed none."""
    undated = UndatedRecords((T0 - 1, T0 + 101))
    undated.placed([UNDATED, row(20)], _request())
    undated.placed([row(10), UNDATED, row(20)], _request())
    undated.placed([row(5), UNDATED], _request())
    assert [_second(record) for record in undated.inside(window(0, 100))] == [10]


def test_undated_record_is_delivered_once() -> None:
    """The first delivery counts; dated records pass."""
    once = UndatedOnce(["v"])
    assert once.first_of([row(1), UNDATED, OTHER]) == [row(1), UNDATED]
    assert once.first_of([row(1), UNDATED, OTHER]) == [row(1)]


def test_records_of_a_part_follow_the_previous_one() -> None:
    """Undated records have the time of the row before them, the first ones a given time or that of the first dated."""
    records = [UNDATED, row(10), OTHER]
    assert [_second(record) for record in follow_previous(records, (T0 + 5) * SECOND_NS)] == [5, 10, 10]
    assert [_second(record) for record in follow_previous(records, None)] == [10, 10, 10]
    assert follow_previous([row(1)], None) == [row(1)]
