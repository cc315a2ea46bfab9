"""Whether a window may be read now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.core.windows.readiness import (
    CLOCK_TOLERANCE,
    check_settled_by_server_clock,
    check_window_readable,
    retention_starts_at,
    whole_windows_start_at,
)
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import (
    ConfigurationError,
    RetentionExceededError,
    WindowNotSettledError,
)

_DAY = TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
_SETTLE = timedelta(minutes=10)
_MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("now", "oldest"),
    [
        (datetime(2026, 11, 23, 12, tzinfo=UTC), datetime(2025, 5, 23, 12, tzinfo=UTC)),
        (datetime(2026, 8, 31, tzinfo=UTC), datetime(2025, 2, 28, tzinfo=UTC)),
    ],
)
def test_eighteen_calendar_months_are_kept(now: datetime, oldest: datetime) -> None:
    """The oldest instant is the same day and time eighteen months ago, or that month's last day."""
    assert retention_starts_at(now) == oldest
    assert whole_windows_start_at(now) == oldest + timedelta(days=3)


def test_window_may_be_read_once_it_has_settled() -> None:
    """A window may be read at its end plus the delay, but not a microsecond earlier."""
    settled_at = _DAY.end + _SETTLE
    check_window_readable(_DAY, settled_at, _SETTLE)
    with pytest.raises(WindowNotSettledError, match="2026-11-02T00:10:00Z") as caught:
        check_window_readable(_DAY, settled_at - _MICROSECOND, _SETTLE)
    assert caught.value.settled_at == settled_at
    assert caught.value.retry_after == pytest.approx(1e-6)


def test_a_window_without_delay_may_be_read_at_its_end() -> None:
    """A settle delay of zero is allowed, a negative one is not."""
    check_window_readable(_DAY, _DAY.end, timedelta(0))
    with pytest.raises(ConfigurationError, match="timedelta of zero or more"):
        check_window_readable(_DAY, _DAY.end, -_MICROSECOND)


def test_window_older_than_the_retention_is_an_error() -> None:
    """The start may be up to three days after that of the retention's, and no older."""
    now = datetime(2028, 4, 29, tzinfo=UTC)
    check_window_readable(_DAY, now, _SETTLE)
    with pytest.raises(RetentionExceededError, match="18 months"):
        check_window_readable(_DAY, now + _MICROSECOND, _SETTLE)


def test_response_before_the_window_has_settled_is_an_error() -> None:
    """The API's date decides, with a tolerance of a minute; a response without a date is accepted."""
    settled_at = _DAY.settled_at(_SETTLE)
    with pytest.raises(WindowNotSettledError):
        check_settled_by_server_clock(_DAY, settled_at - CLOCK_TOLERANCE - _MICROSECOND, _SETTLE)
    check_settled_by_server_clock(_DAY, settled_at - CLOCK_TOLERANCE, _SETTLE)
    check_settled_by_server_clock(_DAY, None, _SETTLE)
