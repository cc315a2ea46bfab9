"""What a task may be given and what it takes otherwise: requests at once, lengths of time, how a key is read.

Knows: the bounds and the defaults. Must not know: what is done with a number, or where it was written.
Its one rule: nothing of the provider but its errors is imported, so that parsing a DAG can refuse a number cheaply.
"""

from __future__ import annotations

from datetime import timedelta

from airflow_audit_provider.exceptions import ConfigurationError

CONN_TYPE = "cloudflare"
DEFAULT_CONN_ID = "cloudflare_default"


DEFAULT_PARTITION_KEY_FORMAT = "%Y-%m-%d"
DEFAULT_MAX_PART_BYTES = 128 << 20
MIN_PART_BYTES = 1 << 20
# Where an answer takes 50 ms, six keep a core some two thirds busy with reading; each one more takes 8 MB.
DEFAULT_CONCURRENCY = 6
MAX_CONCURRENCY = 64


def is_count(given: object) -> bool:
    """Say whether something is a whole number of at least one; True is none."""
    return isinstance(given, int) and not isinstance(given, bool) and given >= 1


def check_minimum_count(minimum_count: object) -> None:
    """Raise ``ConfigurationError`` for a number of records nobody can wait for."""
    if not is_count(minimum_count):
        raise ConfigurationError(f"minimum_count is {minimum_count!r}. Give at least 1, as a whole number.")


def check_concurrency(concurrency: int) -> None:
    """Raise ``ConfigurationError`` for a number of requests that cannot be under way together."""
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise ConfigurationError(f"A concurrency of {concurrency} is impossible. Give 1 to {MAX_CONCURRENCY}.")


def check_part_size(max_part_bytes: int) -> None:
    """Raise ``ConfigurationError`` for a bound too small to hold a group of records."""
    if max_part_bytes < MIN_PART_BYTES:
        raise ConfigurationError(f"max_part_bytes is {max_part_bytes}. Give at least {MIN_PART_BYTES} (1 MiB).")


def check_length(name: str, length: object) -> None:
    """Raise ``ConfigurationError`` for a length of time that is none, or nothing, or less."""
    if length is not None and (not isinstance(length, timedelta) or length <= timedelta(0)):
        raise ConfigurationError(f"{name} is {length!r}. Give a timedelta longer than nothing.")


def check_settle_delay(settle_delay: object) -> None:
    """Raise ``ConfigurationError`` for a delay that is no length of time, or less than nothing."""
    if not isinstance(settle_delay, timedelta) or settle_delay < timedelta(0):
        raise ConfigurationError(f"settle_delay is {settle_delay!r}. Give zero or more, as a timedelta.")


def check_lookback(lookback: object) -> None:
    """Raise ``ConfigurationError`` for a lookback that is no length of time, or less than nothing."""
    if lookback is not None and (not isinstance(lookback, timedelta) or lookback < timedelta(0)):
        raise ConfigurationError(f"lookback is {lookback!r}. Give zero or more, as a timedelta, or leave it out.")
