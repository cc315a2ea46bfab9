"""Window readers: consecutive paginators, records in order, and statistics that add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import SinglePageReader, WindowReader
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, SourceProtocolError
from tests.core.model_server import ModelServer
from tests.core.paging.paginator_runs import T0, page, refusal, row, rows, window
from tests.hypothesis_profiles import examples

V1 = ApiVersion.V1


def drain(reader: WindowReader, server: ModelServer) -> list[list[AuditRecord]]:
    """Drives a reader against a model server; returns its deliveries."""
    deliveries = []
    while (request := reader.next_request()) is not None:
        try:
            taken = reader.receive(server.respond(request))
        except SourceProtocolError as error:
            taken = reader.receive_refusal(error)
        if taken:
            deliveries.append(taken)
    return deliveries


@pytest.mark.integration
@examples(120)
@given(
    seconds=st.lists(st.integers(-3, 33), max_size=60),
    direction=st.sampled_from(Direction),
    sizes=st.tuples(st.integers(2, 20), st.integers(1, 5)),
    version=st.sampled_from(ApiVersion),
    ceiling=st.sampled_from([3, 7, 1000]),
)
def test_every_row_seen_is_delivered_or_outside_or_repeated(
    seconds: list[int], direction: Direction, sizes: tuple[int, int], version: ApiVersion, ceiling: int
) -> None:
    """The statistics add up, and the deliveries together are the window's records in order."""
    records = [row(second, f"r{number}") for number, second in enumerate(seconds)]
    page_size, pages_per_cut = sizes
    request = ReadRequest(version, window(0, 30), direction, page_size, horizon=window(-2, 33))
    reader = WindowReader(request, pages_per_cut=pages_per_cut)
    deliveries = drain(reader, ModelServer(records, version, page_ceiling=ceiling))
    delivered = [record for delivery in deliveries for record in delivery]
    stats = reader.stats
    assert stats.seen_count == len(delivered) + stats.outside_count + stats.repeated_count
    assert min(stats.outside_count, stats.repeated_count) >= 0
    wanted = sorted(record for record in records if window(0, 30).contains(record.event_ns))
    assert delivered == (wanted if direction is Direction.ASC else wanted[::-1])


def test_paginator_is_cut_where_time_advanced() -> None:
    """After a number of pages the complete records are delivered, and the remainder starts at the last second seen."""
    reader = WindowReader(ReadRequest(V1, window(0, 9), page_size=3), pages_per_cut=1)
    assert reader.receive(page(1, 2, 4.5)) == [row(1), row(2)]
    assert reader.next_request() == PageRequest(T0 + 3, T0 + 10, Direction.ASC, 3)
    assert reader.remainder == window(4, 9)
    assert reader.stats == ReadStats(
        page_count=1, seen_count=3, repeated_count=1, ended_by={"cut where time had advanced": 1}
    )


def test_a_descending_paginator_is_cut_above_the_last_second_seen() -> None:
    """Descending, the last second seen stays entirely in the remainder."""
    reader = WindowReader(ReadRequest(V1, window(0, 9), Direction.DESC, 3), pages_per_cut=1)
    assert reader.receive(page(8, 5.1, 4.5)) == [row(8), row(5.1)]
    assert reader.remainder == window(0, 5)


def test_a_paginator_is_not_cut_before_its_pages_are_used() -> None:
    """Fewer pages than the limit stay in one paginator."""
    reader = WindowReader(ReadRequest(V1, window(0, 9), page_size=3), pages_per_cut=2)
    assert reader.receive(page(1, 2, 4)) == []
    assert reader.receive(page(2, 4, 6)) == [row(1), row(2), row(4)]


def test_paginator_is_not_cut_if_time_cannot_advance() -> None:
    """An instant that fills pages, or one at the window's start, is not cut."""
    reader = WindowReader(ReadRequest(V1, window(5, 9), page_size=3), pages_per_cut=1)
    for _ in range(2):
        assert reader.receive(Page(rows(5, 3))) == []
    assert reader.remainder is None


def test_a_paginator_is_not_cut_while_the_end_is_proved() -> None:
    """A short page is proved first; then all records are delivered at once."""
    reader = WindowReader(ReadRequest(V1, window(0, 9), page_size=3), pages_per_cut=1)
    assert reader.receive(page(1, 3)) == []
    assert reader.receive(page(3, 1)) == [row(1), row(3)]
    assert reader.next_request() is None


