"""Defaults and valid ranges of task arguments.

Invariant: imports nothing of the provider but its errors, so parsing a DAG can check a number cheaply.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from airflow_audit_provider.exceptions import ConfigurationError

CONN_TYPE = "cloudflare"
DEFAULT_CONN_ID = "cloudflare_default"
DEFAULT_PARTITION_KEY_FORMAT = "%Y-%m-%d"
DEFAULT_MAX_PART_BYTES = 128 << 20
MIN_PART_BYTES = 1 << 20
DEFAULT_SETTLE_DELAY = timedelta(minutes=15)
# Measured with responses that take 50 ms: six requests keep a core about two thirds busy; each further one takes 8 MB.
DEFAULT_CONCURRENCY = 6
MAX_CONCURRENCY = 64


# Layouts of a dataset's parts.
HIVE, SECURITY_LAKE = "hive", "security_lake"
LAYOUTS = (HIVE, SECURITY_LAKE)
KEEP_ODD_RECORDS, FAIL_ON_ODD_RECORDS = "keep", "fail"
RECOUNT, EDGES, NO_VERIFICATION = "recount", "edges", "none"
DEFAULT_EDGES_PAUSE = timedelta(seconds=30)
MAX_EDGES_PAUSE = timedelta(minutes=10)
HOUR, DAY, MONTH = "hour", "day", "month"
STITCHED = "stitched"
DEFAULT_OVERLAP = timedelta(days=1)
# How far apart the times of one action are in the two versions of the API is unknown; a request takes seconds.
MIN_OVERLAP = timedelta(hours=1)
_SECOND = timedelta(seconds=1)
# Cloudflare documents no figure for the time from an action to its record.
DEFAULT_LATE_DELAY = timedelta(days=1)
GAP_REASONS = ("missing", "late", "unverified")


def is_count(value: object) -> bool:
    """Returns whether a value is a whole number of at least 1; a boolean is not one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def check_minimum_count(minimum_count: object) -> None:
    """Raises ``ConfigurationError`` unless the number is a whole number of at least 1."""
    if not is_count(minimum_count):
        raise ConfigurationError(f"minimum_count is {minimum_count!r}. Set it to a whole number of at least 1.")


def check_odd_records(odd_records: object) -> None:
    """Raises ``ConfigurationError`` unless the choice is ``keep`` or ``fail``."""
    if odd_records not in (KEEP_ODD_RECORDS, FAIL_ON_ODD_RECORDS):
        raise ConfigurationError(f"odd_records is {odd_records!r}. Set it to 'keep' or 'fail'.")


def check_partition_by(partition_by: object) -> None:
    """Raises ``ConfigurationError`` unless the choice is ``hour``, ``day``, ``month`` or None."""
    if partition_by not in (None, HOUR, DAY, MONTH):
        raise ConfigurationError(f"partition_by is {partition_by!r}. Give 'hour', 'day' or 'month', or leave it out.")


def check_verify(verify: object) -> None:
    """Raises ``ConfigurationError`` unless the choice is ``recount``, ``edges``, ``none`` or None."""
    if verify not in (None, RECOUNT, EDGES, NO_VERIFICATION):
        raise ConfigurationError(f"verify is {verify!r}. Give 'recount', 'edges' or 'none', or leave it out.")


def check_edges_pause(pause: timedelta) -> None:
    """Raises ``ConfigurationError`` for a pause before the second look outside 0 to 10 minutes."""
    if not timedelta(0) <= pause <= MAX_EDGES_PAUSE:
        raise ConfigurationError(
            f"The pause before the second look is {pause}. Set it to a time from 0 to {MAX_EDGES_PAUSE}."
        )


def check_concurrency(concurrency: int) -> None:
    """Raises ``ConfigurationError`` for a number of concurrent requests outside 1 to 64."""
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise ConfigurationError(f"concurrency is {concurrency}. Set it to a number from 1 to {MAX_CONCURRENCY}.")


def check_part_size(max_part_bytes: int) -> None:
    """Raises ``ConfigurationError`` for a part size below 1 MiB."""
    if max_part_bytes < MIN_PART_BYTES:
        raise ConfigurationError(f"max_part_bytes is {max_part_bytes}. Set it to at least {MIN_PART_BYTES} (1 MiB).")


