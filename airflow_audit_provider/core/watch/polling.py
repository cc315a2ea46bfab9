"""Poll schedule: how long to pause after a poll that found too little, and after one that failed.

Invariant: two polls never follow each other without a pause, unless the first stopped early and the next continues it.
"""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError

# More frequent polls bring no record sooner: records appear minutes after the event, and every poll costs requests.
_MIN_PAUSE_SECONDS = 1.0
# After failures: long enough to spare an unavailable API, short enough to notice a corrected credential.
_MAX_FAILURE_PAUSE_SECONDS = 600.0
# The API may ask for a longer pause; a watcher polls again after an hour all the same.
_MAX_RETRY_AFTER_SECONDS = 3600.0
_MAX_DOUBLINGS = 32


class PollSchedule(NamedTuple):
    """Seconds between two polls; with ``backs_off`` the pause doubles after each poll, up to ``longest_seconds``."""

    interval_seconds: float
    backs_off: bool = False
    longest_seconds: float | None = None

    def pause_seconds(self, poll_count: int) -> float:
        """Returns how long to pause after ``poll_count`` polls (1 or more) that found too little."""
        pause = self._doubled(poll_count - 1) if self.backs_off else self._base_pause
        return pause if self.longest_seconds is None else max(_MIN_PAUSE_SECONDS, min(pause, self.longest_seconds))

    def pause_after_failure(self, error: Exception, failure_count: int) -> float:
        """Returns how long to pause after ``failure_count`` failures in a row (1 or more).

        The pause doubles with each failure, up to ten minutes. A ``retry_after`` of the error lengthens it to at most
        an hour; an implausible ``retry_after`` is ignored.
        """
        from airflow_audit_provider.core.api.retry import sane_retry_after

        retry_after = sane_retry_after(error.retry_after) if isinstance(error, AuditProviderError) else None
        longest = max(_MAX_FAILURE_PAUSE_SECONDS, self._base_pause)
        return max(min(self._doubled(failure_count), longest), min(retry_after or 0.0, _MAX_RETRY_AFTER_SECONDS))

    @property
    def _base_pause(self) -> float:
        return max(_MIN_PAUSE_SECONDS, self.interval_seconds)

    def _doubled(self, count: int) -> float:
        return self._base_pause * 2.0 ** min(count, _MAX_DOUBLINGS)


class PollBackoff:
    """Counts polls and consecutive failures, and returns the pause after each."""

    def __init__(self, schedule: PollSchedule) -> None:
        self._schedule = schedule
        self._poll_count = self._failure_count = 0

    def after_poll(self, *, is_complete: bool = True) -> float:
        """Returns the seconds to pause after a successful poll; 0 if the poll stopped early and more can be read."""
        self._poll_count, self._failure_count = self._poll_count + 1, 0
        return self._schedule.pause_seconds(self._poll_count) if is_complete else 0.0

    def after_failure(self, error: Exception) -> float:
        """Returns the seconds to pause after a poll that failed with this error."""
        self._failure_count += 1
        return self._schedule.pause_after_failure(error, self._failure_count)


def check_seconds(name: str, seconds: object) -> None:
    """Raises ``ConfigurationError`` unless ``seconds`` is a positive, finite number."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not isfinite(seconds) or seconds <= 0:
        raise ConfigurationError(f"{name} is {seconds!r}. Give a positive number of seconds.")
