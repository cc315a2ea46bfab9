"""Two reads of a window agree only if both returned the same ids equally often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.archive.recount import Recount
from airflow_audit_provider.exceptions import VerificationError


def _compared(first: list[str], second: list[str]) -> Recount:
    recount = Recount()
    recount.add_first(first)
    recount.add_second(second)
    return recount


@given(st.lists(st.text(max_size=8)), st.randoms())
def test_order_of_ids_does_not_matter(ids: list[str], shuffler: object) -> None:
    """The same ids agree in any order."""
    second = list(ids)
    shuffler.shuffle(second)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    _compared(ids, second).check_agreement("[a, b)")


@given(st.lists(st.text(max_size=8), min_size=1), st.data())
def test_missing_additional_or_repeated_id_is_an_error(ids: list[str], drawn: st.DataObject) -> None:
    """One id less, one more or one twice is an error."""
    drawn_id = drawn.draw(st.sampled_from(ids))
    fewer = list(ids)
    fewer.remove(drawn_id)
    for second in (fewer, [*ids, "another, longer id"], [*ids, drawn_id]):
        with pytest.raises(VerificationError, match="disagree"):
            _compared(ids, second).check_agreement("[a, b)")


def test_error_counts_the_difference() -> None:
    """The error counts both reads and names ids that only the second read returned."""
    recount = _compared(["a", "b", "c"], ["c", "x", "b"])
    with pytest.raises(VerificationError, match=r"3 records, then 3\. 1 came only the second time, such as x; 1 only"):
        recount.check_agreement("[a, b)")


def test_second_read_may_come_in_pieces() -> None:
    """The second read may be added in several pieces."""
    recount = _compared(["a", "b", "c"], ["c"])
    recount.add_second(["b", "a"])
    recount.check_agreement("[a, b)")
