"""A second look at the edges of a window adds what reading lacked, and refuses what may not be all of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.query import Direction
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, at_time, in_order, read_records
from airflow_audit_provider.core.paging.edge_check import LOOKS, EdgeCheck
from airflow_audit_provider.exceptions import SourceUnavailableError
from tests.core.paging.paginator_runs import row, window
from tests.hypothesis_profiles import examples

ASC, DESC = Direction.ASC, Direction.DESC
Page = tuple[Direction, list[AuditRecord]]


def seconds(*offsets: float) -> list[AuditRecord]:
    """Returns a record at each offset."""
    return [row(offset) for offset in offsets]


def looked(read: list[AuditRecord], *pages: Page, page_size: int = 1000, group: int = 2) -> list[AuditRecord]:
    """Returns what is released of records that were read, in small groups, after these pages of a second look."""
    check = EdgeCheck(window(0, 100), page_size)
    released: list[AuditRecord] = []
    for start in range(0, len(read), group):
        for records in check.hold(read[start : start + group]):
            released += records
    for direction, records in pages:
        check.receive(direction, records)
    return released + [record for records in check.release() for record in records]


def test_look_that_shows_nothing_new_changes_nothing() -> None:
    """The records and their groups stay as they are."""
    check = EdgeCheck(window(0, 100), page_size=2)
    groups = [seconds(1, 2), seconds(3), seconds(4, 5, 6)]
    released = [records for read in groups for records in check.hold(read)]
    check.receive(DESC, seconds(6, 5))
    check.receive(ASC, seconds(1, 2))
    assert [*released, *check.release()] == groups
    assert released == groups[:2]


def test_only_the_newest_records_are_held() -> None:
    """At most a page and one group are in memory."""
    check = EdgeCheck(window(0, 100_000), page_size=100)
    released = [
        len(records) for start in range(0, 5000, 10) for records in check.hold(seconds(*range(start, start + 10)))
    ]
    assert sum(released) == 4900


def test_hidden_newest_records_are_inserted_in_order() -> None:
    """Records that a lagging replica hid are added where they belong."""
    read = seconds(*range(0, 40, 2))
    shown = seconds(*range(39, 29, -1))
    assert looked(read, (DESC, shown), page_size=10) == in_order([*read, *seconds(31, 33, 35, 37, 39)])


def test_page_of_unknown_records_only_is_refused() -> None:
    """More than a page may be missing, so nothing is added."""
    with pytest.raises(SourceUnavailableError, match=r"showed 3 records .* such as at-9, at-8, at-7\. More may be"):
        looked(seconds(1, 2), (DESC, seconds(9, 8, 7)), (ASC, seconds(1, 2)))


def test_window_that_was_hidden_whole_is_added_if_both_pages_meet() -> None:
    """Both pages together show the whole window."""
    assert looked([], (DESC, []), (DESC, seconds(3, 2)), (ASC, seconds(1, 2))) == seconds(1, 2, 3)


@pytest.mark.parametrize("pages", [[(DESC, seconds(9, 8)), (ASC, seconds(1, 2))], [(DESC, []), (ASC, seconds(1, 2))]])
def test_window_that_was_hidden_whole_is_refused_if_the_pages_do_not_meet(pages: list[Page]) -> None:
    """Records between the pages, or after the first one, may be missing."""
    with pytest.raises(SourceUnavailableError, match="requested again"):
        looked([], *pages)


def test_records_past_the_last_one_that_only_a_first_page_shows_are_refused() -> None:
    """A first page says nothing about what follows it."""
    with pytest.raises(SourceUnavailableError, match="showed 1 record "):
        looked(seconds(1, 2), (DESC, seconds(2, 1)), (ASC, seconds(1, 2, 3)))


def test_each_last_page_has_to_meet_the_records_that_were_read() -> None:
    """A page of the lagging replica does not connect the page of another one."""
    with pytest.raises(SourceUnavailableError, match="showed 2 records"):
        looked(seconds(1, 2), (DESC, seconds(2, 1)), (DESC, seconds(9, 8)))


@pytest.mark.parametrize(
    ("read", "page"),
    [
        (seconds(1, 2, 9), (DESC, seconds(9, 8, 7))),
        (seconds(1, 2, 9), (DESC, seconds(10, 9, 8))),
        (seconds(1, 8, 9), (ASC, seconds(1, 2, 3))),
        (seconds(1, 8, 9), (ASC, seconds(0, 1, 2))),
    ],
)
def test_gap_that_may_go_on_further_inside_is_refused(read: list[AuditRecord], page: Page) -> None:
    """A page whose innermost rows are missing does not show how many more are."""
    with pytest.raises(SourceUnavailableError, match="showed 2 records"):
        looked(read, page)


def test_missing_record_of_a_first_page_is_inserted_while_it_is_held() -> None:
    """A short window is held whole."""
    assert looked(seconds(1, 3), (ASC, seconds(1, 2, 3))) == seconds(1, 2, 3)


def test_missing_record_of_a_first_page_is_refused_once_later_ones_are_staged() -> None:
    """A staged part is not written again."""
    read = seconds(*range(0, 40, 2))
    with pytest.raises(SourceUnavailableError, match="at-1"):
        looked(read, (DESC, seconds(38, 36)), (ASC, seconds(0, 1, 2)), page_size=4)


def test_rows_that_are_neither_kept_nor_known_any_more_are_not_judged() -> None:
    """A page that reaches into the middle of the window proves nothing about it."""
    read = seconds(*range(40))
    assert looked(read, (ASC, seconds(*range(20))), (DESC, seconds(*range(39, 20, -1))), page_size=4) == read


def test_rows_outside_of_the_window_and_undated_ones_are_left_out() -> None:
    """Neither is added; the statistics count all rows."""
    undated = at_time(read_records(ApiVersion.V1, [msgspec.Raw(b'{"id":"x","when":null}')])[0], row(5).event_ns)
    check = EdgeCheck(window(0, 100))
    list(check.hold(seconds(1, 2)))
    check.receive(DESC, [row(100), row(3), undated, row(2), row(1), row(-1)])
    assert check.release() == [seconds(1, 2, 3)]
    assert (check.stats.seen_count, check.stats.outside_count, check.stats.repeated_count) == (6, 3, 2)


def test_known_second_is_that_of_the_newest_record() -> None:
    """It is None before any record."""
    check = EdgeCheck(window(0, 100))
    assert check.known_second is None
    list(check.hold(seconds(1, 2)))
    assert check.known_second == row(2).event_second


@pytest.mark.integration
@examples(300)
@given(
    times=st.lists(st.integers(0, 99), max_size=60, unique=True),
    hidden=st.lists(st.integers(0, 59), max_size=20),
    lags=st.tuples(*[st.integers(0, 8)] * len(LOOKS)),
    page_size=st.integers(1, 30),
    group=st.integers(1, 10),
)
def test_what_was_read_stays_and_what_was_shown_at_the_end_lands_or_fails(
    times: list[int], hidden: list[int], lags: tuple[int, ...], page_size: int, group: int
) -> None:
    """Sorted, each record once, no record lost; the newest records land if any last page shows them."""
    log = seconds(*sorted(times))
    read = [record for number, record in enumerate(log) if number not in hidden]
    pages: list[Page] = []
    for direction, lag in zip(LOOKS, lags, strict=True):
        visible = log[: max(0, len(log) - lag)]
        pages.append((direction, (visible if direction is ASC else visible[::-1])[:page_size]))
    try:
        found = looked(read, *pages, page_size=page_size, group=group)
    except SourceUnavailableError:
        assert any(record not in read for _, page in pages for record in page)
        return
    assert found == sorted(set(found))
    assert set(read) <= set(found) <= set(log)
    newest = {record for direction, page in pages if direction is DESC for record in page}
    if not hidden or min(hidden) >= len(log) - page_size:
        assert {record for record in newest if not read or record > read[-1]} <= set(found)
