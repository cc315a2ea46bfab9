"""The paginator against a model server: every record of the window once, or an error, whatever the server does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE, Direction
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import DEFAULT_PAGES_PER_CUT, WindowReader
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, from_seconds
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.model_server import ModelServer
from tests.hypothesis_profiles import examples

_BASE_SECONDS = 1_700_000_000


def read_all(
    server: ModelServer,
    window: TimeWindow,
    direction: Direction = Direction.ASC,
    page_size: int = MAX_PAGE_SIZE,
    pages_per_cut: int = DEFAULT_PAGES_PER_CUT,
    horizon: TimeWindow | None = None,
) -> list[AuditRecord]:
    """Reads a window from the model; passes a status 400 on as the script does."""
    reader = WindowReader(
        ReadRequest(server.version, window, direction, page_size, horizon), pages_per_cut=pages_per_cut
    )
    records: list[AuditRecord] = []
    while (request := reader.next_request()) is not None:
        assert len(server.requests) < 20_000, "the paginator does not end"
        try:
            page = server.respond(request)
        except SourceProtocolError as error:
            records.extend(reader.receive_refusal(error))
            continue
        records.extend(reader.receive(page))
    return records


@st.composite
def datasets(draw: st.DrawFn) -> list[AuditRecord]:
    """Draws records around the window with many ties: few seconds, few fractions."""
    span = draw(st.sampled_from([3, 20, 400]))
    fractions = st.sampled_from([0, 1, 1000, 999_999, 1_000_000, 500_000_000, 999_000_000, 999_999_999])
    instants = draw(st.lists(st.tuples(st.integers(-3, span + 3), fractions), max_size=60))
    heavy = draw(st.lists(st.tuples(st.integers(0, span), st.integers(1, 40)), max_size=2))
    times = [second * SECOND_NS + fraction for second, fraction in instants]
    times += [second * SECOND_NS for second, count in heavy for _ in range(count)]
    return [AuditRecord(_BASE_SECONDS * SECOND_NS + t, f"r{i:04}", b"{}") for i, t in enumerate(times)]


@st.composite
def servers(draw: st.DrawFn) -> ModelServer:
    """Draws a server with any combination of deviations that still offers every row."""
    version = draw(st.sampled_from(ApiVersion))
    odd = draw(st.sampled_from(["plain", "fewer", "fraction", "ceiling"]))
    return ModelServer(
        rows=draw(datasets()),
        version=version,
        since_inclusive=draw(st.booleans()),
        before_inclusive=draw(st.booleans()),
        grain_ns=draw(st.sampled_from([SECOND_NS, 1_000_000, 1000])),
        page_ceiling=draw(st.integers(2, 30)) if odd == "ceiling" else 1000,
        offset_uses_ceiling=draw(st.booleans()),
        fewer_rows=odd == "fewer",
        random_fraction=odd == "fraction",
        empty_pages=draw(st.booleans()) and odd == "plain",
        seed=draw(st.integers(0, 1000)),
    )


@pytest.mark.integration
@examples(400)
@given(
    server=servers(),
    page_size=st.integers(2, 50),
    direction=st.sampled_from(Direction),
    pages_per_cut=st.integers(1, 4),
    cut_us=st.sampled_from([0, 1, 500_000]),
    behind_seconds=st.sampled_from([0, 0, 1, 20, 500]),
)
def test_every_record_of_the_window_is_returned_once_in_order(
    server: ModelServer, page_size: int, direction: Direction, pages_per_cut: int, cut_us: int, behind_seconds: int
) -> None:
    """The reader returns exactly the window's records, sorted, whatever the server does and whatever follows."""
    window = TimeWindow(from_seconds(_BASE_SECONDS) + timedelta(microseconds=cut_us), from_seconds(_BASE_SECONDS + 20))
    horizon = TimeWindow(window.start, window.end + timedelta(seconds=behind_seconds))
    upwards = horizon if direction is Direction.ASC else None
    found = read_all(server, window, direction, page_size, pages_per_cut, upwards)
    truth = sorted(row for row in server.rows if window.contains(row.event_ns))
    assert found == (truth if direction is Direction.ASC else truth[::-1])


@pytest.mark.integration
@examples(300)
@given(
    rows=datasets(),
    page_size=st.integers(5, 50),
    lost=st.sampled_from([0, 1, 2, 3]),
    expires=st.sampled_from([0, 2, 3]),
    repeats=st.sampled_from([0, 2, 3]),
    omits_paging_facts=st.booleans(),
    direction=st.sampled_from(Direction),
)
def test_broken_cursors_lose_nothing_or_are_an_error(
    rows: list[AuditRecord],
    page_size: int,
    lost: int,
    expires: int,
    repeats: int,
    omits_paging_facts: bool,
    direction: Direction,
) -> None:
    """A lost, expired, repeated or omitted cursor loses no record, or the reader raises."""
    server = ModelServer(
        rows,
        ApiVersion.V2,
        cursor_lost_every=lost,
        cursor_expires_every=expires,
        cursor_repeats_every=repeats,
        omits_paging_facts=omits_paging_facts,
    )
    window = TimeWindow(from_seconds(_BASE_SECONDS), from_seconds(_BASE_SECONDS + 400))
    truth = sorted(row for row in rows if window.contains(row.event_ns))
    try:
        found = read_all(server, window, direction, page_size)
    except SourceProtocolError as error:
        assert "records could be lost here" in str(error) or error.status == 400
        return
    assert sorted(found) == truth


