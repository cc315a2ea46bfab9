"""Tests which records are visible at the fake's current time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_audit_provider.testing.clock import DEFAULT_START, ManualClock
from tests.testing.fake_requests import DAYS, V1, envelope_of, fake_with, get, ids, pages


def _add_one(fake_day: str, name: str) -> bytes:
    return f'{{"id":"{name}","when":"{fake_day}"}}'.encode()


def test_future_record_is_not_visible_yet() -> None:
    """Hides records later than now until the clock reaches them."""
    clock = ManualClock()
    fake = fake_with(clock=clock)
    far = {"since": "2026-11-01", "before": "2027-01-01", "per_page": 1000}
    newest = envelope_of(get(fake, V1, **far))["result"][0]["when"]
    assert newest <= "2026-11-02T12:00:00Z"
    clock.advance(86_400)
    assert "2026-11-02T12:00:00Z" < envelope_of(get(fake, V1, **far))["result"][0]["when"] <= "2026-11-03T12:00:00Z"


def test_retention() -> None:
    """Without since everything kept comes back, and nothing older than the retention."""
    fake = fake_with(retention=timedelta(days=3))
    found = [record["when"] for page in pages(fake, "v1", since="", before="", per_page=1000) for record in page]
    assert "2026-10-30T12" <= min(found) < "2026-10-30T14"
    assert max(found) <= "2026-11-02T12"
    assert not list(fake.truth("v1", None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 10, 30, tzinfo=UTC)))


def test_default_retention_is_eighteen_months() -> None:
    """The oldest day kept is eighteen months back."""
    fake = fake_with(records_per_day=5)
    oldest = envelope_of(get(fake, V1, direction="asc", per_page=1))["result"][0]["when"]
    assert "2025-05-03" <= oldest[:10] <= "2025-05-05"


def test_deep_pages_are_cheap_and_right() -> None:
    """A page far back is found by counting days, and agrees with the truth."""
    fake = fake_with(records_per_day=1500)
    start, end = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 6, 8, tzinfo=UTC)
    params = {"since": "2025-06-01", "direction": "asc", "per_page": 1000}
    truth = [row.id for row in fake.truth("v1", None, start, end)]
    assert [record["id"] for record in envelope_of(get(fake, V1, page=4, **params))["result"]] == truth[3000:4000]
    assert envelope_of(get(fake, V1, page=500, **params))["result"]


def test_late_arrival_by_time() -> None:
    """A record may become visible later than it happened."""
    clock = ManualClock()
    fake = fake_with(clock=clock, records_per_day=0)
    fake.add(_add_one("2026-10-26T01:00:00Z", "late"), visible_at=DEFAULT_START + timedelta(minutes=5))
    assert ids(pages(fake, "v1")) == []
    clock.advance(300)
    assert ids(pages(fake, "v1")) == ["late"]
    assert len(list(fake.truth("v1", None, datetime(2026, 10, 26, tzinfo=UTC), DEFAULT_START))) == 1


def test_late_arrival_by_request() -> None:
    """A record may become visible with the n-th audit request; a token check does not count."""
    fake = fake_with(records_per_day=0)
    fake.add(_add_one("2026-10-26T01:00:00Z", "late"), at_request=3)
    seen = []
    for _ in range(4):
        get(fake, "/client/v4/user/tokens/verify")
        seen.append(len(envelope_of(get(fake, V1, **DAYS["v1"]))["result"]))
    assert seen == [0, 0, 1, 1]


def test_added_among_generated() -> None:
    """A record added to a generated day takes its place in time, filters and counts included."""
    fake = fake_with()
    before = ids(pages(fake, "v1", direction="asc"))
    filtered = ids(pages(fake, "v1", action__type="late"))
    fake.add(b'{"id":"added","when":"2026-10-26T12:00:00Z","action":{"type":"late"}}')
    after = ids(pages(fake, "v1", direction="asc"))
    assert len(after) == len(before) + 1
    assert "added" in after
    assert (filtered, ids(pages(fake, "v1", action__type="late"))) == ([], ["added"])
