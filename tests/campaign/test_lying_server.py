"""Tests of the campaign's server: honest, it does what the documentation says, and a lie changes what it names."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.campaign.audit_records import Row, nanoseconds
from tests.campaign.lie import Lie
from tests.campaign.lies import LIES
from tests.campaign.logs import TrueLog
from tests.campaign.lying_server import PATHS, TOKEN, CampaignClock, LogServer, Manners

START = datetime(2026, 7, 1, tzinfo=UTC)
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


def server_of(version: str, count: int = 5, lie: str = "", **manners: Any) -> LogServer:
    """Returns a server with so many rows, one a minute."""
    instants = [nanoseconds(START + timedelta(minutes=number)) for number in range(count)]
    rows = [Row(number, at_ns, f"r{number}", b'{"id":"r%d"}' % number) for number, at_ns in enumerate(instants)]
    end = START + timedelta(hours=1)
    log = TrueLog(version, START, end, end, tuple(rows))
    liar = LIES.get(lie, Lie)(Random(1), log, Manners(**manners))
    return LogServer(log, "account", Manners(**manners), liar, CampaignClock(end))


def get(server: LogServer, version: str, **params: Any) -> tuple[int, dict[str, Any]]:
    """Sends a request; returns status and body."""
    window = {"since": "2026-07-01T00:00:00Z", "before": "2026-07-01T01:00:00Z", "direction": "asc"}
    query = urlencode([*{**window, **params}.items()], doseq=True)
    answer = server.respond(PATHS[version, "account"], query, AUTHORIZED)
    return answer.status, json.loads(answer.body)


def ids(body: dict[str, Any]) -> list[str]:
    """Returns the ids of a body."""
    return [record["id"] for record in body["result"]]


def test_v1_pages_hold_the_rows_in_order() -> None:
    """Pages follow each other without a gap, and the one behind the last is empty."""
    server = server_of("v1")
    pages = [ids(get(server, "v1", page=page, per_page=2)[1]) for page in (1, 2, 3, 4)]
    assert pages == [["r0", "r1"], ["r2", "r3"], ["r4"], []]


def test_v1_refuses_the_page_behind_the_last_where_its_manners_say_so() -> None:
    """Status 400 stands for the end."""
    server = server_of("v1", refuses_past_end=True)
    assert [get(server, "v1", page=page, per_page=3)[0] for page in (1, 2, 3)] == [200, 200, 400]


@pytest.mark.parametrize("kind", ["position", "offset"])
@pytest.mark.parametrize("place", ["cursor", "after", "both"])
def test_v2_cursor_leads_through_all_rows(kind: str, place: str) -> None:
    """A cursor is followed from either place until none is left."""
    server = server_of("v2", cursor_kind=kind, cursor_place=place)
    found: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(4):
        _, body = get(server, "v2", limit=2, direction="desc", **cursor)
        found += ids(body)
        paging = body["result_info"]
        token = paging.get("cursor") or paging.get("cursors", {}).get("after")
        if not token:
            break
        cursor = {"cursor": token}
    assert found == ["r4", "r3", "r2", "r1", "r0"]


def test_v2_cursor_of_another_query_is_refused() -> None:
    """A cursor belongs to its bounds and direction."""
    server = server_of("v2")
    token = get(server, "v2", limit=2)[1]["result_info"]["cursor"]
    assert get(server, "v2", limit=2, cursor=token, direction="desc")[0] == 400
    assert server.violations


def test_v2_id_not_leaves_rows_out() -> None:
    """The filter may be repeated."""
    assert ids(get(server_of("v2"), "v2", **{"id.not": ["r1", "r3"]})[1]) == ["r0", "r2", "r4"]


@pytest.mark.parametrize(("manners", "expected"), [({}, ["r1", "r2"]), ({"since_inclusive": False}, ["r2"])])
def test_bounds_are_inclusive_or_not(manners: dict[str, Any], expected: list[str]) -> None:
    """Manners decide whether a row at the bound is shown."""
    server = server_of("v1", **manners)
    _, body = get(server, "v1", since="2026-07-01T00:01:00Z", before="2026-07-01T00:02:00Z")
    assert ids(body) == expected


@pytest.mark.parametrize("params", [{"per_page": 1001}, {"per_page": 0}, {"limit": 5}, {"direction": "up"}])
def test_request_that_the_documentation_does_not_allow_is_a_violation(params: dict[str, Any]) -> None:
    """It is refused and noted."""
    server = server_of("v1")
    assert get(server, "v1", **params)[0] == 400
    assert len(server.violations) == 1


def test_wrong_credential_is_refused() -> None:
    """Only the bearer token opens the log."""
    server = server_of("v1")
    assert server.respond(PATHS["v1", "account"], "", {"authorization": "Bearer other"}).status == 403


def test_lie_takes_effect_at_the_answer_it_names() -> None:
    """The first answer is empty, the second has the rows."""
    server = server_of("v1", lie="first-answer-empty")
    assert [ids(get(server, "v1")[1]) for _ in range(2)] == [[], ["r0", "r1", "r2", "r3", "r4"]]


def test_empty_page_between_others_loses_no_row() -> None:
    """A cursor from an empty page leads to the rows that page did not show."""
    server = server_of("v2", 9, lie="empty-pages", cursor_kind="offset")
    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while not pages or cursor:
        _, body = get(server, "v2", limit=2, **cursor)
        pages.append(ids(body))
        token = body["result_info"].get("cursor")
        cursor = {"cursor": token} if token else {}
    found = [record_id for page in pages for record_id in page]
    assert found == [f"r{number}" for number in range(9)]
    assert [] in pages


@pytest.mark.parametrize("lie", LIES)
def test_lie_has_a_meaning_for_the_table(lie: str) -> None:
    """Every lie says in words what the server does, and no two say the same."""
    meanings = [kind.meaning for kind in LIES.values()]
    assert meanings.count(LIES[lie].meaning) == 1
    assert "|" not in LIES[lie].meaning
