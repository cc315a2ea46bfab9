"""A sensor's wish to be skipped instead of failing, where Airflow's own code does not see to it.

Knows: ``soft_fail`` and ``never_fail``. Must not know: what a sensor waits for.
Its one rule: whatever would fail the task skips it, the same deferred or not, and in every version.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import BaseSensorOperator


@contextmanager
def skipping_softly(sensor: BaseSensorOperator) -> Iterator[None]:
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
