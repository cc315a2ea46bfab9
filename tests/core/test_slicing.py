"""Slices: consecutive pieces that are together the window."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_audit_provider.core.slicing import Slicer
from airflow_audit_provider.core.window import TimeWindow
from tests.core.walking import window


@settings(max_examples=60, deadline=None)
@given(
    length=st.floats(0.001, 3_000),
    record_counts=st.lists(st.integers(0, 500_000), min_size=1, max_size=5),
)
def test_slices_are_consecutive_and_are_the_window(length: float, record_counts: list[int]) -> None:
    """From the first slice to the last one nothing is missed and nothing is read twice."""
    whole = window(0.25, 0.25 + length)
    slicer, pieces = Slicer(), []
    rest: TimeWindow | None = whole
    assert slicer.split(whole) == (whole, None)
    slicer.learn(window(0, 1), record_counts[0])
    while rest is not None:
        piece, rest = slicer.split(rest)
        pieces.append(piece)
        slicer.learn(piece, record_counts[len(pieces) % len(record_counts)])
        assert len(pieces) < 10_000
    assert [piece.end for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert (pieces[0].start, pieces[-1].end) == (whole.start, whole.end)


def test_the_density_is_scouted_once() -> None:
    """Until a slice has been read, the next one is to be cut after a page."""
    slicer, known = Slicer(), Slicer()
    known.learn(window(0, 1), 0)
    assert (slicer.is_scouting, known.is_scouting) == (True, False)


def test_slices_are_as_long_as_holds_four_pages() -> None:
    """At eighty records a second a slice is fifty seconds long."""
    slicer = Slicer()
    slicer.learn(window(0, 50), 4000)
    assert slicer.split(window(0, 1000)) == (window(0, 50), window(50, 1000))


def test_a_density_is_trusted_for_four_times_as_long() -> None:
    """A quiet minute says little about the next hour."""
    slicer = Slicer()
    slicer.learn(window(0, 20), 20)
    assert slicer.split(window(0, 10_000)) == (window(0, 80), window(80, 10_000))


def test_a_slice_is_never_shorter_than_ten_seconds() -> None:
    """However dense the records are, a slice has room for the margins."""
    slicer = Slicer()
    slicer.learn(window(0, 1), 10**9)
    assert slicer.split(window(0.5, 1000)) == (window(0.5, 10), window(10, 1000))


def test_a_short_rest_is_one_slice() -> None:
    """What is less than half a slice more is not worth a slice of its own."""
    slicer = Slicer()
    slicer.learn(window(0, 50), 4000)
    assert slicer.split(window(0, 75)) == (window(0, 75), None)


def test_an_empty_slice_leaves_one_slice() -> None:
    """Where nothing is seen, the rest is one slice."""
    slicer = Slicer()
    slicer.learn(window(0, 1), 0)
    assert slicer.split(window(0, 86_400)) == (window(0, 86_400), None)
