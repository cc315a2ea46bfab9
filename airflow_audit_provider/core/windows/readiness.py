"""Checks whether a window can be read completely now: settled, and inside the API's retention.

The present time is a parameter. Invariant: a window that cannot be read is rejected before the first request.
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

# Cloudflare API docs: audit logs of both versions are kept for 18 months.
RETENTION_MONTHS = 18
RETENTION_MARGIN = timedelta(days=3)
# How far the worker's clock may be ahead of the API's clock before a window counts as not settled.
CLOCK_TOLERANCE = timedelta(minutes=1)
# The newest records of a window that ended less than this ago may still be missing on a replica that lags behind.
RECENT = timedelta(hours=1)


def retention_starts_at(now: datetime) -> datetime:
    """Returns the instant before which the API keeps no records: 18 calendar months ago."""
    return pendulum.instance(now).subtract(months=RETENTION_MONTHS)


def whole_windows_start_at(now: datetime) -> datetime:
    """Returns the oldest start of a window that is certainly still complete: three days after the retention's start.

    How many days 18 months are is not documented, and a window that is partly deleted looks complete.
    """
    return retention_starts_at(now) + RETENTION_MARGIN


def expires_at(window: TimeWindow) -> datetime:
    """Returns the instant from which on a window is refused, because the API may no longer have all of it.

    Months differ in length, so it can be up to three days early.
    """
    expires = pendulum.instance(window.start - RETENTION_MARGIN).add(months=RETENTION_MONTHS)
    # The conversion to text and back turns a pendulum instant into a standard one.
    return datetime.fromisoformat(expires.isoformat())


def is_recent(window: TimeWindow, now: datetime) -> bool:
    """Returns whether a window ended less than an hour ago."""
    return now - window.end < RECENT


def is_newest_due(window: TimeWindow, now: datetime, settle_delay: timedelta) -> bool:
    """Returns whether no later window of the same length is settled yet, so that the window is as new as one can be."""
    return now < window.settled_at(settle_delay) + window.length


def check_window_readable(window: TimeWindow, now: datetime, settle_delay: timedelta) -> None:
    """Raises ``WindowNotSettledError`` or ``RetentionExceededError`` if a window cannot be read completely now."""
    check_settle_delay(settle_delay)
    oldest = whole_windows_start_at(now)
    if window.start < oldest:
        raise RetentionExceededError(
            f"The window {window} starts before {format_instant(oldest)}. Cloudflare keeps audit logs for "
            f"{RETENTION_MONTHS} months, and the oldest {RETENTION_MARGIN.days} days of them may be incomplete. Start "
            "the window later: older records can no longer be read completely from the API."
        )
    _check_settled(window, now, settle_delay)


def check_range_kept(start: datetime, now: datetime) -> None:
    """Raises ``RetentionExceededError`` for the start of a range of which the API no longer keeps the beginning."""
    oldest = retention_starts_at(now)
    if start < oldest - CLOCK_TOLERANCE:
        raise RetentionExceededError(
            f"The range starts at {format_instant(start)}. Cloudflare keeps audit logs for {RETENTION_MONTHS} months, "
            f"that is from {format_instant(oldest)} on. Start later, or omit the argument since to read all that is "
            "kept."
        )


def check_history_begun(window: TimeWindow, history_starts_at: datetime | None) -> None:
    """Raises ``RetentionExceededError`` if a window starts before the API version's own history.

    Cloudflare keeps no version 2 records of earlier events, so the window would be empty and look like a quiet one.
    """
    if history_starts_at is not None and window.start < history_starts_at:
        raise RetentionExceededError(
            f"The window {window} starts before {format_instant(history_starts_at)}, when the history of version 2 of "
            "the API begins. Read earlier windows with api_version='v1' into a destination of their own. If your log "
            "begins on another day, set v2_history_start in section [cloudflare_audit_logs] of Airflow's configuration."
        )


def check_settled_by_server_clock(window: TimeWindow, responded_at: datetime | None, settle_delay: timedelta) -> None:
    """Raises ``WindowNotSettledError`` if the window was not settled by the API's own clock when it was read.

    ``responded_at`` is the ``Date`` of the first response, None without one. A worker whose clock is days ahead would
    otherwise commit a window that has not ended.
    """
    if responded_at is not None:
        _check_settled(window, responded_at + CLOCK_TOLERANCE, settle_delay)


def _check_settled(window: TimeWindow, now: datetime, settle_delay: timedelta) -> None:
    settled_at = window.settled_at(settle_delay)
    if settled_at > now:
        raise WindowNotSettledError(
            f"The window {window} cannot be read before {format_instant(settled_at)}, which is its end plus the settle "
            f"delay of {settle_delay}. Run it again then, set deferrable=True to wait for it, or shorten settle_delay.",
            settled_at=settled_at,
            retry_after=(settled_at - now).total_seconds(),
        )
