"""Two reads of a window agree only if both returned the same ids equally often."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.archive.recount import Agreement, Recount


def _compared(first: list[str], *later: list[str], shown_before: Iterable[int] = ()) -> tuple[Recount, Agreement]:
    """Returns the recount of these reads, and what the last of them means."""
    recount = Recount(shown_before)
    recount.add_first(first)
    agreement = Agreement.LACKS
    for ids in later:
        recount.begin_second()
        recount.add_second(ids)
        agreement = recount.judge()
    return recount, agreement


@given(st.lists(st.text(max_size=8), unique=True), st.randoms())
def test_order_of_ids_does_not_matter(ids: list[str], shuffler: object) -> None:
    """The same ids agree in any order."""
    second = list(ids)
    shuffler.shuffle(second)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert _compared(ids, second)[1] is Agreement.AGREES


@given(st.lists(st.text(max_size=8), min_size=1, unique=True), st.data())
def test_missing_additional_or_repeated_id_does_not_agree(ids: list[str], drawn: st.DataObject) -> None:
    """One id less lacks records; one more or one twice differs."""
    drawn_id = drawn.draw(st.sampled_from(ids))
    fewer = list(ids)
    fewer.remove(drawn_id)
    assert _compared(ids, fewer)[1] is Agreement.LACKS
    for second in ([*ids, "another, longer id"], [*ids, drawn_id]):
        assert _compared(ids, second)[1] is Agreement.DIFFERS


@pytest.mark.parametrize(
    ("third", "expected"),
    [
        (["a", "b", "c"], Agreement.AGREES),
        (["a", "b"], Agreement.AGREES),
        (["a", "c"], Agreement.LACKS),
        (["a"], Agreement.LACKS),
        (["a", "b", "x"], Agreement.DIFFERS),
    ],
)
def test_third_read_settles_a_second_one_that_lacks_records(third: list[str], expected: Agreement) -> None:
    """It agrees if it has all records, or lacks the same ones; another one missing is no agreement."""
    assert _compared(["a", "b", "c"], ["a", "b"], third)[1] is expected


def test_reads_have_to_show_what_was_shown_before() -> None:
    """Two equal reads differ from an earlier one that had more, and the error counts it."""
    shown = _compared(["a", "b"], ["b", "c"])[0].shown
    assert _compared(["a", "b", "c"], ["c", "b", "a"], shown_before=shown)[1] is Agreement.AGREES
    recount, agreement = _compared(["a", "b"], ["a", "b"], shown_before=shown)
    assert agreement is Agreement.DIFFERS
    assert "0 only in the first; 1 record of an earlier read came in neither." in str(recount.disagreement("[a, b)"))


def test_error_counts_the_difference() -> None:
    """The error counts both reads and names ids that only the second read returned."""
    error = _compared(["a", "b", "c"], ["c", "x", "b"])[0].disagreement("[a, b)")
    assert "first returned 3 records, the last 3. 1 record came only in the last read, such as x, and 1" in str(error)


def test_second_read_may_come_in_pieces() -> None:
    """The second read may be added in several pieces."""
    recount, _ = _compared(["a", "b", "c"], ["c"])
    recount.add_second(["b", "a"])
    assert recount.judge() is Agreement.AGREES
