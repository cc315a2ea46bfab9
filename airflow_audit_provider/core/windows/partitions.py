"""Divides a run's window into partitions: the whole hours, days or months of a time zone that it consists of.

Invariant: each partition is the window of a run of its own for that hour, day or month, and the plan of a backfill
divides in the same way.
"""

from __future__ import annotations

from datetime import timedelta

from airflow_audit_provider.core.limits import DAY, HOUR, MONTH, check_partition_by
from airflow_audit_provider.core.windows.division import windows_over
from airflow_audit_provider.core.windows.run_window import RunWindow, find_zone
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant
from airflow_audit_provider.exceptions import ConfigurationError

_HOUR = timedelta(hours=1)
# More than all hours that the API keeps. A mistyped year would otherwise fill the memory.
MAX_PARTITIONS = 20_000


def divide(run_window: RunWindow, partition_by: str, timezone: str) -> list[RunWindow]:
    """Returns the partitions of a run's window, oldest first.

    Raises ``ConfigurationError`` if it does not begin and end where partitions do: a part of a day, once committed,
    would overlap the whole day of a later run.
    """
    check_partition_by(partition_by)
    zone, window = find_zone(timezone), run_window.window
    _check_count(window, partition_by)
    windows = windows_over(window, partition_by, timezone)
    start, end = windows[0].start, windows[-1].end
    if (start, end) != (window.start, window.end):
        whole = f"{format_instant(start)} and {format_instant(end)}"
        raise ConfigurationError(
            f"partition_by={partition_by!r} needs a window of whole {partition_by}s in {timezone}, but the window "
            f"{window} begins or ends inside one. If it were committed, a later run for the whole {partition_by} "
            f"would be refused, because the two windows overlap. The whole {partition_by}s around it are between "
            f"{whole}: give these as the window's start and end, or give another timezone or partition_by."
        )
    return [RunWindow(each, run_window.rule, each.start.astimezone(zone).date()) for each in windows]


def whole_partitions(time_range: TimeWindow, partition_by: str, timezone: str) -> TimeWindow:
    """Returns the span of the whole partitions inside a range; raises ``ConfigurationError`` if there is none."""
    _check_count(time_range, partition_by)
    windows = windows_over(time_range, partition_by, timezone)
    whole = [each for each in windows if time_range.start <= each.start and each.end <= time_range.end]
    if not whole:
        raise ConfigurationError(
            f"There is no whole {partition_by} of {timezone} in {time_range} to read. Give an earlier start or a later "
            "end, or a shorter partition_by."
        )
    return TimeWindow(whole[0].start, whole[-1].end)


def _check_count(window: TimeWindow, partition_by: str) -> None:
    hours = window.length / _HOUR
    count = {HOUR: hours, DAY: hours / 24, MONTH: hours / 24 / 28}[partition_by]
    if count > MAX_PARTITIONS:
        raise ConfigurationError(
            f"The window {window} has more than {MAX_PARTITIONS} {partition_by}s. Give a shorter one: Cloudflare keeps "
            "audit logs for 18 months."
        )
