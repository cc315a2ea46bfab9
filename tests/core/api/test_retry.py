"""Retry decisions: one table for every failure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.retry import (
    RetryDecision,
    RetryLimits,
    decide_task_retry,
    retry_delay,
    sane_retry_after,
)
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    RetentionExceededError,
    SourceAuthError,
    SourceProtocolError,
    SourceRateLimitedError,
    SourceUnavailableError,
    StorageUnavailableError,
    WindowNotSettledError,
)
from tests.hypothesis_profiles import examples

POLICY = RetryLimits()


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("x"), SourceAuthError("x", status=401), RetentionExceededError("x"),
        SourceProtocolError("x", status=400), SourceProtocolError("x", status=302), SourceProtocolError("x"),
        SourceProtocolError("x", status=200),
    ],
)  # fmt: skip
def test_permanent_error_is_not_retried(error: AuditProviderError) -> None:
    """Errors of the caller and of the protocol are not retried."""
    assert retry_delay(error, 1, 0.0, 0.0, POLICY) is None


@pytest.mark.parametrize(
    ("attempt", "low", "high"), [(1, 0.5, 1), (2, 1, 2), (3, 2, 4), (4, 4, 8), (5, 8, 16), (6, 16, 32), (7, 30, 60)]
)
def test_delay_doubles_up_to_its_maximum(attempt: int, low: float, high: float) -> None:
    """An unavailable API is retried after twice the delay, multiplied by the jitter."""
    error = SourceUnavailableError("x", status=503)
    assert retry_delay(error, attempt, 0.0, 0.0, POLICY) == low
    assert retry_delay(error, attempt, 0.0, 1.0, POLICY) == high


@pytest.mark.parametrize("status", [None, 200, 204, 409, 502])
def test_attempts_are_limited(status: int | None) -> None:
    """Every unavailable response has eight attempts, also a 200 without a page."""
    error = SourceUnavailableError("x", status=status)
    assert retry_delay(error, 7, 0.0, 0.0, POLICY) is not None
    assert retry_delay(error, 8, 0.0, 0.0, POLICY) is None


def test_connection_with_few_attempts_limits_them() -> None:
    """``max_attempts`` of the connection replaces the default."""
    policy = RetryLimits(max_attempts=2)
    assert retry_delay(SourceUnavailableError("x"), 1, 0.0, 0.0, policy) == 0.5
    assert retry_delay(SourceUnavailableError("x"), 2, 0.0, 0.0, policy) is None


@pytest.mark.parametrize(("retry_after", "delay"), [(120.0, 120.0), (0.1, 0.5), (None, 0.5)])
def test_longer_of_backoff_and_retry_after_applies(retry_after: float | None, delay: float) -> None:
    """Of the backoff and the requested wait the longer one applies."""
    assert retry_delay(SourceUnavailableError("x", retry_after=retry_after), 1, 0.0, 0.0, POLICY) == delay


@pytest.mark.parametrize(("retry_after", "delay"), [(7.0, 7.5), (0.0, 60.5), (None, 300.5)])
def test_rate_limit_is_always_waited_for(retry_after: float | None, delay: float) -> None:
    """A 429 waits as long as requested, or for the backoff if that is zero, or for the documented five minutes."""
    error = SourceRateLimitedError("x", retry_after=retry_after)
    assert retry_delay(error, 99, 0.0, 0.5, POLICY) == delay


@pytest.mark.parametrize(
    ("error", "delay"),
    [(SourceRateLimitedError("x", retry_after=100.0), 100.0), (SourceUnavailableError("x", retry_after=100.0), 100.0)],
)
def test_wait_beyond_the_time_allowed_is_not_retried(error: AuditProviderError, delay: float) -> None:
    """The delay may end exactly at the time allowed, but not later."""
    assert retry_delay(error, 1, 1700.0, 0.0, POLICY) == delay
    assert retry_delay(error, 1, 1700.001, 0.0, POLICY) is None


@examples(100)
@given(attempt=st.integers(1, 2000), elapsed=st.floats(0, 2000), jitter=st.floats(0, 1, exclude_max=True))
def test_delay_stays_within_the_time_allowed(attempt: int, elapsed: float, jitter: float) -> None:
    """No delay is negative or ends after the time allowed, at any number of attempts."""
    policy = RetryLimits(max_attempts=1000)
    delay = retry_delay(SourceUnavailableError("x"), attempt, elapsed, jitter, policy)
    assert delay is None or (0 <= delay <= policy.cap_seconds and elapsed + delay <= policy.max_elapsed_seconds)


@pytest.mark.parametrize(
    ("error", "decided"),
    [
        (SourceRateLimitedError("x", retry_after=42.0), RetryDecision(True, 42.0)),
        (SourceRateLimitedError("x"), RetryDecision(True, 300.0)),
        (SourceRateLimitedError("x", retry_after=float("inf")), RetryDecision(True)),
        (SourceRateLimitedError("x", retry_after=float("nan")), RetryDecision(True)),
        (WindowNotSettledError("x", settled_at=datetime.now(UTC), retry_after=900.0), RetryDecision(True, 900.0)),
        (SourceUnavailableError("x", retry_after=1.0), RetryDecision(True)),
        (StorageUnavailableError("x"), RetryDecision(True)),
        (SourceAuthError("x", status=401), RetryDecision(False)),
        (ConfigurationError("x"), RetryDecision(False)),
        (RetentionExceededError("x"), RetryDecision(False)),
        (SourceProtocolError("x", status=200), RetryDecision(False)),
    ],
)
def test_task_is_retried_after_the_delay_of_the_error(error: AuditProviderError, decided: RetryDecision) -> None:
    """A rate limit and an unsettled window have a delay, other temporary errors have none, and the rest fails."""
    assert decide_task_retry(error) == decided


@pytest.mark.parametrize("retry_after", [-1.0, 86_400.5, 1e9, float("inf"), float("nan")])
def test_an_impossible_retry_after_is_ignored(retry_after: float) -> None:
    """A negative value, no number or more than a day is ignored."""
    assert sane_retry_after(retry_after) is None
    assert (
        retry_delay(SourceRateLimitedError("x", retry_after=retry_after), 1, 0.0, 0.0, POLICY) == POLICY.blocked_seconds
    )
    assert retry_delay(SourceUnavailableError("x", retry_after=retry_after), 1, 0.0, 0.0, POLICY) == 0.5
    assert decide_task_retry(SourceRateLimitedError("x", retry_after=retry_after)) == RetryDecision(True)


@pytest.mark.parametrize("retry_after", [0.0, 0.5, 300.0, 86_400.0])
def test_a_possible_retry_after_is_accepted(retry_after: float) -> None:
    """Zero seconds to one day are accepted."""
    assert sane_retry_after(retry_after) == retry_after
