"""The steps of a pull as spans below the task's own span, where Airflow traces tasks.

Knows: how OpenTelemetry tells the span one is in. Must not know: which exporter takes spans, or whether one does.
Its one rule: OpenTelemetry is never imported from here; who has not imported it does not trace.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from airflow_audit_provider import __version__

_PREFIX = "cloudflare_audit_logs"


class Trace:
    """Spans for the task that runs now; does nothing where that has no span, or one that nobody records."""

    def __init__(self) -> None:
        # Airflow's task runner (3.2 and newer) has it imported long before a task starts.
        api: Any = sys.modules.get("opentelemetry.trace")
        self._api = api if api is not None and api.get_current_span().is_recording() else None

    def span(self, name: str, **facts: str | float) -> AbstractContextManager[object]:
        """Enclose work in a span below the one entered last; an error that passes is recorded on it."""
        if self._api is None:
            return nullcontext()
        tracer = self._api.get_tracer("airflow_audit_provider", __version__)
        span: AbstractContextManager[object] = tracer.start_as_current_span(
            f"{_PREFIX}.{name}", attributes=_named(facts)
        )
        return span

    def say(self, **facts: str | float) -> None:
        """Put facts on the span entered last."""
        if self._api is not None:
            self._api.get_current_span().set_attributes(_named(facts))

    def mark(self, name: str, **facts: str | float) -> None:
        """Put an event on the span entered last."""
        if self._api is not None:
            self._api.get_current_span().add_event(f"{_PREFIX}.{name}", _named(facts))


def _named(facts: dict[str, str | float]) -> dict[str, str | float]:
    return {f"{_PREFIX}.{name}": value for name, value in facts.items()}
