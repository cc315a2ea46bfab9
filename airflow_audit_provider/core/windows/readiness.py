"""Whether a window may be read now, and what an earlier commit of it means.

Knows: the watermark, the retention, and when a committed manifest belongs to the same dataset.
Must not know: the clock (the present is a parameter), stores.
Its one rule: a window is refused before the first request, not after the last.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pendulum

from airflow_audit_provider.core.limits import check_settle_delay
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant
from airflow_audit_provider.exceptions import (
    RetentionExceededError,
    WindowNotSettledError,
)

RETENTION_MONTHS = 18
RETENTION_MARGIN = timedelta(days=3)
# How far a worker's clock may be ahead of the API's before its word on what is settled is not believed.
CLOCK_TOLERANCE = timedelta(minutes=1)


def retention_starts_at(now: datetime) -> datetime:
    """Return the instant before which the API has forgotten everything: 18 calendar months ago."""
    return pendulum.instance(now).subtract(months=RETENTION_MONTHS)


def whole_windows_start_at(now: datetime) -> datetime:
    """Return the oldest start of a window that is surely still whole: a few days' margin after the retention's start.

    What 18 months are to the day is not documented, and a window that is half forgotten looks complete.
    """
    return retention_starts_at(now) + RETENTION_MARGIN


def check_window_readable(window: TimeWindow, now: datetime, settle_delay: timedelta) -> None:
    """Raise ``WindowNotSettledError`` or ``RetentionExceededError`` for a window that cannot be read whole now."""
    check_settle_delay(settle_delay)
    oldest = whole_windows_start_at(now)
    if window.start < oldest:
        raise RetentionExceededError(
            f"The window {window} starts before {format_instant(oldest)}, and Cloudflare keeps audit logs for "
            f"{RETENTION_MONTHS} months; the oldest {RETENTION_MARGIN.days} days of these may be half gone. Start the "
            "window later; what is older can no longer be had whole from the API."
        )
    _check_settled(window, now, settle_delay)


def check_settled_by_server_clock(window: TimeWindow, answered_at: datetime | None, settle_delay: timedelta) -> None:
    """Raise ``WindowNotSettledError`` when by the API's own clock the window was not settled when it was read.

    ``answered_at`` is the date on the first answer, None where there was none. A worker whose clock is wrong by days
    would else commit a window that is not over.
    """
    if answered_at is not None:
        _check_settled(window, answered_at + CLOCK_TOLERANCE, settle_delay)


def _check_settled(window: TimeWindow, now: datetime, settle_delay: timedelta) -> None:
    settled_at = window.settled_at(settle_delay)
    if settled_at > now:
        raise WindowNotSettledError(
            f"The window {window} may be read from {format_instant(settled_at)} on: its end plus the settle delay of "
            f"{settle_delay}. Run it again then, use deferrable=True to wait for it, or shorten settle_delay.",
            settled_at=settled_at,
            retry_after=(settled_at - now).total_seconds(),
        )
