"""Progress of a run as lines in the task's log, at most one every ten seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.pipelines.observer import Progress

_SECONDS_BETWEEN_LINES = 10.0


class ProgressLog:
    """Logs records, pages and the share of the window that is read: at once, then every ten seconds."""

    def __init__(self, log: Any, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._next_at = float("-inf")

    def __call__(self, progress: Progress) -> None:
        """Logs the progress unless the previous line is less than ten seconds old."""
        now = self._clock.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + _SECONDS_BETWEEN_LINES
        percent = round(100 * progress.share_done)
        records, pages = count_of(progress.record_count, "record"), count_of(progress.page_count, "page")
        self._log.info("Fetched %s in %s, %d %% of the window", records, pages, percent)


@contextmanager
def folded(log: Any, title: str, is_wanted: bool) -> Iterator[None]:
    """Folds the lines logged meanwhile under a title on Airflow's log page, if wanted; an error is logged outside."""
    if is_wanted:
        log.info("::group::%s", title)
    try:
        yield
    finally:
        if is_wanted:
            log.info("::endgroup::")
