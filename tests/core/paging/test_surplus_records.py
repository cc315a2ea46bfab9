"""Records received past a cut or a slice's end: delivered, also if they are missing when they are requested again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.paginator import Paginator
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.surplus_records import SurplusRecords
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.model_server import ModelServer
from tests.core.paging.paginator_runs import one_by_one, page, play, row, window
from tests.hypothesis_profiles import examples

V1 = ApiVersion.V1


class ForgetfulServer(ModelServer):
    """Never shows a record again once it was shown and ``forgets_from`` requests were answered."""

    forgets_from = 1
    forgotten: tuple[str, ...] = ()

    def respond(self, request: PageRequest) -> Page:
        """Returns the page without the records that are forgotten by now."""
        if len(self.requests) == self.forgets_from:
            self.rows = [record for record in self.rows if record.id not in self.forgotten]
        return super().respond(request)


@examples(200)
@given(
    seconds=st.lists(st.integers(0, 59), min_size=1, max_size=60),
    forgotten=st.integers(0, 59),
    forgets_from=st.integers(1, 12),
    version=st.sampled_from(ApiVersion),
    direction=st.sampled_from(Direction),
    sizes=st.tuples(st.integers(3, 20), st.integers(1, 4)),
)
def test_record_received_once_is_delivered(
    seconds: list[int],
    forgotten: int,
    forgets_from: int,
    version: ApiVersion,
    direction: Direction,
    sizes: tuple[int, int],
) -> None:
    """Every record that any response showed is delivered once, and the statistics add up."""
    records = [row(second, f"r{number:02}") for number, second in enumerate(seconds)]
    server = ForgetfulServer(list(records), version)
    server.forgets_from, server.forgotten = forgets_from, (f"r{forgotten % len(records):02}",)
    page_size, pages_per_cut = sizes
    reader = WindowReader(ReadRequest(version, window(0, 60), direction, page_size), pages_per_cut=pages_per_cut)
    shown: set[str] = set()
    delivered: list[AuditRecord] = []
    try:
        while (request := reader.next_request()) is not None:
            response = server.respond(request)
            shown |= {record.id for record in response.records}
            delivered += reader.receive(response)
    except SourceProtocolError:
        return
    assert sorted(record.id for record in delivered) == sorted(shown)
    stats = reader.stats
    assert stats.seen_count == len(delivered) + stats.outside_count + stats.repeated_count


@pytest.mark.parametrize(("direction", "first"), [(Direction.ASC, (1, 2, 4)), (Direction.DESC, (8, 7, 5))])
def test_record_that_is_gone_after_a_cut_is_delivered(direction: Direction, first: tuple[int, ...]) -> None:
    """The last record of a page that is cut is received, and delivered with the next paginator."""
    reader = WindowReader(ReadRequest(V1, window(0, 9), direction, page_size=3), pages_per_cut=1)
    assert len(reader.receive(page(*first))) == 2
    rest = [6, 3][direction is Direction.DESC]
    delivered = reader.receive(page(rest))
    while (request := reader.next_request()) is not None:
        delivered += reader.receive(page(rest, first[1]) if request.direction is not direction else page(rest))
    assert sorted(record.id for record in delivered) == sorted([f"at-{first[2]}", f"at-{rest}"])


def test_record_that_only_a_probe_showed_is_delivered() -> None:
    """A record that the probe shows and that reading on does not is received all the same."""
    paginator = Paginator(ReadRequest(V1, window(0, 9)))
    play(paginator, one_by_one(page(1, 2), page(7, 6, 2), page(2, 6), page(6), page(6, 2, 1)))
    assert paginator.not_shown_again == [row(7)]
    reader = WindowReader(ReadRequest(V1, window(0, 9)))
    delivered: list[AuditRecord] = []
    for response in (page(1, 2), page(7, 6, 2), page(2, 6), page(6), page(6, 2, 1)):
        delivered += reader.receive(response)
    assert delivered == [row(1), row(2), row(6), row(7)]


def test_reader_that_stops_at_the_cut_leaves_what_it_received_past_it() -> None:
    """The reader of a slice keeps the records past the cut and past the slice, up to the window's end."""
    request = ReadRequest(V1, window(0, 9), page_size=4, horizon=window(0, 20))
    reader = WindowReader(request, pages_per_cut=1, stops_at_cut=True)
    reader.receive(page(1, 2, 10, 25))
    stats = ReadStats(outside_count=1)
    assert reader.surplus.take_missing(window(9, 20), lambda _record: False, stats) == [row(10)]
    assert stats.outside_count == 0


def test_surplus_is_taken_once_and_only_if_it_was_not_read() -> None:
    """A record that its window shows again is not taken, and none is taken twice."""
    surplus, stats = SurplusRecords(), ReadStats(repeated_count=2)
    surplus.add([row(1), row(2), row(30)], window(0, 20), are_outside=False)
    other = SurplusRecords()
    other.add_all(surplus)
    assert other.take_missing(window(0, 20), lambda record: record == row(1), stats) == [row(2)]
    assert other.take_missing(window(0, 40), lambda _record: False, stats) == []
    assert stats.repeated_count == 1
