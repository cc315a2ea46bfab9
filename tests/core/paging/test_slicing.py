"""Slices are consecutive and together are the window."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.paging.slicing import (
    CUT_PAGES,
    SAMPLE_PAGES,
    SLICE_PAGES,
    Density,
    Segment,
    Slice,
    Slicer,
)
from airflow_audit_provider.core.windows.window import TimeWindow
from tests.core.paging.paginator_runs import window
from tests.hypothesis_profiles import examples


def known(whole: TimeWindow, seen: TimeWindow, record_count: int) -> Segment:
    """Returns a segment in which this many records were seen."""
    density = Density()
    density.learn(seen, record_count)
    return Segment(whole, density)


@examples(100)
@given(
    length=st.floats(0.001, 200_000),
    concurrency=st.integers(1, 9),
    record_counts=st.lists(st.integers(0, 5_000), min_size=1, max_size=5),
    cuts=st.lists(st.none() | st.floats(0.1, 0.9), min_size=1, max_size=5),
)
def test_slices_are_consecutive_and_cover_the_window(
    length: float, concurrency: int, record_counts: list[int], cuts: list[float | None]
) -> None:
    """Whatever is seen and wherever slices are cut, nothing is omitted and nothing is read twice."""
    whole = window(0.25, 0.25 + length)
    slicer, queue, read = Slicer(concurrency), [Segment(whole, Density())], list[TimeWindow]()
    while queue and len(read) < 300:
        part, rest = slicer.split(queue.pop(0))
        cut, count = cuts[len(read) % len(cuts)], record_counts[len(read) % len(record_counts)]
        boundary = part.window.start + part.window.length * (cut or 1.0)
        remainder = TimeWindow(boundary, part.window.end) if part.window.start < boundary < part.window.end else None
        read.append(TimeWindow(part.window.start, boundary) if remainder else part.window)
        queue = [*slicer.learn(part, count, remainder), *([rest] if rest else []), *queue]
    together = [*read, *(segment.window for segment in queue)]
    assert [each.end for each in together[:-1]] == [each.start for each in together[1:]]
    assert (together[0].start, together[-1].end) == (whole.start, whole.end)


def test_first_page_is_requested_alone() -> None:
    """Of a window without a known density one page is read, from its start, and nothing in parallel."""
    whole, density = window(0, 86_400), Density()
    part, rest = Slicer(8).split(Segment(whole, density))
    assert (part, part.is_sample, rest) == (Slice(whole, density, SAMPLE_PAGES), True, None)


def test_after_the_first_page_a_page_is_read_in_every_segment() -> None:
    """The rest is divided evenly; the first segment keeps the density seen, the others are sampled."""
    slicer, density = Slicer(4), Density()
    segments = slicer.learn(Slice(window(0, 4100), density, SAMPLE_PAGES), 1000, window(100, 4100))
    assert [segment.window for segment in segments] == [
        window(100, 1100), window(1100, 2100), window(2100, 3100), window(3100, 4100)
    ]  # fmt: skip
    assert [segment.needs_sample for segment in segments] == [False, True, True, True]
    assert len({id(segment.density) for segment in segments}) == 4


@pytest.mark.parametrize(("left_seconds", "count"), [(500, 1), (599, 1), (600, 2), (899, 2), (900, 3), (90_000, 5)])
def test_segment_has_at_least_three_pages(left_seconds: int, count: int) -> None:
    """At ten records a second there is a segment for every 300 seconds, up to the concurrency."""
    slicer = Slicer(5)
    whole, left = window(0, 100 + left_seconds), window(100, 100 + left_seconds)
    assert len(slicer.learn(Slice(whole, Density(), SAMPLE_PAGES), 1000, left)) == count


def test_a_segment_is_at_least_ten_seconds_long() -> None:
    """A segment is long enough for the margins, however many pages a short window may have."""
    segments = Slicer(8).learn(Slice(window(0, 31), Density(), SAMPLE_PAGES), 1000, window(0.01, 31))
    assert [segment.window for segment in segments] == [window(0.01, 10), window(10, 20), window(20, 31)]


def test_only_the_first_remainder_is_divided() -> None:
    """A later remainder is one segment, which shares the density of its slice."""
    slicer, density = Slicer(4), Density()
    slicer.learn(Slice(window(0, 4100), density, SAMPLE_PAGES), 1000, window(100, 4100))
    part = Slice(window(1100, 2100), Density(), SAMPLE_PAGES)
    assert slicer.learn(part, 1000, window(1200, 2100)) == [Segment(window(1200, 2100), part.density)]
    assert part.density.records_per_second == 10


def test_complete_slice_leaves_no_segment() -> None:
    """No segment follows a complete slice, and its density is known."""
    part = Slice(window(0, 100), Density(), SAMPLE_PAGES)
    assert Slicer(4).learn(part, 250, None) == []
    assert part.density.records_per_second == 2.5


def test_slice_is_as_long_as_three_pages() -> None:
    """At sixty records a second a slice is fifty seconds long."""
    segment = known(window(0, 1000), window(0, 50), 1000 * SLICE_PAGES)
    part, rest = Slicer(2).split(segment)
    assert part == Slice(window(0, 50), segment.density, CUT_PAGES)
    assert rest == Segment(window(50, 1000), segment.density)
    assert (SLICE_PAGES, CUT_PAGES, part.is_sample) == (3, 4, False)


def test_sequential_requests_need_no_boundaries() -> None:
    """Without parallel requests, a slice extends as far as its pages do."""
    segment = known(window(0, 1000), window(0, 50), 3000)
    assert Slicer(1).split(segment) == (Slice(window(0, 1000), segment.density, CUT_PAGES), None)


def test_density_is_used_for_four_times_its_length() -> None:
    """The density of a quiet minute, or of an empty one, is not used for an hour."""
    for count in (20, 0):
        part, rest = Slicer(2).split(known(window(0, 10_000), window(0, 20), count))
        assert part.window == window(0, 80)
        assert rest is not None
        assert rest.window == window(80, 10_000)


def test_a_slice_is_never_shorter_than_ten_seconds() -> None:
    """A slice is long enough for the margins, however dense the records are."""
    for seen, count in ((window(0, 1), 10**9), (window(0, 0.001), 0)):
        part, _ = Slicer(2).split(known(window(0.5, 1000), seen, count))
        assert part.window == window(0.5, 10)


def test_a_short_rest_is_one_slice() -> None:
    """A remainder of less than one and a half slices is one slice."""
    assert Slicer(2).split(known(window(0, 75), window(0, 50), 3000))[0].window == window(0, 75)
    assert Slicer(2).split(known(window(0, 76), window(0, 50), 3000))[0].window == window(0, 50)


def test_density_is_that_of_the_latest_slice() -> None:
    """The slice read last gives the density, for up to four times its length."""
    density = Density()
    density.learn(window(0, 100), 10)
    density.learn(window(100, 150), 500)
    assert (density.records_per_second, density.trusted_length) == (10, timedelta(seconds=200))
