"""Drives a fetch script with prepared responses, on a clock that advances only by waits and requests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.fetch import Deliver, FetchScript, Send, Step, StepResult, StepTime, Wait
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.exceptions import AuditProviderError, SourceUnavailableError

BEGAN_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SendResult = Response | SourceUnavailableError | None


class ScriptDriver:
    """Performs steps and records requests, waits and deliveries."""

    def __init__(self, responses: Sequence[SendResult], seconds_per_request: float = 0.0, jitter: float = 0.0) -> None:
        self.sent: list[Request] = []
        self.waits: list[tuple[float, AuditProviderError | None]] = []
        self.deliveries: list[list[AuditRecord]] = []
        self.elapsed_seconds = 0.0
        self._results = iter(responses)
        self._seconds_per_request = seconds_per_request
        self._jitter = jitter

    def play(self, script: FetchScript) -> None:
        """Drives a script to its end, or to the error it raises."""
        try:
            step = next(script)
            while True:
                step = script.send(self._perform(step))
        except StopIteration:
            return

    def _perform(self, step: Step) -> StepResult:
        result: SendResult = None
        if isinstance(step, Wait):
            self.elapsed_seconds += step.seconds
            if step.seconds or step.reason:
                self.waits.append((step.seconds, step.reason))
        elif isinstance(step, Send):
            self.sent.append(step.request)
            self.elapsed_seconds += self._seconds_per_request
            result = next(self._results)
        elif isinstance(step, Deliver):
            self.deliveries.append(step.records)
        else:
            raise TypeError(f"a script without a shared budget has no {step}")
        now = BEGAN_AT + timedelta(seconds=self.elapsed_seconds)
        return StepResult(StepTime(now, 1000.0 + self.elapsed_seconds, self._jitter), result)
