"""Overlapping pages: every next page starts before the end of what was read, and goes past it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.paging.offset_pager import overlapping_page
from tests.hypothesis_profiles import examples


@examples(300)
@given(read_count=st.integers(1, 20_000), row_limit=st.integers(1, 1000))
def test_the_next_page_overlaps_and_advances(read_count: int, row_limit: int) -> None:
    """The page shares a row with those read and reaches past it, or is the exact next row."""
    page, row_count = overlapping_page(read_count, row_limit)
    offset, end = (page - 1) * row_count, page * row_count
    assert row_limit // 2 < row_count <= row_limit or (row_count, offset) == (1, read_count)
    assert end > read_count
    assert offset < read_count or (row_count == 1 and offset == read_count)


@examples(200)
@given(read_count=st.integers(1, 20_000), row_limit=st.integers(1, 200))
def test_no_larger_step_is_left_out(read_count: int, row_limit: int) -> None:
    """No page size between half the limit and the limit reaches further while it overlaps."""
    page, row_count = overlapping_page(read_count, row_limit)
    for size in range(row_limit // 2 + 1, row_limit + 1):
        assert ((read_count - 1) // size + 1) * size <= page * row_count


@pytest.mark.parametrize(
    ("read_count", "row_limit", "page", "row_count"),
    [(1, 1, 2, 1), (1, 2, 1, 2), (2, 2, 3, 1), (1000, 1000, 2, 999), (1998, 1000, 3, 998), (3, 1000, 1, 1000)],
)
def test_known_steps(read_count: int, row_limit: int, page: int, row_count: int) -> None:
    """A few steps written out."""
    assert overlapping_page(read_count, row_limit) == (page, row_count)


@pytest.mark.parametrize("row_limit", [3, 10, 1000])
def test_stepping_through_a_long_instant_stays_cheap(row_limit: int) -> None:
    """Reading forty pages' worth takes at most three times as many requests as without overlap."""
    read_count, steps = row_limit, 1
    while read_count < 40 * row_limit:
        page, row_count = overlapping_page(read_count, row_limit)
        read_count, steps = page * row_count, steps + 1
    assert steps <= 120
