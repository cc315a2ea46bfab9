"""Tests that the manual clock moves only when it sleeps or is advanced."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.testing.clock import DEFAULT_START, ManualClock
from airflow_audit_provider.testing.instants import format_instant, parse_instant, to_ns


def test_sleep_moves_both_times_and_is_recorded() -> None:
    """Moves and records each sleep; ``advance`` is not recorded."""
    clock: Clock = (manual := ManualClock())
    clock.sleep(1.5)
    asyncio.run(clock.asleep(2))
    manual.advance(10)
    assert manual.sleeps == [1.5, 2]
    assert clock.monotonic() == 13.5
    assert clock.now() == DEFAULT_START + timedelta(seconds=13.5)
    assert clock.jitter() == clock.jitter() == 0.5


def test_naive_start_is_rejected() -> None:
    """Rejects a start without time zone and converts any other to UTC."""
    with pytest.raises(ValueError, match="timezone"):
        ManualClock(DEFAULT_START.replace(tzinfo=None))
    assert ManualClock(datetime.fromisoformat("2026-01-01T02:00:00+02:00")).now() == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01t00:00:00.1z", 10**8),
        ("1970-01-01T01:00:00.123456789+01:00", 123_456_789),
        ("1969-12-31T23:30:00-00:30", 0),
        ("2024-03-15T14:32:10.87573Z", to_ns(datetime(2024, 3, 15, 14, 32, 10, 875730, tzinfo=UTC))),
    ],
)
def test_instants_are_read(text: str, nanoseconds: int) -> None:
    """Any fraction and any offset is read to the nanosecond."""
    assert parse_instant(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "now", "2026-02-30", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00Z"]
)
def test_invalid_instant_is_rejected(text: str) -> None:
    """Rejects everything but RFC 3339."""
    with pytest.raises(ValueError, match=r"."):
        parse_instant(text)


@pytest.mark.parametrize("digits", range(10))
@pytest.mark.parametrize("offset", [0, 90, -210])
def test_instants_are_written(digits: int, offset: int) -> None:
    """Reads back what it wrote, truncated to the digits."""
    instant = 1_700_000_000_123_456_789
    step = 10 ** (9 - digits)
    assert parse_instant(format_instant(instant, digits, offset)) == instant // step * step