@pytest.mark.integration
@examples(400)
@given(
    rows=datasets(),
    page_size=st.integers(5, 50),
    ceiling=st.sampled_from([2, 3, 7, 37, 1000]),
    short=st.sampled_from(["", "fewer", "fraction"]),
    lost=st.sampled_from([0, 1, 2, 3]),
    silence=st.sampled_from(["says the end", "leaves the cursor out", "says nothing"]),
    mirrored=st.booleans(),
    pages_per_cut=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_short_pages_without_cursors_lose_no_record(
    rows: list[AuditRecord],
    page_size: int,
    ceiling: int,
    short: str,
    lost: int,
    silence: str,
    mirrored: bool,
    pages_per_cut: int,
    seed: int,
) -> None:
    """A server that returns fewer rows than requested and omits cursors is read completely, or the reader raises."""
    server = ModelServer(
        rows,
        ApiVersion.V2,
        page_ceiling=ceiling,
        fewer_rows=short == "fewer",
        random_fraction=short == "fraction",
        cursor_lost_every=lost,
        omits_paging_facts=silence == "says nothing",
        states_end=silence == "says the end",
        ties_mirrored=mirrored,
        seed=seed,
    )
    window = TimeWindow(from_seconds(_BASE_SECONDS), from_seconds(_BASE_SECONDS + 400))
    try:
        found = read_all(server, window, Direction.ASC, page_size, pages_per_cut)
    except SourceProtocolError as error:
        assert "records could be lost here" in str(error) or error.status == 400
        return
    assert found == sorted(row for row in rows if window.contains(row.event_ns))


def _ties(count: int, second: int = 5) -> list[AuditRecord]:
    return [AuditRecord((_BASE_SECONDS + second) * SECOND_NS, f"t{i:05}", b"{}") for i in range(count)]


_WINDOW = TimeWindow(from_seconds(_BASE_SECONDS), from_seconds(_BASE_SECONDS + 60))


@pytest.mark.parametrize("version", list(ApiVersion))
def test_five_thousand_records_in_one_instant_are_read_completely(version: ApiVersion) -> None:
    """An instant with more than five pages of records is read completely."""
    rows = _ties(5000) + _ties(3, 2) + _ties(3, 9)
    for number, row in enumerate(rows):
        rows[number] = replace(row, id=f"{number:05}")
    server = ModelServer(rows, version)
    assert len(read_all(server, _WINDOW)) == 5006


def test_instant_larger_than_the_depth_cap_is_read_from_both_sides_or_fails_loudly() -> None:
    """A 400 inside one instant is never the end: the rest is read from the other side, if that reaches it."""
    assert len(read_all(ModelServer(_ties(3000), depth_cap=2000), _WINDOW)) == 3000
    with pytest.raises(SourceProtocolError, match="records could be lost here"):
        read_all(ModelServer(_ties(8000), depth_cap=2000), _WINDOW)
    with pytest.raises(SourceProtocolError, match="records could be lost here"):
        read_all(ModelServer(_ties(3000), depth_cap=2000, ties_mirrored=False), _WINDOW)


def test_depth_cap_outside_one_instant_has_no_effect() -> None:
    """Page numbers are not used where time advances, so a maximum page has no effect."""
    rows = [AuditRecord((_BASE_SECONDS * SECOND_NS) + i * 10_000_000, f"{i:05}", b"{}") for i in range(5000)]
    assert len(read_all(ModelServer(rows, depth_cap=1000), _WINDOW)) == 5000


@pytest.mark.parametrize(("row_count", "request_count"), [(0, 3), (1, 3), (999, 2), (7, 2)])
def test_small_window_takes_one_request_and_the_proof(row_count: int, request_count: int) -> None:
    """An empty window takes three requests, a small one a second that proves the end, one within a second a third."""
    rows = [AuditRecord((_BASE_SECONDS * SECOND_NS) + i * 50_000_000, f"{i:05}", b"{}") for i in range(row_count)]
    if row_count == 7:
        rows = [replace(row, event_ns=row.event_ns + i * SECOND_NS) for i, row in enumerate(rows)]
    server = ModelServer(rows)
    assert len(read_all(server, _WINDOW)) == row_count
    assert len(server.requests) == request_count


@pytest.mark.parametrize(("states_end", "request_count"), [(True, 1), (False, 3)])
def test_version_two_with_an_explicit_end_takes_one_request(states_end: bool, request_count: int) -> None:
    """Version 2's explicit end needs no proof; a missing statement does."""
    server = ModelServer(_ties(7), ApiVersion.V2, states_end=states_end)
    assert len(read_all(server, _WINDOW)) == 7
    assert len(server.requests) == request_count
