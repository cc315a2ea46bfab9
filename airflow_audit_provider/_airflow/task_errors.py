"""Translates the provider's errors into Airflow's: which fail a task without retries, and which skip a sensor.

Airflow logs an error with the stack of everything that caused it, which hides the sentence that says what to do. The
provider's errors name their cause themselves, so a task raises them without it: ``__context__`` still has the cause,
for callbacks, and the debug level of the log shows its stack.

Invariant: only ``retryable`` decides; the message and the class do not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_audit_provider.exceptions import AuditProviderError, error_named

if TYPE_CHECKING:
    from airflow.sdk import BaseSensorOperator

# Beneath [project.urls] Documentation of pyproject.toml; the page has a heading for each error class.
TROUBLESHOOTING = "https://github.com/airflow-audit-provider/airflow-audit-provider/tree/main/docs/troubleshooting.md"

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


@contextmanager
def skip_on_failure(sensor: BaseSensorOperator) -> Iterator[None]:
    """Turns an Airflow failure into a skip if the sensor has ``soft_fail`` or ``never_fail``."""
    from airflow.providers.common.compat.sdk import (
        AirflowException,  # noqa: TID251 - caught here, never raised
        AirflowSkipException,
    )

    try:
        yield
    except AirflowSkipException:
        raise
    except AirflowException as error:
        if sensor.soft_fail or sensor.never_fail:
            raise AirflowSkipException(f"Skipped instead of failed: {error}") from error
        raise


@contextmanager
def translate_task_errors(task: object = None) -> Iterator[None]:
    """Passes retryable errors on, which Airflow retries; turns the others into a failure without retries.

    If the task has a ``retry_policy`` (Airflow 3.3), all errors pass, because Airflow does not ask the policy about an
    ``AirflowFailException``. A sensor that skips instead of failing is the exception: it skips only for that class.
    """
    try:
        yield
    except AuditProviderError as error:
        _log.debug("The stack of the error that the task fails with", exc_info=error)
        name = type(error).__name__
        error.help_line = f"{name}: {TROUBLESHOOTING}#{name.lower()}"
        if error.retryable or (_has_policy(task) and not _skips(task)):
            raise error.with_traceback(None) from None
        from airflow.providers.common.compat.sdk import AirflowFailException

        raise AirflowFailException(str(error)) from None


def raise_event_error(event: Mapping[str, Any], task: object) -> None:
    """Raises the error that a trigger reported in its event, as the task would have raised it."""
    with translate_task_errors(task):
        raise error_named(event["code"], event["message"])


def none_if_retryable(attempt: Callable[[], _Result], on_error: Callable[[AuditProviderError], None]) -> _Result | None:
    """Returns the result of an attempt; for an error that a retry can fix, calls ``on_error`` and returns None."""
    try:
        return attempt()
    except AuditProviderError as error:
        if not error.retryable:
            raise
        on_error(error)
        return None


def _has_policy(task: object) -> bool:
    return getattr(task, "retry_policy", None) is not None


def _skips(task: object) -> bool:
    return bool(getattr(task, "soft_fail", False) or getattr(task, "never_fail", False))
