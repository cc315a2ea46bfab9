"""A server that reorders ties in every response: all records or an error, never a silent gap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, from_seconds
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.model_server import ModelServer
from tests.hypothesis_profiles import examples

_BASE_SECONDS = 1_700_000_000
_WINDOW = TimeWindow(from_seconds(_BASE_SECONDS), from_seconds(_BASE_SECONDS + 30))


class ShufflingServer(ModelServer):
    """Model that sorts by whole second only and shuffles the rows of one second in every response."""

    def _selected(self, request: PageRequest) -> list[AuditRecord]:
        rows = super()._selected(request)
        self._random.shuffle(rows)
        sign = 1 if request.direction is Direction.ASC else -1
        return sorted(rows, key=lambda row: sign * row.event_second)


def _read(server: ModelServer, direction: Direction, page_size: int) -> list[AuditRecord] | None:
    reader, found = WindowReader(ReadRequest(server.version, _WINDOW, direction, page_size)), []
    try:
        while (request := reader.next_request()) is not None:
            found += reader.receive(server.respond(request))
    except SourceProtocolError as error:
        assert "records could be lost here" in str(error)
        return None
    return found


@pytest.mark.integration
@examples(300)
@given(
    counts=st.lists(st.integers(0, 25), min_size=30, max_size=30),
    version=st.sampled_from(ApiVersion),
    direction=st.sampled_from(Direction),
    page_size=st.integers(5, 40),
    seed=st.integers(0, 10_000),
)
def test_no_record_is_lost_silently(
    counts: list[int], version: ApiVersion, direction: Direction, page_size: int, seed: int
) -> None:
    """The result is complete and sorted, or an error states that records could be lost."""
    seconds = [second for second, count in enumerate(counts) for _ in range(count)]
    rows = [AuditRecord((_BASE_SECONDS + s) * SECOND_NS, f"{i:05}", b"{}") for i, s in enumerate(seconds)]
    found = _read(ShufflingServer(rows, version, seed=seed), direction, page_size)
    if found is not None:
        assert found == (rows if direction is Direction.ASC else rows[::-1])


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("version", list(ApiVersion))
def test_sparse_seconds_are_always_read_completely(version: ApiVersion, direction: Direction) -> None:
    """If no two seconds fill a page, shuffled ties cause no error."""
    rows = [AuditRecord((_BASE_SECONDS + i // 40) * SECOND_NS, f"{i:05}", b"{}") for i in range(1200)]
    found = _read(ShufflingServer(rows, version), direction, 200)
    assert found == (rows if direction is Direction.ASC else rows[::-1])


@pytest.mark.integration
@pytest.mark.parametrize("row_count", [1001, 1300, pytest.param(5000, marks=pytest.mark.nightly)])
def test_crowded_instant_is_complete_or_an_error(row_count: int) -> None:
    """More shuffled rows in one second than a page has never leave a gap."""
    rows = [AuditRecord((_BASE_SECONDS + 7) * SECOND_NS, f"{i:05}", b"{}") for i in range(row_count)]
    for seed in range(10):
        for version in ApiVersion:
            found = _read(ShufflingServer(rows, version, seed=seed), Direction.ASC, 1000)
            assert found is None or len(found) == row_count