def test_paginator_is_not_cut_at_an_empty_first_page() -> None:
    """Without a row there is no time to cut at."""
    reader = WindowReader(ReadRequest(ApiVersion.V2, window(0, 9), page_size=3), pages_per_cut=1)
    assert reader.receive(page(cursor="a")) == []
    assert reader.remainder is None


def test_a_reader_that_stops_at_the_cut_leaves_the_remainder() -> None:
    """A reader that stops at the cut reads with one paginator and returns what is left."""
    reader = WindowReader(ReadRequest(V1, window(0, 9), page_size=3), pages_per_cut=1, stops_at_cut=True)
    assert reader.receive(page(1, 2, 4)) == [row(1), row(2)]
    assert reader.next_request() is None
    assert reader.remainder == window(4, 9)


def test_records_are_delivered_sorted_by_time_and_id() -> None:
    """Ties are sorted by id, whatever the server's order of ties."""
    reader = WindowReader(ReadRequest(V1, window(0, 9)))
    reader.receive(Page([row(1, "b"), row(1, "a"), row(3.5, "x"), row(3.2, "y")]))
    last = reader.receive(Page([row(3.5, "x"), row(3.2, "y"), row(1, "b"), row(1, "a")]))
    assert [record.id for record in last] == ["a", "b", "y", "x"]


def test_a_400_that_ends_a_paginator_delivers_its_records() -> None:
    """The records of a window within one second are delivered if a status 400 follows the proved end."""
    reader = WindowReader(ReadRequest(V1, window(0, 9)))
    assert reader.receive(page(5, 5.5)) == []
    assert reader.receive(page(5.5, 5)) == []
    assert reader.receive_refusal(refusal()) == [row(5), row(5.5)]
    assert reader.next_request() is None
    assert reader.stats.page_count == 3


def test_a_400_after_an_agreeing_probe_delivers_the_records() -> None:
    """Records of one second are delivered if the page after them is refused."""
    reader = WindowReader(ReadRequest(V1, window(0, 9)))
    assert reader.receive(page(5)) == []
    assert reader.receive(page(5)) == []
    assert reader.receive_refusal(refusal()) == [row(5)]


def test_a_reader_that_is_done_accepts_nothing() -> None:
    """A page or a refusal after the end is an error of the caller."""
    reader = WindowReader(ReadRequest(V1, window(0, 9)))
    for _ in range(3):
        assert reader.receive(page()) == []
    with pytest.raises(RuntimeError, match="no further page"):
        reader.receive(page())
    with pytest.raises(RuntimeError, match="no further page"):
        reader.receive_refusal(refusal())


@pytest.mark.parametrize("page_size", [0, -1, 1001])
def test_invalid_page_size_is_an_error(page_size: int) -> None:
    """The API accepts 1 to 1000 rows a page."""
    with pytest.raises(ConfigurationError, match=r"Give 1 to 1000\."):
        ReadRequest(V1, window(0, 9), page_size=page_size)


def test_statistics_add_up() -> None:
    """The statistics of two reads add up."""
    total = ReadStats(request_count=1, throttled_seconds=0.5, ended_by={"a": 1})
    total.add(ReadStats(request_count=2, retry_count=3, throttled_seconds=1.0, ended_by={"a": 1, "b": 2}))
    assert total == ReadStats(request_count=3, retry_count=3, throttled_seconds=1.5, ended_by={"a": 2, "b": 2})


def test_single_page_is_returned_unchanged() -> None:
    """A single page is requested without margin and returned unfiltered and unsorted."""
    start = window(0.5, 9.5)
    single = SinglePageReader(ReadRequest(V1, TimeWindow(start.start, start.end), Direction.DESC, 25), 3)
    assert single.next_request() == PageRequest(T0, T0 + 10, Direction.DESC, 25, 3, None)
    assert single.receive(page(3, 7, 100)) == [row(3), row(7), row(100)]
    assert single.next_request() is None
    assert single.stats.page_count == 1


def test_single_page_raises_a_refusal_and_rejects_page_zero() -> None:
    """A refused page raises its error, and pages count from one."""
    single = SinglePageReader(ReadRequest(V1, window(0, 9), Direction.ASC, 25), cursor="c")
    assert single.next_request() == PageRequest(T0, T0 + 9, Direction.ASC, 25, 1, "c")
    with pytest.raises(SourceProtocolError, match="no such page"):
        single.receive_refusal(refusal())
    with pytest.raises(ConfigurationError, match="give a whole number of at least 1"):
        SinglePageReader(ReadRequest(V1, window(0, 9), Direction.ASC, 25), 0)
