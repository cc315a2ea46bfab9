"""The callback of deadline alerts logs which run missed its deadline, however Airflow states the run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_audit_provider.triggers.deadline import log_missed_deadline

RUN = {"dag_run_id": "by_hand", "dag_id": "daily"}
DEADLINE = {"deadline_time": "2026-11-30T06:00:00Z"}


def logged(caplog: pytest.LogCaptureFixture, context: Mapping[str, Any] | None) -> str:
    """Returns the one line that the callback logs."""
    with caplog.at_level(logging.ERROR):
        asyncio.run(log_missed_deadline("The log is behind.", context))
    (found,) = caplog.records
    return found.getMessage()


@pytest.mark.parametrize("run", [RUN, SimpleNamespace(**RUN)])
def test_callback_names_the_run_and_its_deadline(caplog: pytest.LogCaptureFixture, run: object) -> None:
    """The line has the text, the run, its DAG, the deadline, and what to do, for a dict and for an object."""
    assert logged(caplog, {"dag_run": run, "deadline": DEADLINE}) == (
        "The log is behind. The run by_hand of daily has not ended by its deadline 2026-11-30T06:00:00Z: "
        "look at the log of its task, and at the DAG that lands the window."
    )


@pytest.mark.parametrize("context", [None, {}])
def test_callback_without_a_run_logs_the_text(
    caplog: pytest.LogCaptureFixture, context: Mapping[str, Any] | None
) -> None:
    """Without a context there is still the text."""
    assert logged(caplog, context) == "The log is behind."


def test_callback_with_an_unknown_context_does_not_fail(caplog: pytest.LogCaptureFixture) -> None:
    """What the context lacks is unknown."""
    assert "The run unknown of unknown" in logged(caplog, {"dag_run": {}, "deadline": "soon"})
