"""An empty page after other pages is no proof of the end."""

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
    """Model that returns one empty page, without a cursor or with an explicit end."""

    empty_at = 2
    empty_states_end = False

    def respond(self, request: PageRequest) -> Page:
        page = super().respond(request)
        return Page([], None, states_end=self.empty_states_end) if len(self.requests) == self.empty_at else page


def _read(server: ModelServer, reader: WindowReader) -> list[AuditRecord]:
    found: list[AuditRecord] = []
    while (request := reader.next_request()) is not None:
        found += reader.receive(server.respond(request))
    return found


@pytest.mark.parametrize("version", list(ApiVersion))
@pytest.mark.parametrize("pages_per_cut", [1, 2, 100])
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("empty_states_end", [False, True])
def test_one_empty_page_loses_nothing(
    version: ApiVersion, pages_per_cut: int, direction: Direction, empty_states_end: bool
) -> None:
    """Every record is read, whichever page after the first is empty once and wherever the read is cut."""
    expected: list[AuditRecord] = [row(second) for second in range(50)]
    empty_at, request_count = 2, 2
    while empty_at <= request_count:
        server = SometimesEmpty(list(expected), version)
        server.empty_at, server.empty_states_end = empty_at, empty_states_end
        request = ReadRequest(version, window(0, 60), direction, 20)
        found = _read(server, WindowReader(request, pages_per_cut=pages_per_cut))
        assert sorted(found) == expected, empty_at
        empty_at, request_count = empty_at + 1, len(server.requests)
    assert request_count >= 3


@pytest.mark.parametrize("version", list(ApiVersion))
def test_empty_page_after_a_crowded_instant_is_no_end(version: ApiVersion) -> None:
    """If the first page after an instant read by page numbers or cursors is empty once, no record is lost."""
    expected = sorted([*rows(5, 50), *(row(second) for second in range(20, 40))])
    for empty_at in range(2, 30):
        server = SometimesEmpty(list(expected), version)
        server.empty_at = empty_at
        try:
            found = _read(server, WindowReader(ReadRequest(version, window(0, 60), page_size=20), pages_per_cut=100))
        except SourceProtocolError:
            continue
        assert found == expected, empty_at


@pytest.mark.integration
@examples(200)
@example([0, 0, 0], ApiVersion.V1, Direction.ASC, (2, 1), 2)
@given(
    seconds=st.lists(st.integers(0, 59), min_size=1, max_size=60),
    version=st.sampled_from(ApiVersion),
    direction=st.sampled_from(Direction),
    sizes=st.tuples(st.integers(2, 20), st.integers(1, 4)),
    empty_at=st.integers(2, 12),
)
def test_one_empty_response_loses_nothing_or_is_an_error(
    seconds: list[int], version: ApiVersion, direction: Direction, sizes: tuple[int, int], empty_at: int
) -> None:
    """One empty response never loses a record silently, whatever the records, page size and cuts."""
    records = [row(second, f"r{number}") for number, second in enumerate(seconds)]
    server = SometimesEmpty(records, version)
    server.empty_at = empty_at
    try:
        page_size, pages_per_cut = sizes
        request = ReadRequest(version, window(0, 60), direction, page_size)
        found = _read(server, WindowReader(request, pages_per_cut=pages_per_cut))
    except SourceProtocolError:
        return
    assert sorted(found) == sorted(records)


@pytest.mark.parametrize("direction", list(Direction))
def test_cut_after_an_instant_read_by_page_numbers_knows_an_existing_record(direction: Direction) -> None:
    """If nothing follows the cut, the known record is one that exists."""
    reader = WindowReader(ReadRequest(ApiVersion.V1, window(0, 60), direction, 5), pages_per_cut=1)
    expected = rows(30, 23)
    assert sorted(_read(ModelServer(list(expected)), reader)) == expected