def check_length(name: str, length: object) -> None:
    """Raises ``ConfigurationError`` unless a length is None or a timedelta longer than zero."""
    if length is not None and (not isinstance(length, timedelta) or length <= timedelta(0)):
        raise ConfigurationError(f"{name} is {length!r}. Set it to a timedelta longer than zero.")


def check_settle_delay(settle_delay: object) -> None:
    """Raises ``ConfigurationError`` unless the delay is a timedelta of zero or more."""
    if not isinstance(settle_delay, timedelta) or settle_delay < timedelta(0):
        raise ConfigurationError(f"settle_delay is {settle_delay!r}. Set it to a timedelta of zero or more.")


def check_lookback(lookback: object) -> None:
    """Raises ``ConfigurationError`` unless the lookback is None or a timedelta of zero or more."""
    if lookback is not None and (not isinstance(lookback, timedelta) or lookback < timedelta(0)):
        raise ConfigurationError(f"lookback is {lookback!r}. Set it to a timedelta of zero or more, or omit it.")


def check_history(history: object) -> None:
    """Raises ``ConfigurationError`` unless the history is ``stitched`` or None."""
    if history not in (None, STITCHED):
        raise ConfigurationError(f"history is {history!r}. Give {STITCHED!r} for both versions of the API, or omit it.")


def _has_fraction(length: object) -> bool:
    return isinstance(length, timedelta) and bool(length % _SECOND)


def check_overlap(overlap: object) -> None:
    """Raises ``ConfigurationError`` unless the overlap is a timedelta of whole seconds, at least an hour."""
    is_long_enough = isinstance(overlap, timedelta) and overlap >= MIN_OVERLAP
    if not (is_long_enough and (overlap == timedelta.max or not _has_fraction(overlap))):
        raise ConfigurationError(
            f"overlap is {overlap!r}. Set it to a timedelta of whole seconds, at least {MIN_OVERLAP}. The two "
            "versions may state different times for one action, so with a shorter overlap an action at the cut-over "
            "could be in neither. timedelta.max keeps version 1 for as long as it exists."
        )


def check_late_delay(late_delay: object) -> None:
    """Raises ``ConfigurationError`` unless the delay is a timedelta of zero or more."""
    if not isinstance(late_delay, timedelta) or late_delay < timedelta(0):
        raise ConfigurationError(f"late_delay is {late_delay!r}. Set it to a timedelta of zero or more.")


def check_gap_reasons(reasons: object) -> None:
    """Raises ``ConfigurationError`` unless the reasons are some of ``missing``, ``late`` and ``unverified``."""
    if isinstance(reasons, str) or not isinstance(reasons, Collection) or not set(reasons) <= set(GAP_REASONS):
        known = ", ".join(map(repr, GAP_REASONS))
        raise ConfigurationError(f"reasons is {reasons!r}. Give a list of any of {known}.")


def check_max_gaps(max_gaps: object) -> None:
    """Raises ``ConfigurationError`` unless the number is None or a whole number of at least 1."""
    if max_gaps is not None and not is_count(max_gaps):
        raise ConfigurationError(f"max_gaps is {max_gaps!r}. Set it to a whole number of at least 1, or omit it.")


def check_rate_share(rate_share: object) -> None:
    """Raises ``ConfigurationError`` unless the share is a number above 0 and at most 1."""
    is_number = isinstance(rate_share, int | float) and not isinstance(rate_share, bool)
    if not is_number or not 0 < rate_share <= 1:  # type: ignore[operator]  # the line above checks that it is a number
        raise ConfigurationError(
            f"rate_share is {rate_share!r}. Set it to a number above 0 and at most 1, such as 0.1."
        )


def check_max_requests(max_requests: object) -> None:
    """Raises ``ConfigurationError`` unless the limit is None or a whole number of at least 1."""
    if max_requests is not None and not is_count(max_requests):
        raise ConfigurationError(
            f"max_requests is {max_requests!r}. Set it to a whole number of at least 1, or omit it."
        )
