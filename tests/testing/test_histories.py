"""Tests that the fake's resource histories are those of its own log, in the API's form."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_audit_provider.testing.changes import SeededChange, seeded_changes
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.instants import SECOND_NS, to_ns
from tests.testing.fake_requests import DAYS, START, V2, as_id, envelope_of, fake_with, get


def _changed(*specs: str, count: int = 30) -> tuple[FakeCloudflare, list[SeededChange]]:
    fake = fake_with(*specs, records_per_day=20)
    changes = seeded_changes(3, [to_ns(START) + number * 60 * SECOND_NS for number in range(count)])
    for change in changes:
        fake.add(change.raw, "v2")
    return fake, changes


def _ask(fake: FakeCloudflare, change: SeededChange, **params: Any) -> tuple[int, Any]:
    given = {"action_time": as_id(change.raw)[1], **DAYS["v2"], **params}
    response = get(fake, f"{V2}/{change.record_id}/history", **given)
    return response.status, envelope_of(response)


def test_seeded_changes_follow_from_one_another() -> None:
    """The value before a change is the value after the one before it, and the same seed gives the same changes."""
    changes = seeded_changes(3, range(1, 100))
    assert changes == seeded_changes(3, range(1, 100))
    states: dict[str, Any] = {}
    for change in changes:
        assert change.before == states.get(change.resource_id)
        assert (change.before is None) is (msgspec.json.decode(change.raw)["action"]["type"] == "create")
        states[change.resource_id] = change.after
    assert {change.after is None for change in changes} == {True, False}


def test_history_pages_are_the_records_of_the_resource() -> None:
    """Pages by cursor have each record of the resource once, with their number and the quality."""
    fake, changes = _changed()
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        status, envelope = _ask(fake, changes[-1], limit=3, direction="asc", **cursor)
        stated = envelope["result_info"]
        assert (status, stated["history_status"], stated["count"]) == (200, "exact", len(envelope["result"]))
        found += [record["id"] for record in envelope["result"]]
        if "cursor" not in stated:
            break
        cursor = {"cursor": stated["cursor"]}
    assert found == [change.record_id for change in changes if change.resource_id == changes[-1].resource_id]


@pytest.mark.parametrize(
    ("spec", "status", "stated"),
    [
        ("history_status=approximate", 200, "approximate"),
        ("history_status", 200, "unavailable"),
        ("history_status=not_found", 404, "unavailable"),
        ("status=500", 200, "exact"),
        ("status=500,endpoint=categories", 200, "exact"),
    ],
)
def test_history_misbehaves_only_if_it_is_named(spec: str, status: int, stated: str) -> None:
    """A switch of another endpoint does not change a history."""
    fake, changes = _changed(spec)
    found, envelope = _ask(fake, changes[0])
    assert (found, envelope["result_info"]["history_status"]) == (status, stated)
    assert bool(envelope["result"]) is (stated in ("exact", "approximate"))


def test_history_switch_counts_only_histories() -> None:
    """The requests of each endpoint are counted separately."""
    fake, changes = _changed("status=503,endpoint=history,first=1")
    get(fake, V2, **DAYS["v2"])
    get(fake, f"{V2}/product_categories")
    assert [_ask(fake, changes[0])[0] for _ in range(2)] == [503, 200]


@pytest.mark.parametrize(
    ("params", "status"),
    [({"action_time": ""}, 400), ({"since": ""}, 400), ({"action_time": "2026-10-26T02:00:00Z"}, 404)],
)
def test_history_needs_the_time_of_the_record(params: dict[str, str], status: int) -> None:
    """A missing time is refused, and a time far from the record's own does not find it."""
    fake, changes = _changed()
    assert _ask(fake, changes[0], **params)[0] == status
