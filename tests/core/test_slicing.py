"""Slices: consecutive pieces that are together the window."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_audit_provider.core.slicing import Slicer
from airflow_audit_provider.core.window import TimeWindow
from tests.core.walking import window


def slices_of(slicer: Slicer, record_counts: list[int]) -> list[TimeWindow]:
    """Take slices until none is left, telling the slicer how many records each one held."""
    slices = []
    while (piece := slicer.hand_out()) is not None:
        slices.append(piece)
        slicer.learn(piece, record_counts[len(slices) % len(record_counts)])
        assert len(slices) < 10_000
    return slices


@settings(max_examples=60, deadline=None)
@given(
    length=st.floats(0.001, 3_000),
    scouted=st.floats(0.1, 0.9),
    record_counts=st.lists(st.integers(0, 500_000), min_size=1, max_size=5),
)
def test_slices_are_consecutive_and_are_the_window(length: float, scouted: float, record_counts: list[int]) -> None:
    """From the scout's first slice to the last one nothing is missed and nothing is read twice."""
    whole = window(0.25, 0.25 + length)
    slicer = Slicer(whole)
    assert slicer.hand_out() == whole
    border = whole.start + whole.length * scouted
    assume(whole.start < border < whole.end)
    slicer.learn(TimeWindow(whole.start, border), record_counts[0])
    slicer.give_back(TimeWindow(border, whole.end))
    pieces = [TimeWindow(whole.start, border), *slices_of(slicer, record_counts)]
    assert [piece.end for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert (pieces[0].start, pieces[-1].end) == (whole.start, whole.end)


def test_the_density_is_scouted_once() -> None:
    """Until a slice has been read, the next one is to be cut after a page."""
    slicer, known = Slicer(window(0, 9)), Slicer(window(0, 9))
    known.learn(window(0, 1), 0)
    assert (slicer.is_scouting, known.is_scouting) == (True, False)


def test_slices_are_as_long_as_holds_four_pages() -> None:
    """At eighty records a second a slice is fifty seconds long."""
    slicer = Slicer(window(0, 1000))
    slicer.learn(window(0, 50), 4000)
    assert slicer.hand_out() == window(0, 50)
    assert slicer.hand_out() == window(50, 100)


def test_a_density_is_trusted_for_four_times_as_long() -> None:
    """A quiet minute says little about the next hour."""
    slicer = Slicer(window(0, 10_000))
    slicer.learn(window(0, 20), 20)
    assert slicer.hand_out() == window(0, 80)


def test_a_remainder_is_sliced_by_the_density_it_showed() -> None:
    """What a denser slice leaves is divided, the last piece half as long again at most."""
    slicer = Slicer(window(0, 1000))
    slicer.learn(window(0, 50), 4000)
    assert slicer.slices_of(window(100, 260)) == [window(100, 150), window(150, 200), window(200, 260)]


def test_a_slice_is_never_shorter_than_ten_seconds() -> None:
    """However dense the records are, a slice has room for the margins."""
    slicer = Slicer(window(0.5, 1000))
    slicer.learn(window(0, 1), 10**9)
    assert slicer.hand_out() == window(0.5, 10)


def test_a_short_rest_is_handed_out_with_the_slice_before() -> None:
    """What is less than half a slice more is not worth a slice of its own."""
    slicer = Slicer(window(0, 75))
    slicer.learn(window(0, 50), 4000)
    assert slicer.hand_out() == window(0, 75)
    assert slicer.hand_out() is None


def test_an_empty_scout_leaves_one_slice() -> None:
    """Where nothing is seen, the rest is one slice."""
    slicer = Slicer(window(0, 86_400))
    slicer.learn(window(0, 1), 0)
    piece = slicer.hand_out()
    assert piece is not None
    assert piece.length == timedelta(days=1)
