"""An empty page after others contradicts them, so it is no end by itself."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.model_server import ModelServer
from tests.core.paging.paginator_runs import row, rows, window
from tests.hypothesis_profiles import examples


class SometimesEmpty(ModelServer):
    """Returns an empty page for one request, without a cursor or with an explicit end."""

    empty_ask = 2
    lies_aloud = False

    def answer(self, request: PageRequest) -> Page:
        page = super().answer(request)
        return Page([], None, states_end=self.lies_aloud) if len(self.requests) == self.empty_ask else page


def _read(server: ModelServer, reader: WindowReader) -> list[AuditRecord]:
    got: list[AuditRecord] = []
    while (request := reader.next_request()) is not None:
        got += reader.receive(server.answer(request))
    return got


@pytest.mark.parametrize("version", list(ApiVersion))
@pytest.mark.parametrize("pages_per_cut", [1, 2, 100])
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("lies_aloud", [False, True])
def test_one_empty_page_on_the_way_loses_nothing(
    version: ApiVersion, pages_per_cut: int, direction: Direction, lies_aloud: bool
) -> None:
    """Every record is read, whichever page after the first is empty once and wherever the read is cut."""
    wanted: list[AuditRecord] = [row(second) for second in range(50)]
    empty_ask, request_count = 2, 2
    while empty_ask <= request_count:
        server = SometimesEmpty(list(wanted), version)
        server.empty_ask, server.lies_aloud = empty_ask, lies_aloud
        request = ReadRequest(version, window(0, 60), direction, 20)
        got = _read(server, WindowReader(request, pages_per_cut=pages_per_cut))
        assert sorted(got) == wanted, empty_ask
        empty_ask, request_count = empty_ask + 1, len(server.requests)
    assert request_count >= 3


@pytest.mark.parametrize("version", list(ApiVersion))
def test_an_empty_page_behind_a_crowded_instant_is_no_end(version: ApiVersion) -> None:
    """The first page past an instant read by page numbers or cursors is empty once and costs no record."""
    wanted = sorted([*rows(5, 50), *(row(second) for second in range(20, 40))])
    for empty_ask in range(2, 30):
        server = SometimesEmpty(list(wanted), version)
        server.empty_ask = empty_ask
        try:
            got = _read(server, WindowReader(ReadRequest(version, window(0, 60), page_size=20), pages_per_cut=100))
        except SourceProtocolError:
            continue
        assert got == wanted, empty_ask


@examples(200)
@example([0, 0, 0], ApiVersion.V1, Direction.ASC, (2, 1), 2)
@given(
    seconds=st.lists(st.integers(0, 59), min_size=1, max_size=60),
    version=st.sampled_from(ApiVersion),
    direction=st.sampled_from(Direction),
    sizes=st.tuples(st.integers(2, 20), st.integers(1, 4)),
    empty_ask=st.integers(2, 12),
)
def test_one_empty_answer_loses_nothing_or_fails_loudly(
    seconds: list[int], version: ApiVersion, direction: Direction, sizes: tuple[int, int], empty_ask: int
) -> None:
    """One empty response never loses a record silently, whatever the records, page size and cuts."""
    records = [row(second, f"r{number}") for number, second in enumerate(seconds)]
    server = SometimesEmpty(records, version)
    server.empty_ask = empty_ask
    try:
        page_size, pages_per_cut = sizes
        request = ReadRequest(version, window(0, 60), direction, page_size)
        got = _read(server, WindowReader(request, pages_per_cut=pages_per_cut))
    except SourceProtocolError:
        return
    assert sorted(got) == sorted(records)


@pytest.mark.parametrize("direction", list(Direction))
def test_a_cut_behind_an_instant_read_by_page_numbers_knows_a_true_record(direction: Direction) -> None:
    """Where nothing follows the cut, the record that is known is one that is there."""
    reader = WindowReader(ReadRequest(ApiVersion.V1, window(0, 60), direction, 5), pages_per_cut=1)
    wanted = rows(30, 23)
    assert sorted(_read(ModelServer(list(wanted)), reader)) == wanted
