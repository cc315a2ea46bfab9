"""How long to wait before an audit log is looked at again: what every wait for activity goes by.

Knows: an interval, how it grows, what went wrong how often. Must not know: the clock, what is looked for.
Its one rule: no two looks follow each other without a pause, unless the first had enough and the next goes on there.
"""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError

# Looking more often tells nobody anything sooner: records are minutes late, and requests are counted.
_SHORTEST_SECONDS = 1.0
# After failures: long enough to spare an API that is away, short enough to notice a mended credential.
_LONGEST_AFTER_FAILURE_SECONDS = 600.0
# The API may ask for more than that; whoever watches asks again after an hour all the same.
_LONGEST_TOLD_SECONDS = 3600.0
_MOST_DOUBLINGS = 32


class PollSchedule(NamedTuple):
    """Seconds between two looks; with ``backs_off`` they double from look to look up to ``longest_seconds``."""

    interval_seconds: float
    backs_off: bool = False
    longest_seconds: float | None = None

    def pause_seconds(self, look_count: int) -> float:
        """Return how long to wait after so many looks (1 or more) that found too little."""
        pause = self._doubled(look_count - 1) if self.backs_off else self._shortest
        return pause if self.longest_seconds is None else max(_SHORTEST_SECONDS, min(pause, self.longest_seconds))

    def pause_after_failure(self, error: Exception, failure_count: int) -> float:
        """Return how long to wait after so many failures in a row (1 or more): longer each time, or as the API says.

        What the API says counts up to an hour, and not at all where it is not to be believed.
        """
        from airflow_audit_provider.core.api.retry import sane_retry_after

        told = sane_retry_after(error.retry_after) if isinstance(error, AuditProviderError) else None
        longest = max(_LONGEST_AFTER_FAILURE_SECONDS, self._shortest)
        return max(min(self._doubled(failure_count), longest), min(told or 0.0, _LONGEST_TOLD_SECONDS))

    @property
    def _shortest(self) -> float:
        return max(_SHORTEST_SECONDS, self.interval_seconds)

    def _doubled(self, count: int) -> float:
        return self._shortest * 2.0 ** min(count, _MOST_DOUBLINGS)


class PollBackoff:
    """Counts the looks of one wait, and the failures in a row, and says how long to pause after each."""

    def __init__(self, rhythm: PollSchedule) -> None:
        self._rhythm = rhythm
        self._look_count = self._failure_count = 0

    def after_look(self, *, is_complete: bool = True) -> float:
        """Return the seconds to pause after a look that did not fail; none where there is more to read at once."""
        self._look_count, self._failure_count = self._look_count + 1, 0
        return self._rhythm.pause_seconds(self._look_count) if is_complete else 0.0

    def after_failure(self, error: Exception) -> float:
        """Return the seconds to pause after one that did not."""
        self._failure_count += 1
        return self._rhythm.pause_after_failure(error, self._failure_count)


def check_seconds(name: str, seconds: object) -> None:
    """Raise ``ConfigurationError`` for what is no positive, finite number of seconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not isfinite(seconds) or seconds <= 0:
        raise ConfigurationError(f"{name} is {seconds!r}. Give a positive number of seconds.")
