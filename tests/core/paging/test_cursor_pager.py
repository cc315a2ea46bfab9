"""Cursor paging inside one crowded second: two passes in a row from opposite sides show the same rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.end_of_data import StopReason
from airflow_audit_provider.core.paging.paginator import Paginator
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.windows.window import SECOND_NS
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.paging.paginator_runs import T0, page, play, row, rows, window
from tests.hypothesis_profiles import examples

V2 = ApiVersion.V2


class CountingCursors:
    """A version 2 server whose cursors count rows; ``hidden`` and ``late`` name a row for each request number."""

    def __init__(
        self,
        records: list[AuditRecord],
        *,
        hidden: dict[int, AuditRecord] | None = None,
        late: dict[int, AuditRecord] | None = None,
        states_end: bool = True,
        page_ceiling: int = 1000,
    ) -> None:
        self.records = sorted(records)
        self.requests: list[PageRequest] = []
        self._hidden, self._late = hidden or {}, late or {}
        self._states_end = states_end
        self._page_ceiling = page_ceiling

    def answer(self, request: PageRequest) -> Page:
        """Returns the page that a request selects at this moment."""
        self.requests.append(request)
        number = len(self.requests)
        if number in self._late:
            self.records = sorted([*self.records, self._late[number]])
        low, high = request.since_seconds * SECOND_NS, request.before_seconds * SECOND_NS
        listed = [record for record in self.records if low <= record.event_ns < high]
        listed = [record for record in listed if record != self._hidden.get(number)]
        listed = listed if request.direction is Direction.ASC else listed[::-1]
        offset, size = int(request.cursor or 0), min(request.page_size, self._page_ceiling)
        following = offset + size
        if following < len(listed):
            return Page(listed[offset:following], f"{following}")
        return Page(listed[offset:], None, states_end=self._states_end)


def _read(server: CountingCursors, direction: Direction = Direction.ASC, page_size: int = 10) -> list[str]:
    request = ReadRequest(V2, window(0, 60), direction, page_size)
    delivered, _ = play(Paginator(request), server.answer)
    return sorted(record.id for record in delivered)


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("around", [[], [2], [40], [2, 40]], ids=["alone", "before", "after", "between"])
@pytest.mark.parametrize("hidden_at", range(2, 12))
def test_row_missing_from_one_response_hides_no_other(hidden_at: int, around: list[int], direction: Direction) -> None:
    """Wherever one row is missing for a moment, every row of a crowded second is read."""
    records = [*rows(5, 35), *map(row, around)]
    for hidden in (records[0], records[9], records[20]):
        server = CountingCursors(list(records), hidden={hidden_at: hidden})
        assert _read(server, direction) == sorted(record.id for record in records)


@pytest.mark.parametrize("late_at", range(2, 12))
def test_late_row_restarts_the_pass(late_at: int) -> None:
    """A row that pushes the others down while they are read costs requests and no record."""
    records = [row(2), *rows(5, 35), row(40)]
    late = row(5, "a-late-one")
    server = CountingCursors(list(records), late={late_at: late})
    assert set(_read(server)) >= {record.id for record in records}


def test_row_that_is_gone_after_the_first_pass_is_kept() -> None:
    """A row that only the first pass shows is delivered all the same."""
    records = rows(5, 35)
    server = CountingCursors(list(records), hidden=dict.fromkeys(range(3, 40), records[3]))
    assert _read(server) == [record.id for record in records]


def test_rows_that_differ_in_every_pass_are_an_error() -> None:
    """Six passes of which no two in a row agree end the reading."""
    records = rows(5, 35)
    hidden = {number: records[number * 11 % 35] for number in range(2, 100)}
    with pytest.raises(SourceProtocolError, match="records could be lost here"):
        _read(CountingCursors(records, hidden=hidden))


def test_rows_that_move_in_every_pass_are_an_error() -> None:
    """A pass is restarted three times; then a list that keeps moving is an error."""
    late = {number: row(5, f"a-late-{99 - number:02}") for number in range(2, 90)}
    with pytest.raises(SourceProtocolError, match="change their order while a cursor is followed"):
        _read(CountingCursors(rows(5, 35), late=late))


def test_lost_cursor_inside_a_crowded_second_is_noticed() -> None:
    """Rows behind a lost cursor, in the same second and after it, are read from the other side."""
    records = [*rows(5, 35), *map(row, range(20, 50))]
    server = CountingCursors(list(records))
    first = server.answer

    def answer(request: PageRequest) -> Page:
        response = first(request)
        return response._replace(cursor=None) if len(server.requests) == 3 else response

    delivered, _ = play(Paginator(ReadRequest(V2, window(0, 60), page_size=10)), answer)
    assert sorted(delivered) == sorted(records)


def test_passes_and_their_requests() -> None:
    """The second is read up to the next one, then from there back, and reading goes on behind it."""
    server = CountingCursors([row(2), *rows(5, 14), row(20)])
    _read(server)
    requests = [
        (request.direction, request.since_seconds - T0, request.before_seconds - T0, request.page_size, request.cursor)
        for request in server.requests
    ]
    assert requests == [
        (Direction.ASC, -1, 61, 10, None),
        (Direction.ASC, 4, 61, 10, None),
        (Direction.ASC, 4, 61, 10, "10"),
        (Direction.DESC, -172_801, 8, 10, None),
        (Direction.DESC, -172_801, 8, 10, "10"),
        (Direction.ASC, 6, 61, 10, None),
    ]


@pytest.mark.parametrize("count", [12, 35])
def test_last_second_that_nothing_precedes_is_proved_by_its_order(count: int) -> None:
    """Both sides end inside the second, so their exactly opposite order is the proof."""
    paginator = Paginator(ReadRequest(V2, window(0, 60), page_size=10))
    delivered, _ = play(paginator, CountingCursors(rows(5, count), states_end=False).answer)
    assert (len(delivered), paginator.ended_by) == (count, StopReason.OTHER_SIDE)


def test_empty_page_in_a_pass_is_not_its_end() -> None:
    """A response that is empty once, in either pass, costs further passes and no record."""
    for empty_at in range(2, 9):
        server = CountingCursors([*rows(5, 35), row(40)])

        def answer(request: PageRequest, server: CountingCursors = server, empty_at: int = empty_at) -> Page:
            response = server.answer(request)
            return page() if len(server.requests) == empty_at else response

        delivered, _ = play(Paginator(ReadRequest(V2, window(0, 60), page_size=10)), answer)
        assert len(delivered) == 36, empty_at


@pytest.mark.integration
@examples(200)
@given(
    seconds=st.lists(st.integers(0, 59), max_size=30),
    crowds=st.lists(st.tuples(st.integers(0, 59), st.integers(1, 40)), min_size=1, max_size=3),
    hidden=st.dictionaries(st.integers(2, 40), st.integers(0, 200), max_size=1),
    direction=st.sampled_from(Direction),
    page_size=st.integers(4, 20),
    ceiling=st.sampled_from([3, 7, 1000]),
    states_end=st.booleans(),
)
def test_one_row_missing_once_from_a_crowded_second_is_never_silent(
    seconds: list[int],
    crowds: list[tuple[int, int]],
    hidden: dict[int, int],
    direction: Direction,
    page_size: int,
    ceiling: int,
    states_end: bool,
) -> None:
    """Of the rows that are listed at every moment, none is lost unless the reader raises."""
    records = [row(second, f"r{number}") for number, second in enumerate(seconds)]
    records += [record for second, count in crowds for record in rows(second, count, f"crowd-{count}")]
    records = list({record.id: record for record in records}.values())
    missing = {number: records[index % len(records)] for number, index in hidden.items()}
    server = CountingCursors(records, hidden=missing, page_ceiling=ceiling, states_end=states_end)
    always = {record.id for record in records} - {record.id for record in missing.values()}
    try:
        assert set(_read(server, direction, page_size)) >= always
    except SourceProtocolError:
        return


def test_pass_that_shows_fewer_rows_is_followed_by_another() -> None:
    """A second pass that lacks a known row does not prove the first one."""
    records = [row(2), *rows(5, 14), row(20)]
    complete, lacking = CountingCursors(list(records)), CountingCursors(list(records), hidden={4: records[9]})
    assert _read(complete) == _read(lacking) == sorted(record.id for record in records)
    assert len(lacking.requests) > len(complete.requests)
