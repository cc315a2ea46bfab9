"""OpenTelemetry spans for the steps of a run, below the task's own span.

If OpenTelemetry has not been imported, tracing is off; this module never imports it.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from airflow_audit_provider import __version__

_PREFIX = "cloudflare_audit_logs"


class Trace:
    """Spans of the current task; does nothing if the task has no span or its span is not recorded."""

    def __init__(self) -> None:
        # Airflow's task runner (3.2 and newer) imports it before a task starts.
        api: Any = sys.modules.get("opentelemetry.trace")
        self._api = api if api is not None and api.get_current_span().is_recording() else None

    def span(self, name: str, **attributes: str | float) -> AbstractContextManager[object]:
        """Opens a span below the current one; an exception that passes is recorded on it."""
        if self._api is None:
            return nullcontext()
        tracer = self._api.get_tracer("airflow_audit_provider", __version__)
        span: AbstractContextManager[object] = tracer.start_as_current_span(
            f"{_PREFIX}.{name}", attributes=_prefixed(attributes)
        )
        return span

    def set_attributes(self, **attributes: str | float) -> None:
        """Sets attributes on the current span."""
        if self._api is not None:
            self._api.get_current_span().set_attributes(_prefixed(attributes))

    def add_event(self, name: str, **attributes: str | float) -> None:
        """Adds an event to the current span."""
        if self._api is not None:
            self._api.get_current_span().add_event(f"{_PREFIX}.{name}", _prefixed(attributes))


def _prefixed(attributes: dict[str, str | float]) -> dict[str, str | float]:
    return {f"{_PREFIX}.{name}": value for name, value in attributes.items()}
