"""The manifest states the query, how each slice ended, and exact counts of requests, pages and records."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from airflow_audit_provider.testing.settings import ACCOUNT_ID, CursorEnd
from tests.pipelines.pull.counted_records import crowded_instant, spaced
from tests.pipelines.pull.landing import END, START, fake_with, land, pull_spec, record_at

pytestmark = pytest.mark.integration

NOTHING = {
    "request_count": 1,
    "retry_count": 0,
    "page_count": 1,
    "throttled_seconds": 0.0,
    "seen_count": 0,
    "outside_count": 0,
    "repeated_count": 0,
}
NO_CURSOR, OTHER_SIDE, CUT = "no cursor", "read from the other side", "cut where time had advanced"
EMPTY, CROSSED = "empty page", "a row past the window's end"


def _committed(fake: FakeCloudflare, clock: ManualClock, path: Path, version: str, **changes: Any) -> dict[str, Any]:
    """Lands the usual day with concurrency 1; returns the decoded manifest."""
    rate_limiter = RateLimiter(changes.pop("limit", None))
    reader, store = (
        AuditLogReader(DirectTransport(fake, clock), clock, rate_limiter, RetryLimits()),
        LocalStore(str(path)),
    )
    outcome = land(pull_spec(version, **{"concurrency": 1, **changes}), reader, store)
    manifest: dict[str, Any] = msgspec.json.decode(store.read(outcome.manifest_key) or b"")
    return manifest


def _read_figures(manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns the fetch figures without those of a resumed attempt, which other tests check."""
    return {name: figure for name, figure in manifest["fetch"].items() if name in NOTHING or name == "ended_by"}


def _figures(ended_by: dict[str, int], **changed: float) -> dict[str, Any]:
    return {**NOTHING, **changed, "ended_by": ended_by}


@pytest.mark.parametrize(
    ("version", "count", "figures"),
    [
        ("v1", 0, _figures({EMPTY: 1}, request_count=3, page_count=3)),
        ("v2", 0, _figures({EMPTY: 1}, request_count=3, page_count=3)),
        ("v2", 501, _figures({NO_CURSOR: 1}, seen_count=501)),
        ("v1", 501, _figures({OTHER_SIDE: 1}, seen_count=501, request_count=2, page_count=2)),
        # The second slice starts at the last row of the first page, so that row is returned twice.
        (
            "v2",
            1401,
            _figures({CUT: 1, NO_CURSOR: 1}, seen_count=1402, repeated_count=1, request_count=2, page_count=2),
        ),
        (
            "v1",
            1401,
            _figures({CUT: 1, OTHER_SIDE: 1}, seen_count=1402, repeated_count=1, request_count=3, page_count=3),
        ),
    ],
)
def test_undisturbed_window_has_exact_figures(
    version: str, count: int, figures: dict[str, Any], tmp_path: Path
) -> None:
    """Requests, pages, seen and repeated records, and the reasons that ended the slices are exact."""
    clock = ManualClock()
    manifest = _committed(spaced(60, count, version, clock=clock, cursor_end=CursorEnd.NULL), clock, tmp_path, version)
    assert _read_figures(manifest) == figures
    assert manifest["record_count"] == count


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_records_next_to_the_window_are_counted_as_outside(version: str, tmp_path: Path) -> None:
    """Rows that only the margins return are counted as seen and as outside, and do not land."""
    clock = ManualClock()
    fake = spaced(60, 700, version, clock=clock)
    for number, when in enumerate((START - timedelta(milliseconds=1), START - timedelta(milliseconds=999), END)):
        fake.add(record_at(f"{when:%Y-%m-%dT%H:%M:%S.%fZ}", f"outside-{number}", version), version)
    manifest = _committed(fake, clock, tmp_path, version)
    assert _read_figures(manifest) == _figures({CROSSED: 1}, seen_count=703, outside_count=3)
    assert manifest["record_count"] == 700


