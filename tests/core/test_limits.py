"""Valid ranges of the numbers of a task."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_audit_provider.core.limits import (
    MAX_CONCURRENCY,
    MIN_PART_BYTES,
    check_concurrency,
    check_lookback,
    check_part_size,
    check_settle_delay,
    is_count,
)
from airflow_audit_provider.exceptions import ConfigurationError


@pytest.mark.parametrize(("given", "verdict"), [(1, True), (10**9, True), (0, False), (True, False), (1.0, False)])
def test_a_count_is_a_whole_number_of_at_least_one(given: object, verdict: bool) -> None:
    """Zero, a boolean and a fraction are no counts."""
    assert is_count(given) is verdict


@pytest.mark.parametrize("concurrency", [0, -1, MAX_CONCURRENCY + 1])
def test_concurrency_out_of_range_is_an_error(concurrency: int) -> None:
    """The error names the bounds, and the bounds themselves are allowed."""
    with pytest.raises(ConfigurationError, match="Set it to a number from 1 to 64"):
        check_concurrency(concurrency)
    check_concurrency(1)
    check_concurrency(MAX_CONCURRENCY)


def test_part_size_below_a_mebibyte_is_an_error() -> None:
    """A smaller part size is an error, the minimum itself is not."""
    with pytest.raises(ConfigurationError, match="1 MiB"):
        check_part_size(MIN_PART_BYTES - 1)
    check_part_size(MIN_PART_BYTES)


@pytest.mark.parametrize("delay", [timedelta(microseconds=-1), 60, None])
def test_settle_delay_is_a_timedelta_of_at_least_zero(delay: Any) -> None:
    """A negative settle delay, or a plain number, is an error."""
    with pytest.raises(ConfigurationError, match="settle_delay"):
        check_settle_delay(delay)
    check_settle_delay(timedelta(0))


@pytest.mark.parametrize("lookback", [timedelta(microseconds=-1), 60])
def test_lookback_is_none_or_a_timedelta_of_at_least_zero(lookback: Any) -> None:
    """A negative lookback, or a plain number, is an error; None is allowed."""
    with pytest.raises(ConfigurationError, match="lookback"):
        check_lookback(lookback)
    check_lookback(None)
    check_lookback(timedelta(0))
