"""The provider's errors in Airflow's terms: which fail a task for good.

Knows: Airflow's exception for "do not retry", and that a task may have a policy for its retries.
Must not know: what went wrong.
Its one rule: it looks at ``retryable`` and nothing else.
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
    """Turn a failure in Airflow's terms into a skip, for a sensor that is told to."""
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
    """Let retryable errors through, which Airflow retries; turn the others into a failure without retries.

    A task with a ``retry_policy`` (Airflow 3.3) lets all through: Airflow asks no policy about an
    ``AirflowFailException``. Not so a sensor that skips instead of failing, which it does for that exception alone.
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
