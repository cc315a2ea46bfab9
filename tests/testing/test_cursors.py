"""Tests of version 2's cursors and their misbehaviours."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_audit_provider.testing.settings import CursorEnd, CursorPlace
from tests.testing.fake_requests import DAYS, V2, envelope_of, fake_with, get, ids, pages, true_ids


@pytest.mark.parametrize("place", list(CursorPlace))
def test_cursor_is_in_the_configured_place(place: CursorPlace) -> None:
    """Returns the cursor in the documented place, in the SDK's, or in both."""
    facts = envelope_of(get(fake_with(cursor_place=place), V2, **DAYS["v2"]))["result_info"]
    assert ("cursor" in facts) == (place in (CursorPlace.DOCUMENTED, CursorPlace.BOTH))
    assert ("cursors" in facts) == (place in (CursorPlace.SDK, CursorPlace.BOTH))


@pytest.mark.parametrize("place", list(CursorPlace))
@pytest.mark.parametrize(("end", "cursor_value"), [(CursorEnd.NULL, None), (CursorEnd.EMPTY, "")])
def test_last_page_has_the_configured_empty_cursor(
    end: CursorEnd, cursor_value: str | None, place: CursorPlace
) -> None:
    """Leaves the place empty or out on the last page; a lost cursor is always left out."""
    settings: dict[str, Any] = {"cursor_place": place, "cursor_end": end}
    facts = envelope_of(get(fake_with(**settings), V2, limit=1000, **DAYS["v2"]))["result_info"]
    assert facts.get("cursor", cursor_value) == facts.get("cursors", {"after": cursor_value})["after"] == cursor_value
    assert ("cursor" in facts, "cursors" in facts) == (place != CursorPlace.SDK, place != CursorPlace.DOCUMENTED)
    lost = envelope_of(get(fake_with("missing_cursor", **settings), V2, **DAYS["v2"]))["result_info"]
    assert not {"cursor", "cursors"} & lost.keys()


def test_empty_page_with_cursor_is_not_the_end() -> None:
    """Returns every record to a client that follows the cursor."""
    fake = fake_with("empty_page")
    found = pages(fake, "v2")
    assert [] in found
    assert ids(found) == true_ids(fake, "v2")[::-1]


def test_cursor_expires() -> None:
    """Refuses a cursor chain after the configured number of uses; a new chain works."""
    fake = fake_with("cursor_expires=2")
    first = envelope_of(get(fake, V2, limit=10, **DAYS["v2"]))["result_info"]["cursor"]
    second = envelope_of(get(fake, V2, limit=10, cursor=first, **DAYS["v2"]))["result_info"]["cursor"]
    refused = get(fake, V2, limit=10, cursor=second, **DAYS["v2"])
    assert refused.status == 400
    assert envelope_of(refused)["errors"] == [{"message": "cursor has expired"}]
    assert get(fake, V2, limit=10, **DAYS["v2"]).status == 200


def test_repeated_cursor() -> None:
    """Returns the same cursor forever."""
    fake = fake_with("repeated_cursor")
    cursor = envelope_of(get(fake, V2, limit=10, **DAYS["v2"]))["result_info"]["cursor"]
    for _ in range(3):
        assert envelope_of(get(fake, V2, limit=10, cursor=cursor, **DAYS["v2"]))["result_info"]["cursor"] == cursor


def test_cursor_or_its_place_is_missing() -> None:
    """Returns a full page without its cursor, or without result_info."""
    page = envelope_of(get(fake_with("missing_cursor"), V2, **DAYS["v2"]))
    assert len(page["result"]) == 100
    assert "cursor" not in page["result_info"]
    assert "result_info" not in envelope_of(get(fake_with("missing_result_info"), V2, **DAYS["v2"]))


@pytest.mark.parametrize("cursor", ["nonsense", "!!!", "WzEsMl0"])
def test_invalid_cursor_is_refused(cursor: str) -> None:
    """Returns 400 with a message and no code for a truncated or invented cursor."""
    refused = get(fake_with(), V2, cursor=cursor, **DAYS["v2"])
    assert refused.status == 400
    assert set(envelope_of(refused)["errors"][0]) == {"message"}


def test_cursor_of_another_window_is_refused() -> None:
    """Refuses a cursor of another window, and accepts another limit."""
    fake = fake_with()
    cursor = envelope_of(get(fake, V2, limit=10, **DAYS["v2"]))["result_info"]["cursor"]
    assert get(fake, V2, limit=20, cursor=cursor, **DAYS["v2"]).status == 200
    assert get(fake, V2, cursor=cursor, since="2026-10-25", before="2026-10-28").status == 400
