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


def busy(concurrency: int, length: int = 10_000) -> tuple[Slicer, list[Segment]]:
    """Returns a slicer for ten records a second, after its sample in the middle, and what is left behind that."""
    slicer = Slicer(concurrency)
    left = window(100, length)
    _, back = slicer.learn(Slice(window(0, length), Density(), SAMPLE_PAGES), 1000, left)
    part, start = slicer.split(back)[0], round((back.window.start - window(0, 1).start).total_seconds())
    return slicer, slicer.learn(part, 1000, window(start + 100, length))


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
        queue = [*slicer.learn(part, count, remainder), *rest, *queue]
    together = [*read, *(segment.window for segment in queue)]
    assert [each.end for each in together[:-1]] == [each.start for each in together[1:]]
    assert (together[0].start, together[-1].end) == (whole.start, whole.end)


def test_first_page_is_requested_alone() -> None:
    """Of a window without a known density one page is read, from its start, and nothing in parallel."""
    whole, density, slicer = window(0, 86_400), Density(), Slicer(8)
    part, rest = slicer.split(Segment(whole, density))
    assert (part, part.is_sample, rest) == (Slice(whole, density, SAMPLE_PAGES), True, [])
    assert slicer.fetch_limit == 1


def test_after_the_first_page_one_page_is_read_in_the_middle_of_the_rest() -> None:
    """Beside it, the rest is read on page by page; nothing else is fetched until the page in the middle has come."""
    slicer, density = Slicer(4), Density()
    segments = slicer.learn(Slice(window(0, 4100), density, SAMPLE_PAGES), 1000, window(100, 4100))
    assert [(segment.window, segment.share) for segment in segments] == [
        (window(100, 2100), 2), (window(2100, 4100), 2)
    ]  # fmt: skip
    assert [segment.needs_sample for segment in segments] == [False, True]
    assert [slicer.split(segment) for segment in segments] == [
        (Slice(*segment[:2], SAMPLE_PAGES, 2), []) for segment in segments
    ]
    assert slicer.fetch_limit == 2


def test_full_page_in_the_middle_divides_the_rest_by_the_concurrency() -> None:
    """What is left of both halves is divided evenly; the first segment of each keeps the density seen."""
    slicer, first = busy(4, 4100)
    assert slicer.fetch_limit == 4
    assert [segment.window for segment in first] == [window(2200, 3150), window(3150, 4100)]
    density = Density()
    density.learn(window(100, 200), 1000)
    segments = slicer.learn(Slice(window(100, 2100), density, SAMPLE_PAGES, 2), 1000, window(200, 2100))
    assert [segment.window for segment in segments] == [window(200, 1150), window(1150, 2100)]
    for halves in (first, segments):
        assert [segment.needs_sample for segment in halves] == [False, True]


def test_full_page_in_the_middle_waits_for_the_page_beside_it() -> None:
    """Nothing behind the middle is fetched before the first half can be divided too."""
    slicer = Slicer(4)
    front, back = slicer.learn(Slice(window(0, 4100), Density(), SAMPLE_PAGES), 1000, window(100, 4100))
    beside, middle = slicer.split(front)[0], slicer.split(back)[0]
    assert slicer.learn(middle, 1000, window(2200, 4100)) == [Segment(window(2200, 4100), back.density, 2)]
    assert slicer.fetch_limit == 1
    assert len(slicer.learn(beside, 1000, window(200, 2100))) == 2
    assert slicer.fetch_limit == 4


def test_sparse_page_in_the_middle_shows_a_burst() -> None:
    """What is left is one slice after another, with a fetch more at once for each slice with a full page."""
    slicer, density = Slicer(4), Density()
    front, back = slicer.learn(Slice(window(0, 4100), density, SAMPLE_PAGES), 1000, window(100, 4100))
    assert slicer.learn(slicer.split(back)[0], 30, None) == []
    assert (slicer.fetch_limit, slicer.split(front)) == (1, (Slice(window(100, 2100), density, CUT_PAGES), []))
    assert slicer.learn(Slice(window(100, 2100), density, CUT_PAGES), 3500, window(400, 2100))[0].share == 1
    assert slicer.fetch_limit == 2


def test_slice_of_a_few_seconds_is_a_burst() -> None:
    """Even many full pages within ten seconds do not raise the number of fetches at once."""
    slicer, density = Slicer(4), Density()
    slicer.learn(Slice(window(0, 900), density, SAMPLE_PAGES), 1000, window(800, 900))
    slicer.learn(Slice(window(800, 900), density, CUT_PAGES), 4000, window(809, 900))
    assert slicer.fetch_limit == 1
    slicer.learn(Slice(window(809, 900), density, CUT_PAGES), 4000, window(819, 900))
    assert slicer.fetch_limit == 2


def test_rest_of_a_segment_is_one_slice_after_its_density_fell() -> None:
    """A slice with less than a third of the expected records shows that a burst is over, until a full page comes."""
    slicer, density = Slicer(4), Density()
    slicer.learn(Slice(window(0, 9000), density, SAMPLE_PAGES), 1000, window(8000, 9000))
    for start in (8000, 8100, 8200):
        slicer.learn(Slice(window(start, 9000), density, CUT_PAGES), 4000, window(start + 100, 9000))
    rest = Segment(window(8300, 9000), density)
    assert (slicer.fetch_limit, slicer.split(rest)[0].window) == (4, window(8300, 8375))
    slicer.learn(Slice(window(8300, 8375), density, CUT_PAGES), 12, None)
    assert (slicer.fetch_limit, slicer.split(rest)) == (1, (Slice(rest.window, density, CUT_PAGES), []))
    slicer.learn(Slice(window(8375, 8400), density, CUT_PAGES), 900, None)
    assert density.has_fallen
    slicer.learn(Slice(window(8400, 9000), density, CUT_PAGES), 1000, None)
    assert not density.has_fallen


