"""Offset paging inside one crowded second: which page is next, and when every row is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.end_of_data import StopReason
from airflow_audit_provider.core.paging.offset_pager import OffsetPager, overlapping_page
from tests.core.paging.paginator_runs import rows
from tests.hypothesis_profiles import examples

TIES = rows(5, 40)


def pager_after(count: int, row_limit: int = 10) -> OffsetPager:
    """Returns a pager whose first page had this many of the tied rows."""
    return OffsetPager([record.id for record in TIES[:count]], row_limit, probe_agrees=False)


def test_the_next_page_shares_a_row_with_those_read() -> None:
    """The requested page starts before the end of the known rows and extends past it."""
    pager = pager_after(10)
    assert pager.page_and_size() == (2, 9)
    pager.receive(TIES[9:18])
    assert pager.page_and_size() == (3, 8)


def test_end_is_two_empty_pages_after_the_known_rows() -> None:
    """After a page without new rows exactly the next row is requested, and two empty pages there are the end."""
    pager = pager_after(10)
    pager.receive(TIES[9:10])
    for _ in range(2):
        assert (pager.is_done, pager.page_and_size()) == (False, (11, 1))
        pager.receive([])
    assert (pager.is_done, pager.problem) == (True, None)


def test_one_empty_page_is_not_the_end() -> None:
    """A row that appears in the second request is kept, and two empty pages are required again."""
    pager = pager_after(2, row_limit=2)
    pager.receive([])
    pager.receive(TIES[2:3])
    assert not pager.is_done
    while (requested := pager.page_and_size()) != (4, 1):
        pager.receive(TIES[(requested[0] - 1) * requested[1] : 3])
    pager.receive([])
    assert not pager.is_done
    pager.receive([])
    assert pager.is_done


def test_one_empty_page_is_the_end_if_the_probe_agrees() -> None:
    """One empty page is sufficient if the probe showed no other rows either."""
    pager = OffsetPager([record.id for record in TIES[:3]], 10, probe_agrees=True)
    pager.receive([])
    assert pager.is_done


def test_a_row_after_the_apparent_end_continues() -> None:
    """The next row reveals a server that returns fewer rows than requested."""
    pager = pager_after(10)
    pager.receive(TIES[9:10])
    pager.receive(TIES[10:11])
    assert pager.page_and_size() == (2, 10)


@pytest.mark.parametrize("page", [[], TIES[20:29]], ids=["empty", "strangers"])
def test_a_page_without_a_shared_row_starts_again_from_the_first(page: list[AuditRecord]) -> None:
    """If the list has moved, earlier rows do not count, and the fourth time is an error."""
    pager = pager_after(10)
    for _ in range(3):
        pager.receive(page)
        assert (pager.is_done, pager.problem, pager.page_and_size()) == (False, None, (1, 10))
        pager.receive(TIES[:10])
        assert pager.page_and_size() == (2, 9)
    pager.receive(page)
    assert pager.problem == "the list of one second keeps changing while it is read"


def test_empty_first_page_of_a_known_second_is_an_error() -> None:
    """A second with known rows whose first page is empty is an error, not the end."""
    pager = pager_after(10)
    for _ in range(4):
        assert pager.problem is None
        pager.receive([])
    assert not pager.is_done
    assert pager.problem == "the list of one second keeps changing while it is read"


def test_two_empty_pages_count_only_in_a_row() -> None:
    """A known row in the place of the next one shows that there are more rows than ids."""
    pager = pager_after(10)
    pager.receive(TIES[9:10])
    for _ in range(3):
        pager.receive([])
        pager.receive(TIES[:1])
    assert not pager.is_done


def test_400_for_an_overlapping_page_turns_to_the_other_end() -> None:
    """The list is read from its other end until it shows the last known rows in the opposite order."""
    pager = pager_after(20, row_limit=15)
    pager.receive_refusal()
    assert (pager.is_done, pager.is_opposite, pager.page_and_size()) == (False, True, (1, 15))
    pager.receive(TIES[:24:-1])
    assert (pager.is_done, pager.page_and_size()) == (False, (2, 14))
    pager.receive(TIES[26:11:-1])
    assert not pager.is_done
    pager.receive(TIES[14:4:-1])
    assert (pager.is_done, pager.problem, pager.stop_reason) == (True, None, StopReason.OTHER_SIDE)


@pytest.mark.parametrize(
    "page",
    [[], TIES[:15], [*TIES[19:9:-1], TIES[30]], [*TIES[19:15:-1], *TIES[14:5:-1]]],
    ids=["empty", "same order", "unknown row behind", "known row left out"],
)
def test_opposite_list_that_does_not_mirror_the_known_rows_is_an_error(page: list[AuditRecord]) -> None:
    """A list that differs from both ends may hide a row in both."""
    pager = pager_after(20, row_limit=15)
    pager.receive_refusal()
    pager.receive(page)
    assert not pager.is_done
    assert "status 400 behind a crowded second" in str(pager.problem)


def test_400_at_the_other_end_too_is_an_error() -> None:
    """Rows deeper than the API pages in either direction cannot be read."""
    pager = pager_after(20, row_limit=15)
    pager.receive_refusal()
    pager.receive(TIES[:24:-1])
    pager.receive_refusal()
    assert not pager.is_done
    assert "page 2 of one second" in str(pager.problem)


def test_endless_known_rows_are_an_error() -> None:
    """Pages that continue to return known rows after the known ones are an error, not an endless loop."""
    pager = pager_after(10)
    for _ in range(30):
        pager.receive(TIES[:1])
    assert not pager.is_done
    assert pager.problem is not None


@examples(300)
@given(read_count=st.integers(1, 20_000), row_limit=st.integers(1, 1000))
def test_the_next_page_overlaps_and_advances(read_count: int, row_limit: int) -> None:
    """The page shares a row with those read and extends past it, or is the exact next row."""
    page, row_count = overlapping_page(read_count, row_limit)
    offset, end = (page - 1) * row_count, page * row_count
    assert row_limit // 2 < row_count <= row_limit or (row_count, offset) == (1, read_count)
    assert end > read_count
    assert offset < read_count or (row_count == 1 and offset == read_count)


@examples(200)
@given(read_count=st.integers(1, 20_000), row_limit=st.integers(1, 200))
def test_no_larger_step_is_left_out(read_count: int, row_limit: int) -> None:
    """No page size between half the limit and the limit advances further while it overlaps."""
    page, row_count = overlapping_page(read_count, row_limit)
    for size in range(row_limit // 2 + 1, row_limit + 1):
        assert ((read_count - 1) // size + 1) * size <= page * row_count


@pytest.mark.parametrize(
    ("read_count", "row_limit", "page", "row_count"),
    [(1, 1, 2, 1), (1, 2, 1, 2), (2, 2, 3, 1), (1000, 1000, 2, 999), (1998, 1000, 3, 998), (3, 1000, 1, 1000)],
)
def test_known_steps(read_count: int, row_limit: int, page: int, row_count: int) -> None:
    """These steps are written out."""
    assert overlapping_page(read_count, row_limit) == (page, row_count)


@pytest.mark.parametrize("row_limit", [3, 10, 1000])
def test_stepping_through_a_long_instant_stays_cheap(row_limit: int) -> None:
    """Forty pages of rows take at most three times as many requests as without overlap."""
    read_count, steps = row_limit, 1
    while read_count < 40 * row_limit:
        page, row_count = overlapping_page(read_count, row_limit)
        read_count, steps = page * row_count, steps + 1
    assert steps <= 120


def test_known_rows_in_the_place_of_the_next_one_restart_the_list() -> None:
    """A late record that pushes the rows down leaves a known row after as many rows as there are ids."""
    pager = pager_after(10)
    pager.receive(TIES[9:10])
    for _ in range(3):
        assert pager.page_and_size() == (11, 1)
        pager.receive(TIES[9:10])
    assert (pager.problem, pager.page_and_size()) == (None, (1, 10))
