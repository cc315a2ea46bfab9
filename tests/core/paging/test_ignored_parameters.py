"""A parameter that the API ignores never hides a record, and ends no reading that something else can prove."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.model_server import ModelServer
from tests.core.paging.paginator_runs import row, rows, window

PAGE_SIZE = 20
COUNTS = (0, 1, 2, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1)
V1, V2, ASC, DESC = ApiVersion.V1, ApiVersion.V2, Direction.ASC, Direction.DESC
IGNORED: dict[str, dict[str, Any]] = {
    "id.not": {"without_ids": ()},
    "direction, always desc": {"direction": DESC},
    "direction, always asc": {"direction": ASC},
    "since": {"since_seconds": 0},
    "before": {"before_seconds": 1 << 40},
    "page size, always 100": {"page_size": 100},
    "page size, always 7": {"page_size": 7},
    "page and cursor": {"page": 1, "cursor": None},
}
NEIGHBOURS: dict[str, list[AuditRecord]] = {
    "none": [],
    "before": [row(-3600 - 7 * number, f"before-{number}") for number in range(40)],
    "one second before": rows(-3600, 60, "before"),
    "weeks before": [row(-9 * 86_400, "weeks-before")],
    "after": [row(3600 + 7 * number, f"after-{number}") for number in range(40)],
}


@dataclass
class IgnoringServer(ModelServer):
    """Model that takes a request as if some of its parameters were others."""

    ignored: str = ""

    def respond(self, request: PageRequest) -> Page:
        return super().respond(request._replace(**IGNORED.get(self.ignored, {})))


def read(server: ModelServer, direction: Direction = ASC) -> list[AuditRecord]:
    """Reads a minute to its end."""
    reader = WindowReader(ReadRequest(server.version, window(0, 60), direction, PAGE_SIZE))
    found: list[AuditRecord] = []
    while (request := reader.next_request()) is not None:
        assert len(server.requests) < 500
        found += reader.receive(server.respond(request))
    return found


def logs(count: int) -> dict[str, list[AuditRecord]]:
    """Returns so many records over the minute, and in one second of it."""
    spread = [row(number * 59 / max(count, 1), f"spread-{number:04}") for number in range(count)]
    return {
        "spread": spread,
        "one second": rows(30, count),
        "both": [*rows(30, count), row(3, "first"), row(50, "last")],
    }


@pytest.mark.integration
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("version", list(ApiVersion))
@pytest.mark.parametrize("ignored", IGNORED)
def test_ignored_parameter_loses_nothing_silently(ignored: str, version: ApiVersion, direction: Direction) -> None:
    """Whatever is ignored and however many records there are, all are read, or an error says what is wrong."""
    for count in (*COUNTS, 9, 10, 101):
        for around, others in NEIGHBOURS.items():
            for shape, expected in logs(count).items():
                for has_facts, mirrored in ((True, False), (False, True)):
                    server = IgnoringServer([*expected, *others], version, ignored=ignored)
                    server.omits_paging_facts, server.ties_mirrored = not has_facts, mirrored
                    try:
                        found = read(server, direction)
                    except SourceProtocolError:
                        continue
                    assert sorted(found) == sorted(expected), (count, around, shape, has_facts)


@pytest.mark.parametrize("around", NEIGHBOURS)
@pytest.mark.parametrize("count", [*COUNTS, 3 * PAGE_SIZE])
@pytest.mark.parametrize("direction", list(Direction))
def test_one_second_is_read_where_id_not_is_ignored(direction: Direction, count: int, around: str) -> None:
    """A stated end, rows around the second, or pages that end elsewhere prove it, however many records it has."""
    expected = rows(30, count)
    server = IgnoringServer([*expected, *NEIGHBOURS[around]], V2, ties_mirrored=False, ignored="id.not")
    assert read(server, direction) == (expected if direction is ASC else expected[::-1])


@pytest.mark.parametrize("direction", list(Direction))
def test_later_row_proves_a_second_without_a_stated_end(direction: Direction) -> None:
    """Ten or more rows of one second, without an earlier row and with `id.not` ignored, end at a later row."""
    expected = rows(30, 12)
    server = IgnoringServer([*expected, row(9 * 86_400)], V2, ties_mirrored=False, states_end=False, ignored="id.not")
    assert sorted(read(server, direction)) == expected


@pytest.mark.parametrize(
    ("version", "ignored", "direction", "around"),
    [
        (version, ignored, direction, around)
        for version in ApiVersion
        for ignored, direction, around in [
            ("direction, always asc", ASC, "after"),
            ("direction, always desc", DESC, "weeks before"),
            ("before", ASC, "after"),
        ]
    ],
)
@pytest.mark.parametrize("count", COUNTS)
def test_other_side_that_cannot_be_read_is_replaced_by_what_follows(
    count: int, version: ApiVersion, ignored: str, direction: Direction, around: str
) -> None:
    """Where the probe cannot be read, a row past the window in reading direction proves the end."""
    expected = [row(2 * number + 1, f"spread-{number:04}") for number in range(count)]
    server = IgnoringServer([*expected, *NEIGHBOURS[around]], version, omits_paging_facts=True, ignored=ignored)
    assert sorted(read(server, direction)) == expected


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("direction", list(Direction))
def test_few_rows_of_one_second_need_no_page_number(direction: Direction, count: int) -> None:
    """A server that ignores `page` shows the known rows again instead of an empty page, and they are the end."""
    assert sorted(read(IgnoringServer(rows(30, count), V1, ignored="page and cursor"), direction)) == rows(30, count)


def test_page_size_that_is_ignored_hides_no_row_of_one_second() -> None:
    """The page behind the known rows is the same page for a server that sends pages of its own size."""
    server = IgnoringServer(rows(30, 14), V1, ties_mirrored=False, ignored="page size, always 7")
    with pytest.raises(SourceProtocolError, match="records could be lost here"):
        read(server)


def test_list_of_one_second_from_the_wrong_side_proves_nothing() -> None:
    """A server that ignores the direction lists the beginning of the probe's range, which hides what is missing."""
    expected = [row(second, f"spread-{second:04}") for second in range(0, 60, 2)]
    others = NEIGHBOURS["one second before"]
    server = IgnoringServer([*expected, *others], V2, omits_paging_facts=True, ignored="direction, always asc")
    with pytest.raises(SourceProtocolError, match="does not show its last rows"):
        read(server)


@pytest.mark.parametrize(
    ("ignored", "direction", "parameter"),
    [
        ("since", ASC, "since"),
        ("before", DESC, "before"),
        ("direction, always desc", ASC, "direction"),
        ("direction, always asc", DESC, "direction"),
    ],
)
@pytest.mark.parametrize("version", list(ApiVersion))
def test_ignored_parameter_that_reading_depends_on_is_named(
    version: ApiVersion, ignored: str, direction: Direction, parameter: str
) -> None:
    """Without the bound that moves, or with the wrong order, nothing can be read, and the error names the parameter."""
    everything = [*logs(3 * PAGE_SIZE)["spread"], *NEIGHBOURS["before"], *NEIGHBOURS["after"]]
    with pytest.raises(SourceProtocolError, match=f"The API ignores the parameter {parameter}:"):
        read(IgnoringServer(everything, version, ignored=ignored), direction)
