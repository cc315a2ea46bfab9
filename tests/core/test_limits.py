"""Which numbers a task may be given."""

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
    """Neither nothing, nor a truth value, nor a fraction is one."""
    assert is_count(given) is verdict


@pytest.mark.parametrize("concurrency", [0, -1, MAX_CONCURRENCY + 1])
def test_an_impossible_concurrency_is_refused(concurrency: int) -> None:
    """The error names the bounds, which are allowed themselves."""
    with pytest.raises(ConfigurationError, match="Set it to 1 to 64"):
        check_concurrency(concurrency)
    check_concurrency(1)
    check_concurrency(MAX_CONCURRENCY)


def test_a_part_holds_at_least_a_mebibyte() -> None:
    """A smaller bound is refused, the bound itself is not."""
    with pytest.raises(ConfigurationError, match="1 MiB"):
        check_part_size(MIN_PART_BYTES - 1)
    check_part_size(MIN_PART_BYTES)


@pytest.mark.parametrize("delay", [timedelta(microseconds=-1), 60, None])
def test_a_settle_delay_is_a_length_of_time(delay: Any) -> None:
    """Nothing less than none, and no bare number."""
    with pytest.raises(ConfigurationError, match="settle_delay"):
        check_settle_delay(delay)
    check_settle_delay(timedelta(0))


@pytest.mark.parametrize("lookback", [timedelta(microseconds=-1), 60])
def test_a_lookback_is_a_length_of_time_or_left_out(lookback: Any) -> None:
    """Nothing less than none, and no bare number; None is none."""
    with pytest.raises(ConfigurationError, match="lookback"):
        check_lookback(lookback)
    check_lookback(None)
    check_lookback(timedelta(0))
