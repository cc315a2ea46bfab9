"""One crowded instant by page numbers: how it goes on, and when it believes that it has every row."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.offset_pager import OffsetPager
from tests.core.paging.paginator_runs import rows

TIES = rows(5, 40)


def pager_after(count: int, row_limit: int = 10) -> OffsetPager:
    """Return a depth whose first page brought so many of the ties."""
    return OffsetPager([record.id for record in TIES[:count]], row_limit, probe_agrees=False)


def test_the_next_page_shares_a_row_with_those_read() -> None:
    """The page asked for starts before the end of what is known and reaches past it."""
    pager = pager_after(10)
    assert pager.page_and_size() == (2, 9)
    pager.receive(TIES[9:18])
    assert pager.page_and_size() == (3, 8)


def test_the_end_is_an_empty_page_right_behind_the_known_rows() -> None:
    """When a page brings nothing new, exactly the next row is asked for, and nothing there, twice, is the end."""
    pager = pager_after(10)
    pager.receive(TIES[9:10])
    for _ in range(2):
        assert (pager.is_done, pager.page_and_size()) == (False, (11, 1))
        pager.receive([])
    assert (pager.is_done, pager.problem) == (True, None)


def test_one_empty_answer_is_no_end() -> None:
    """A row that shows at the second asking is taken, and the next end has to be told twice again."""
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


def test_the_other_sides_word_makes_one_empty_answer_the_end() -> None:
    """Where the other side showed nothing else either, the empty page is told by two."""
    pager = OffsetPager([record.id for record in TIES[:3]], 10, probe_agrees=True)
    pager.receive([])
    assert pager.is_done


def test_a_row_behind_the_seeming_end_goes_on() -> None:
    """A server that sends less than asked for is found out by the next row."""
    pager = pager_after(10)
    pager.receive(TIES[9:10])
    pager.receive(TIES[10:11])
    assert pager.page_and_size() == (2, 10)


@pytest.mark.parametrize("page", [[], TIES[20:29]], ids=["empty", "strangers"])
def test_a_page_without_a_shared_row_starts_again_from_the_first(page: list[AuditRecord]) -> None:
    """Where the list moved, nothing read before counts, and the fourth time is trouble."""
    pager = pager_after(10)
    for _ in range(3):
        pager.receive(page)
        assert (pager.is_done, pager.problem, pager.page_and_size()) == (False, None, (1, 10))
        pager.receive(TIES[:10])
        assert pager.page_and_size() == (2, 9)
    pager.receive(page)
    assert pager.problem == "the list of one second keeps changing while it is read"


def test_a_first_page_that_is_empty_now_ends_nothing() -> None:
    """Read again from its first page, an instant with known rows is never found empty, but in trouble."""
    pager = pager_after(10)
    for _ in range(4):
        assert pager.problem is None
        pager.receive([])
    assert not pager.is_done
    assert pager.problem == "the list of one second keeps changing while it is read"


def test_two_empty_answers_count_only_in_a_row() -> None:
    """A known row in the place of the next one shows that there are more rows than ids."""
    pager = pager_after(10)
    pager.receive(TIES[9:10])
    for _ in range(3):
        pager.receive([])
        pager.receive(TIES[:1])
    assert not pager.is_done


def test_a_400_to_an_overlapping_page_is_trouble() -> None:
    """The depth the API allows is not the end of the list."""
    pager = pager_after(10)
    pager.receive_refusal()
    assert not pager.is_done
    assert "page 2 of one second" in str(pager.problem)


def test_rows_that_never_settle_are_trouble() -> None:
    """Pages that go on bringing known rows behind the known ones end in an error, not in a loop."""
    pager = pager_after(10)
    for _ in range(30):
        pager.receive(TIES[:1])
    assert not pager.is_done
    assert pager.problem is not None
