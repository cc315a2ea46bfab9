"""A crowded second that ends in a status 400 is proved by a row next to it, if the API lists one."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, from_seconds
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.model_server import ModelServer

_BASE_SECONDS = 1_700_000_000
_LENGTH_SECONDS = 3600
_CROWDED_SECOND = 600
_WINDOW = TimeWindow(from_seconds(_BASE_SECONDS), from_seconds(_BASE_SECONDS + _LENGTH_SECONDS))
DIRECTIONS = pytest.mark.parametrize("direction", list(Direction))


class PastEndIs400(ModelServer):
    """Model that returns status 400 for a page behind the last row, and lists ties in one order both ways."""

    def _offset(self, request: PageRequest, size: int) -> int:
        offset = super()._offset(request, size)
        if offset and offset >= len(self._selected(request)):
            raise SourceProtocolError("page out of range", status=400)
        return offset


def record_at(seconds: float, name: str) -> AuditRecord:
    """Returns a record so many seconds after the window's start."""
    return AuditRecord(int((_BASE_SECONDS + seconds) * SECOND_NS), name, b"{}")


def crowd(count: int) -> list[AuditRecord]:
    """Returns so many records of one instant."""
    return [record_at(_CROWDED_SECOND, f"crowd-{number:05}") for number in range(count)]


def read(server: ModelServer, direction: Direction, known_second: int | None = None) -> list[str]:
    """Reads the window to its end; returns the ids found, sorted."""
    reader = WindowReader(ReadRequest(server.version, _WINDOW, direction, known_second=known_second))
    found: list[AuditRecord] = []
    while (request := reader.next_request()) is not None:
        assert len(server.requests) < 100
        try:
            found += reader.receive(server.respond(request))
        except SourceProtocolError as error:
            found += reader.receive_refusal(error)
    return sorted(record.id for record in found)


@pytest.mark.integration
@DIRECTIONS
@pytest.mark.parametrize("neighbour_seconds", [_CROWDED_SECOND - 5, _CROWDED_SECOND + 5, 10, 3500, -1, -86_400])
@pytest.mark.parametrize("count", [999, 1000, 1001, 1700, 2500])
def test_refused_end_of_a_crowded_second_is_proved_by_a_neighbour(
    count: int, neighbour_seconds: float, direction: Direction
) -> None:
    """Every record is read if another one lies before or behind the second, in the window or up to a day earlier."""
    rows = [*crowd(count), record_at(neighbour_seconds, "neighbour")]
    server = PastEndIs400(rows, ties_mirrored=False)
    expected = [row.id for row in rows if neighbour_seconds >= 0 or row.id != "neighbour"]
    assert read(server, direction) == sorted(expected)


@pytest.mark.parametrize("version", list(ApiVersion))
def test_known_record_of_the_crowded_second_does_not_hide_an_earlier_neighbour(version: ApiVersion) -> None:
    """A slice that begins with a crowded second is proved by a record before the window, in both versions."""
    rows = [record_at(-3600, "neighbour"), *crowd(1200)]
    server = PastEndIs400(rows, version, ties_mirrored=False, states_end=False)
    found = read(server, Direction.ASC, known_second=_BASE_SECONDS + _CROWDED_SECOND)
    assert found == sorted(row.id for row in crowd(1200))


@DIRECTIONS
def test_server_without_a_neighbour_stays_an_error(direction: Direction) -> None:
    """A log of nothing but one crowded second, refused behind its last row, is not proved."""
    with pytest.raises(SourceProtocolError, match="status 400"):
        read(PastEndIs400(crowd(1200), ties_mirrored=False), direction)


@DIRECTIONS
@pytest.mark.parametrize("depth", [1000, 1300, 1699])
def test_depth_limit_inside_a_crowded_second_stays_an_error(depth: int, direction: Direction) -> None:
    """Neighbours lie deeper than the API pages, so a row that is hidden by the limit is never left out silently."""
    rows = [record_at(100, "before"), *crowd(1700), record_at(3000, "behind")]
    server = PastEndIs400(rows, ties_mirrored=False, depth_cap=depth)
    with pytest.raises(SourceProtocolError, match="status 400"):
        read(server, direction)


@DIRECTIONS
def test_rows_that_appear_where_the_neighbour_is_looked_for_are_read(direction: Direction) -> None:
    """Late records of the second are read, and the neighbour is then looked for behind them."""

    class LateRows(PastEndIs400):
        """Model that adds two rows to the second after its first status 400."""

        def respond(self, request: PageRequest) -> Page:
            try:
                return super().respond(request)
            except SourceProtocolError:
                self.rows += [row for row in late if row not in self.rows]
                raise

    late = [record_at(_CROWDED_SECOND, name) for name in ("late-1", "late-2")]
    server = LateRows([record_at(100, "before"), *crowd(1200), record_at(3000, "behind")], ties_mirrored=False)
    assert read(server, direction) == sorted(row.id for row in server.rows)
    assert late[0] in server.rows
