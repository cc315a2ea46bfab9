"""Two readings agree only when they brought the same ids equally often."""

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
def test_the_order_of_a_reading_does_not_matter(ids: list[str], shuffler: object) -> None:
    """The same ids in any order agree."""
    second = list(ids)
    shuffler.shuffle(second)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    _compared(ids, second).check_agreement("[a, b)")


@given(st.lists(st.text(max_size=8), min_size=1), st.data())
def test_a_missing_a_further_and_a_doubled_id_disagree(ids: list[str], drawn: st.DataObject) -> None:
    """One id less, one more or one twice is a difference."""
    chosen = drawn.draw(st.sampled_from(ids))
    fewer = list(ids)
    fewer.remove(chosen)
    for second in (fewer, [*ids, "another, longer id"], [*ids, chosen]):
        with pytest.raises(VerificationError, match="disagree"):
            _compared(ids, second).check_agreement("[a, b)")


def test_the_difference_is_told_in_the_error() -> None:
    """The error counts both sides and names what came only the second time."""
    recount = _compared(["a", "b", "c"], ["c", "x", "b"])
    with pytest.raises(VerificationError, match=r"3 records, then 3\. 1 came only the second time, such as x; 1 only"):
        recount.check_agreement("[a, b)")


def test_a_second_reading_comes_in_pieces() -> None:
    """Where it is cut makes no difference."""
    recount = _compared(["a", "b", "c"], ["c"])
    recount.add_second(["b", "a"])
    recount.check_agreement("[a, b)")