@pytest.mark.parametrize(
    ("left_seconds", "shares"),
    [(500, [1]), (599, [1]), (600, [1, 1]), (899, [1, 1]), (900, [2, 1]), (90_000, [3, 2])],
)
def test_segment_has_at_least_three_pages(left_seconds: int, shares: list[int]) -> None:
    """At ten records a second there is a segment for every 300 seconds, up to the concurrency."""
    slicer = Slicer(5)
    whole, left = window(0, 100 + left_seconds), window(100, 100 + left_seconds)
    segments = slicer.learn(Slice(whole, Density(), SAMPLE_PAGES), 1000, left)
    assert [segment.share for segment in segments] == shares


def test_a_segment_is_at_least_ten_seconds_long() -> None:
    """A segment is long enough for the margins, however many pages a short window may have."""
    slicer = Slicer(8)
    segments = slicer.learn(Slice(window(0, 31), Density(), SAMPLE_PAGES), 1000, window(0.01, 31))
    assert [(segment.window, segment.share) for segment in segments] == [(window(0.01, 20), 2), (window(20, 31), 1)]
    slicer.learn(slicer.split(segments[1])[0], 1000, window(20.01, 31))
    halves = slicer.learn(slicer.split(segments[0])[0], 1000, window(0.1, 20))
    assert [segment.window for segment in halves] == [window(0.1, 20)]


def test_only_what_is_left_of_the_first_pages_is_divided() -> None:
    """A later remainder is one segment, which shares the density of its slice."""
    slicer, segments = busy(4, 4100)
    part, _ = slicer.split(segments[1])
    assert slicer.learn(part, 1000, window(3250, 4100)) == [Segment(window(3250, 4100), part.density)]
    assert part.density.records_per_second == 10


def test_complete_slice_leaves_no_segment() -> None:
    """No segment follows a complete slice, and its density is known."""
    part = Slice(window(0, 100), Density(), SAMPLE_PAGES)
    assert Slicer(4).learn(part, 250, None) == []
    assert part.density.records_per_second == 2.5


def test_slice_is_as_long_as_three_pages() -> None:
    """At sixty records a second a slice is fifty seconds long."""
    segment = known(window(0, 1000), window(0, 50), 1000 * SLICE_PAGES)
    part, rest = busy(2)[0].split(segment)
    assert part == Slice(window(0, 50), segment.density, CUT_PAGES)
    assert rest == [Segment(window(50, 1000), segment.density)]
    assert (SLICE_PAGES, CUT_PAGES, part.is_sample) == (3, 4, False)


def test_sequential_requests_need_no_boundaries() -> None:
    """Without parallel requests, a slice extends as far as its pages do."""
    segment = known(window(0, 1000), window(0, 50), 3000)
    assert Slicer(1).split(segment) == (Slice(window(0, 1000), segment.density, CUT_PAGES), [])


def test_density_is_used_for_four_times_its_length() -> None:
    """The density of a quiet minute, or of an empty one, is not used for an hour."""
    for count in (20, 0):
        part, rest = busy(2)[0].split(known(window(0, 10_000), window(0, 20), count))
        assert part.window == window(0, 80)
        assert [segment.window for segment in rest] == [window(80, 10_000)]


def test_a_slice_is_never_shorter_than_ten_seconds() -> None:
    """A slice is long enough for the margins, however dense the records are."""
    for seen, count in ((window(0, 1), 10**9), (window(0, 0.001), 0)):
        part, _ = busy(2)[0].split(known(window(0.5, 1000), seen, count))
        assert part.window == window(0.5, 10)


def test_a_short_rest_is_one_slice() -> None:
    """A remainder of less than one and a half slices is one slice."""
    assert busy(2)[0].split(known(window(0, 75), window(0, 50), 3000))[0].window == window(0, 75)
    assert busy(2)[0].split(known(window(0, 76), window(0, 50), 3000))[0].window == window(0, 50)


def test_density_is_that_of_the_latest_slice() -> None:
    """The slice read last gives the density, for up to four times its length."""
    density = Density()
    density.learn(window(0, 100), 10)
    density.learn(window(100, 150), 500)
    assert (density.records_per_second, density.trusted_length) == (10, timedelta(seconds=200))


def test_throttled_window_is_fetched_one_slice_at_a_time() -> None:
    """While one request at a time is as fast as the limit, the rest of the window is one slice, until it is not."""
    slicer, (segment, *_) = busy(6)
    assert slicer.fetch_limit == 6
    slicer.note_throttling(delay_seconds=0.9, trip_seconds=0.2)
    assert slicer.fetch_limit == 6, "five other requests take a second meanwhile"
    slicer.note_throttling(delay_seconds=2.0, trip_seconds=0.2)
    assert (slicer.fetch_limit, slicer.split(segment)[0].window) == (1, segment.window)
    for _ in range(3):
        slicer.note_throttling(delay_seconds=0.0, trip_seconds=0.2)
        assert slicer.fetch_limit == 1, "a limit of some requests in some seconds delays none of them at first"
    for _ in range(9):
        slicer.note_throttling(delay_seconds=-0.1, trip_seconds=0.2)
    assert slicer.fetch_limit == 6
