"""Translates the provider's errors into Airflow's: which fail a task without retries, and which skip a sensor.

Invariant: only ``retryable`` decides; the message and the class do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_audit_provider.exceptions import AuditProviderError

if TYPE_CHECKING:
    from airflow.sdk import BaseSensorOperator


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
        if error.retryable or (_has_policy(task) and not _skips(task)):
            raise
        from airflow.providers.common.compat.sdk import AirflowFailException

        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


def _has_policy(task: object) -> bool:
    return getattr(task, "retry_policy", None) is not None


def _skips(task: object) -> bool:
    return bool(getattr(task, "soft_fail", False) or getattr(task, "never_fail", False))