@pytest.mark.parametrize(
    ("switch", "retries", "slept_seconds"),
    [("status=503,first=2", 2, 0.75 + 1.5), ("rate_limited=7,first=1", 1, 7.5), ("no_answer,first=1", 1, 0.75)],
)
def test_retries_are_counted(switch: str, retries: int, slept_seconds: float, tmp_path: Path) -> None:
    """A failed request counts as a request and a retry, not as a page."""
    clock = ManualClock()
    manifest = _committed(spaced(60, 501, "v2", switch, clock=clock, cursor_end=CursorEnd.NULL), clock, tmp_path, "v2")
    expected = _figures({NO_CURSOR: 1}, seen_count=501, request_count=1 + retries, retry_count=retries)
    assert _read_figures(manifest) == expected
    assert sum(clock.sleeps) == pytest.approx(slept_seconds)


def test_throttled_seconds_are_counted(tmp_path: Path) -> None:
    """Three requests at one a minute wait for two periods, each a fiftieth longer than the limit states."""
    clock = ManualClock()
    fake = spaced(60, 1401, "v1", clock=clock)
    manifest = _committed(fake, clock, tmp_path, "v1", limit=RateLimit(1, 60))
    assert manifest["fetch"]["throttled_seconds"] == pytest.approx(2 * 61.2)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_rows_of_a_crowded_instant_add_up(version: str, tmp_path: Path) -> None:
    """Every row of a crowded instant counts as landed, outside or repeated."""
    clock = ManualClock()
    manifest = _committed(crowded_instant(version, 2500, clock=clock), clock, tmp_path, version)
    fetch = manifest["fetch"]
    assert manifest["record_count"] == 2700
    assert fetch["seen_count"] == 2700 + fetch["repeated_count"] + fetch["outside_count"]
    assert fetch["repeated_count"] > 0
    assert fetch["page_count"] == fetch["request_count"]


@pytest.mark.parametrize("concurrency", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_figures_add_up_at_any_concurrency(version: str, concurrency: int, tmp_path: Path) -> None:
    """Seen is landed plus outside plus repeated, requests are those the API received, and each slice has one end."""
    clock = ManualClock()
    fake = fake_with(clock, "status=503,every=5", records_per_day=12_000)
    manifest = _committed(fake, clock, tmp_path, version, concurrency=concurrency)
    fetch = manifest["fetch"]
    assert fetch["seen_count"] == 12_000 + fetch["outside_count"] + fetch["repeated_count"]
    assert fetch["request_count"] == len(fake.requests)
    assert fetch["retry_count"] == sum(request.status == 503 for request in fake.requests) > 0
    assert fetch["page_count"] == fetch["request_count"] - fetch["retry_count"]
    assert sum(fetch["ended_by"].values()) >= 1


def test_recount_is_counted(tmp_path: Path) -> None:
    """The requests and rows of a recount are in the figures, and the manifest names the recount."""
    clock = ManualClock()
    fake = spaced(60, 501, "v2", clock=clock, cursor_end=CursorEnd.NULL)
    manifest = _committed(fake, clock, tmp_path, "v2", verify="recount")
    expected = _figures({NO_CURSOR: 2}, seen_count=1002, request_count=2, page_count=2)
    assert _read_figures(manifest) == expected
    assert (manifest["verified"], manifest["record_count"]) == ("recount", 501)


def test_manifest_states_the_query(tmp_path: Path) -> None:
    """The manifest has version, scope, filters and window of the query, and no credential."""
    clock = ManualClock()
    fake = spaced(60, 10, "v1", clock=clock)
    manifest = _committed(fake, clock, tmp_path, "v1", filters={"action_type": "late", "hide_user_logs": True})
    assert manifest["query"]["version"] == "v1"
    assert ACCOUNT_ID in msgspec.json.encode(manifest["query"]).decode()
    assert manifest["query"]["filters"] == [["action.type", "late"], ["hide_user_logs", "true"]]
    assert manifest["window"] == {"start": "2026-10-26T00:00:00Z", "end": "2026-10-27T00:00:00Z"}
    assert manifest["window_rule"] == "explicit bounds"
    assert next(iter(fake.settings.tokens)) not in msgspec.json.encode(manifest).decode()
