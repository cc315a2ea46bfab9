"""Observer of a task: turns the steps of a run into log lines, metrics and spans.

The innermost step, encoding, is only timed, because a span for each page would cost more than the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from airflow_audit_provider._airflow.observability.log_lines import commit_line, window_text
from airflow_audit_provider._airflow.observability.metrics import Metrics
from airflow_audit_provider._airflow.observability.progress_log import ProgressLog, folded
from airflow_audit_provider._airflow.observability.tracing import Trace
from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.paging.fetch import Send, Wait
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.windows.readiness import is_newest_due
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, count_of, to_ns
from airflow_audit_provider.pipelines.observer import KeptPart, Phase, Progress, PullOutcome
from airflow_audit_provider.pipelines.pull_spec import PullSpec

# The steps that log many lines, which few readers need.
_FOLDED = frozenset({Phase.FETCH, Phase.VERIFY})


class TaskObserver:
    """Observes the pulls of one task. The reader calls :meth:`on_step`, possibly from several threads.

    ``folds`` is whether the log lines of long steps are folded; those of hundreds of windows are too few each.
    """

    def __init__(self, log: Any, clock: Clock, spec: PullSpec, destination: str, *, folds: bool = True) -> None:
        query = spec.query
        tags = {"api_version": query.version, "scope": query.scope, "file_format": spec.part_format.file_format}
        self._metrics = Metrics({name: str(value) for name, value in tags.items()})
        self._trace = Trace()
        self._log = log
        self._clock = clock
        self._progress_log = ProgressLog(log, clock)
        self._destination = destination
        self._encoding = _Stopwatch(clock)
        self._folded_phases = _FOLDED if folds else frozenset()
        self._is_folded = False
        self._window_began_at = clock.monotonic()
        self._settle_delay = spec.settle_delay

    def on_step(self, step: Send | Wait) -> None:
        """Counts a request, a wait before a retry, or a wait for the rate limit."""
        if isinstance(step, Send):
            self._metrics.add("fetch.requests", 1)
        elif step.reason is not None:
            self._metrics.add("fetch.retries", 1, error=type(step.reason).__name__)
        else:
            self._metrics.add("fetch.throttled_seconds", step.seconds)

    def step(self, phase: Phase, window: TimeWindow | None = None) -> AbstractContextManager[object]:
        """Times a step, opens a span for it, and folds its log lines if they are many; encoding is only timed."""
        return self._encoding if phase is Phase.ENCODE else self._step(phase, window)

    @contextmanager
    def _step(self, phase: Phase, window: TimeWindow | None) -> Iterator[None]:
        began_at, state = self._clock.monotonic(), "failed"
        try:
            with self._folded(phase, f"{phase} {window}"), self._trace.span(phase, window=str(window)):
                yield
                state = "success"
        finally:
            self._metrics.time(f"{phase}.duration", self._clock.monotonic() - began_at, state=state)
            if phase is Phase.STAGE:
                self._metrics.time("encode.duration", self._encoding.take(), state=state)

    @contextmanager
    def _folded(self, phase: Phase, title: str) -> Iterator[None]:
        """Folds the lines of a step that logs many; within such a step it logs the title only, as folds do not nest."""
        is_outermost = phase in self._folded_phases and not self._is_folded
        if phase in self._folded_phases and not is_outermost:
            self._log.info("%s", title)
        self._is_folded |= is_outermost
        try:
            with folded(self._log, title, is_outermost):
                yield
        finally:
            self._is_folded &= not is_outermost

    def fetched(self, progress: Progress) -> None:
        """Logs the progress and counts the records."""
        self._progress_log(progress)
        self._metrics.add("fetch.records", progress.fresh_count)
        self._trace.set_attributes(record_count=progress.record_count, page_count=progress.page_count)

    def staged(self, part: StagedPart) -> None:
        """Counts a part, its records and bytes."""
        self._metrics.add("stage.parts", 1)
        self._metrics.add("stage.records", part.record_count)
        self._metrics.add("stage.bytes", part.size_bytes)
        self._trace.add_event("part", record_count=part.record_count, size_bytes=part.size_bytes)

    def committed(self, outcome: PullOutcome) -> None:
        """Logs one line for the window, and counts what this run committed."""
        manifest, now = outcome.manifest, self._clock.monotonic()
        self._log.info("%s", commit_line(outcome, self._destination, now - self._window_began_at))
        self._window_began_at = now
        if outcome.committed:
            self._metrics.add("commit.windows", 1)
            self._metrics.add("commit.records", manifest.added_count)
            self._report_odd_records(outcome)
        self._report_freshness(outcome)
        self._trace.set_attributes(
            manifest_key=outcome.manifest_key, generation=manifest.generation, record_count=manifest.record_count
        )

    def _report_freshness(self, outcome: PullOutcome) -> None:
        """Sends how late added records came, and how fresh the data is if the window is the newest that is due.

        A backfill of old windows says nothing about the present, so its windows are left out.
        """
        manifest, now = outcome.manifest, self._clock.now()
        if manifest.added_ids:
            for part in outcome.written:
                self._metrics.time("commit.late_record_lag", (to_ns(now) - part.first_event_ns) / SECOND_NS)
        if not is_newest_due(manifest.window, now, self._settle_delay):
            return
        self._metrics.set("freshness.landed_lag_seconds", (now - manifest.window.end).total_seconds())
        if manifest.parts:
            last_event_ns = max(part.last_event_ns for part in manifest.parts)
            self._metrics.set("freshness.last_event_age_seconds", (to_ns(now) - last_event_ns) / SECOND_NS)

    def kept(self, window: TimeWindow, parts: Sequence[KeptPart]) -> None:
        """Logs one warning for each reason to keep parts that no manifest in force names."""
        for reason in sorted({one.reason for one in parts}):
            keys = [one.key for one in parts if one.reason is reason]
            self._log.warning(
                "Kept %s of %s, because %s. The first is %s",
                count_of(len(keys), "part"),
                window_text(window),
                reason,
                keys[0],
            )

    def _report_odd_records(self, outcome: PullOutcome) -> None:
        """Counts the records that break the API's contract, and logs one warning about them."""
        for kind, count in outcome.odd_records.items():
            self._metrics.add("commit.odd_records", count, kind=kind)
        if outcome.odd_records:
            self._log.warning(
                "%d records of %s break the API's contract and are written as they are, by kind: %s. For example: %s",
                sum(outcome.odd_records.values()),
                outcome.manifest.window,
                dict(outcome.odd_records),
                "; ".join(outcome.odd_examples),
            )


class _Stopwatch:
    """Adds up the time spent in its ``with`` blocks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds = self._began_at = 0.0

    def __enter__(self) -> None:
        self._began_at = self._clock.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds += self._clock.monotonic() - self._began_at

    def take(self) -> float:
        """Returns the seconds so far and resets them."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
