"""Whether a window may be read now, and what an earlier commit of it means.

Knows: the watermark, the retention, and when a committed manifest belongs to the same dataset.
Must not know: the clock (the present is a parameter), stores.
Its one rule: a window is refused before the first request, not after the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pendulum
from msgspec import UnsetType

from airflow_audit_provider.core.keys import WindowKeys
from airflow_audit_provider.core.manifest import Manifest, TableStamp
from airflow_audit_provider.core.privacy import MaybeStamp
from airflow_audit_provider.core.query import AuditQuery
from airflow_audit_provider.core.tuning import refuse_settle_delay
from airflow_audit_provider.core.window import TimeWindow, format_instant
from airflow_audit_provider.exceptions import (
    CommitConflictError,
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


def refuse_unreadable_window(window: TimeWindow, now: datetime, settle_delay: timedelta) -> None:
    """Raise ``WindowNotSettledError`` or ``RetentionExceededError`` for a window that cannot be read whole now."""
    refuse_settle_delay(settle_delay)
    oldest = whole_windows_start_at(now)
    if window.start < oldest:
        raise RetentionExceededError(
            f"The window {window} starts before {format_instant(oldest)}, and Cloudflare keeps audit logs for "
            f"{RETENTION_MONTHS} months; the oldest {RETENTION_MARGIN.days} days of these may be half gone. Start the "
            "window later; what is older can no longer be had whole from the API."
        )
    _refuse_unsettled(window, now, settle_delay)


def refuse_early_answer(window: TimeWindow, answered_at: datetime | None, settle_delay: timedelta) -> None:
    """Raise ``WindowNotSettledError`` when by the API's own clock the window was not settled when it was read.

    ``answered_at`` is the date on the first answer, None where there was none. A worker whose clock is wrong by days
    would else commit a window that is not over.
    """
    if answered_at is not None:
        _refuse_unsettled(window, answered_at + CLOCK_TOLERANCE, settle_delay)


def _refuse_unsettled(window: TimeWindow, now: datetime, settle_delay: timedelta) -> None:
    settled_at = window.settled_at(settle_delay)
    if settled_at > now:
        raise WindowNotSettledError(
            f"The window {window} may be read from {format_instant(settled_at)} on: its end plus the settle delay of "
            f"{settle_delay}. Run it again then, use deferrable=True to wait for it, or shorten settle_delay.",
            settled_at=settled_at,
            retry_after=(settled_at - now).total_seconds(),
        )


def refuse_overlap(keys: WindowKeys, listed: Iterable[str]) -> None:
    """Raise ``CommitConflictError`` when a listed manifest is of a window that overlaps: records would land twice."""
    for key in listed:
        if keys.overlaps(key):
            raise CommitConflictError(
                f"The destination holds a window that overlaps {keys.window}, so records would lie there twice. Give "
                "every division of time, such as days and hours, a destination of its own.",
                key=key,
            )


def refuse_other_dataset(committed: Manifest, query: AuditQuery, key: str) -> None:
    """Raise ``CommitConflictError`` when the destination holds the same window of another audit log or filter."""
    if committed.query != query:
        raise CommitConflictError(
            f"The destination holds this window of another audit log: {committed.query} and not {query}. "
            "Give every account, API version and filter a destination of its own.",
            key=key,
        )


def refuse_other_format(committed: Manifest, file_format: str, compression: str, key: str) -> None:
    """Raise ``CommitConflictError`` when late records would be added in another format than the committed ones."""
    if (committed.file_format, committed.compression) != (file_format, compression):
        raise CommitConflictError(
            f"The window is committed as {committed.file_format} with {committed.compression} compression, not "
            f"{file_format} with {compression}. Use another destination, or replace=True to write it anew.",
            key=key,
        )


def refuse_other_schema(committed: Manifest, table: TableStamp | UnsetType, key: str) -> None:
    """Raise ``CommitConflictError`` when late records would be added in another schema than the committed ones.

    A committed minor version that is older is none of those: it is written on as it is (see ``PullOrder.upon``).
    """
    if _lineage(committed.table) != _lineage(table):
        raise CommitConflictError(
            f"The window is committed in the schema {_named(committed.table)}, not {_named(table)}. Use another "
            "destination, or replace=True to write it anew.",
            key=key,
        )
    if committed.table and table and _minor(committed.table) > _minor(table):
        raise CommitConflictError(
            f"The window is committed in the schema {_named(committed.table)}, newer than {_named(table)}. Upgrade "
            "airflow-audit-provider.",
            key=key,
        )


def refuse_other_privacy(committed: Manifest, stamp: MaybeStamp, key: str) -> None:
    """Raise ``CommitConflictError`` when late records would be added under another privacy rule or another key."""
    if committed.privacy != stamp:
        raise CommitConflictError(
            f"The window is committed under {_ruled(committed.privacy)}, not {_ruled(stamp)}. Use another destination, "
            "or replace=True to write it anew.",
            key=key,
        )


def _lineage(table: TableStamp | UnsetType) -> tuple[str, str]:
    return (table.schema, table.version.split(".")[0]) if table else ("raw", "")


def _minor(table: TableStamp) -> int:
    return int(table.version.split(".")[1])


def _named(table: TableStamp | UnsetType) -> str:
    return f"{table.schema} {table.version}" if table else "raw"


def _ruled(stamp: MaybeStamp) -> str:
    if not stamp:
        return "no privacy rule"
    key = f" and key {stamp.key_id}" if stamp.key_id else ""
    return (
        f"the privacy rule {stamp.name!r} version {stamp.rule_version} (pseudonymise {list(stamp.pseudonymise)}, drop "
        f"{list(stamp.drop)}{key})"
    )
