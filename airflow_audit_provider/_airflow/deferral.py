"""Waits until a window is settled, without occupying a worker slot where Airflow allows it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.compat import AirflowRescheduleException, can_reschedule_mapped_tasks

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from airflow_audit_provider.core.ports import Clock

# The deferral's timeout is this much longer than the wait, so that a triggerer outage does not fail the task.
_TIMEOUT_MARGIN = timedelta(hours=1)


class WaitingOperator(BaseOperator):
    """Operator that may have to wait for an instant: it defers if ``deferrable``, otherwise it is rescheduled.

    A rescheduled task keeps its try number. The scheduler reads ``reschedule`` and ``_is_sensor`` from the serialized
    DAG to find the reschedule date; Airflow 3.0 looks only at sensors, and would start any other task again at once.
    """

    _is_sensor = True
    deferrable = False

    @property
    def reschedule(self) -> bool:
        """Whether the task is rescheduled instead of deferred; read by the scheduler."""
        return not self.deferrable

    @classmethod
    def get_serialized_fields(cls) -> frozenset[str]:
        """Returns the fields that are serialized for the scheduler."""
        fields = super().get_serialized_fields()  # type: ignore[no-untyped-call]  # Airflow's has no types here
        return frozenset(fields | {"reschedule", "_is_sensor"})

    def trigger_at(self, instant: datetime) -> BaseTrigger:
        """Returns the trigger that fires at an instant; imported when needed and not at DAG parse."""
        raise NotImplementedError

    def wait_until(self, instant: datetime, method_name: str, context: Mapping[str, Any], clock: Clock) -> None:
        """Returns if an instant has passed; otherwise defers, to continue at ``method_name``, or reschedules.

        If the context has no task instance (``execute`` called with a plain dict), nothing can reschedule: the method
        returns, and the pipeline raises ``WindowNotSettledError``.
        """
        wait = instant - clock.now()
        if wait <= timedelta(0):
            return
        if self.deferrable:
            self.defer(trigger=self.trigger_at(instant), method_name=method_name, timeout=wait + _TIMEOUT_MARGIN)
        if "ti" not in context:
            return
        map_index = context["ti"].map_index
        if map_index is not None and map_index >= 0 and not can_reschedule_mapped_tasks():
            self.log.warning(
                "This Airflow version cannot reschedule a mapped task; it waits %.0f s in its worker slot. Set "
                "deferrable=True to free the slot.",
                wait.total_seconds(),
            )
            clock.sleep(wait.total_seconds())
            return
        self.log.info("Rescheduling the task for %s, when the window is settled", instant.isoformat())
        raise AirflowRescheduleException(instant)
