"""A pull seen by its task: lines in the log, metrics, spans.

Knows: which of the three hears of what. Must not know: how each of them is carried on.
Its one rule: watching costs next to nothing beside what is watched, so the innermost step is only timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from airflow_audit_provider._airflow.observability.metrics import Metrics
from airflow_audit_provider._airflow.observability.progress_log import ProgressLog, folded
from airflow_audit_provider._airflow.observability.tracing import Trace
from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.paging.fetch import Send, Wait
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.observer import Phase, Progress, PullOutcome
from airflow_audit_provider.pipelines.pull_spec import PullSpec

# The steps whose lines are many and seldom wanted.
_FOLDED = {Phase.FETCH, Phase.VERIFY}


class TaskObserver:
    """Observes the pulls of one task. :meth:`asked` is for the source, and may be called from several threads."""

    def __init__(self, log: Any, clock: Clock, order: PullSpec) -> None:
        query = order.query
        tags = {"api_version": query.version, "scope": query.scope, "file_format": order.part_format.file_format}
        self._metrics = Metrics({name: str(value) for name, value in tags.items()})
        self._trace = Trace()
        self._log = log
        self._clock = clock
        self._progress_log = ProgressLog(log, clock)
        self._encoding = _Stopwatch(clock)

    def on_step(self, step: Send | Wait) -> None:
        """Count a request, a wait before another try, or one for the rate limit."""
        if isinstance(step, Send):
            self._metrics.add("fetch.requests", 1)
        elif step.reason is not None:
            self._metrics.add("fetch.retries", 1, error=type(step.reason).__name__)
        else:
            self._metrics.add("fetch.throttled_seconds", step.seconds)

    def step(self, verb: Phase, window: TimeWindow | None = None) -> AbstractContextManager[object]:
        """Time a step; give it a span, and its lines a fold of their own, where they are worth one."""
        return self._encoding if verb is Phase.ENCODE else self._step(verb, window)

    @contextmanager
    def _step(self, verb: Phase, window: TimeWindow | None) -> Iterator[None]:
        began_at, state = self._clock.monotonic(), "failed"
        try:
            with folded(self._log, f"{verb} {window}", verb in _FOLDED), self._trace.span(verb, window=str(window)):
                yield
                state = "success"
        finally:
            self._metrics.time(f"{verb}.duration", self._clock.monotonic() - began_at, state=state)
            if verb is Phase.STAGE:
                self._metrics.time("encode.duration", self._encoding.take(), state=state)

    def fetched(self, progress: Progress) -> None:
        """Log how far the pull is, count the records."""
        self._progress_log(progress)
        self._metrics.add("fetch.records", progress.fresh_count)
        self._trace.say(record_count=progress.record_count, page_count=progress.page_count)

    def staged(self, part: StagedPart) -> None:
        """Count a part, its records and bytes."""
        self._metrics.add("stage.parts", 1)
        self._metrics.add("stage.records", part.record_count)
        self._metrics.add("stage.bytes", part.size_bytes)
        self._trace.mark("part", record_count=part.record_count, size_bytes=part.size_bytes)

    def committed(self, outcome: PullOutcome) -> None:
        """Count what this pull has added to what is committed."""
        manifest = outcome.manifest
        if outcome.committed:
            self._metrics.add("commit.windows", 1)
            self._metrics.add("commit.records", manifest.added_count)
        self._trace.say(
            manifest_key=outcome.manifest_key, generation=manifest.generation, record_count=manifest.record_count
        )


class _Stopwatch:
    """Adds up the time spent inside."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds = self._began_at = 0.0

    def __enter__(self) -> None:
        self._began_at = self._clock.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds += self._clock.monotonic() - self._began_at

    def take(self) -> float:
        """Return the seconds so far, and begin again."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
