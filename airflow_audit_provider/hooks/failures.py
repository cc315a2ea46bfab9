"""The provider's errors in Airflow's terms: which fail a task for good.

Knows: Airflow's exception for "do not retry". Must not know: what went wrong.
Its one rule: it looks at ``retryable`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.exceptions import AuditProviderError


@contextmanager
def task_failures() -> Iterator[None]:
    """Let retryable errors through, which Airflow retries; turn the others into a failure without retries."""
    try:
        yield
    except AuditProviderError as error:
        if error.retryable:
            raise
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
