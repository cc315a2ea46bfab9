"""Waiting for a window to settle, without a worker's slot.

Knows: Airflow's deferral and rescheduling, and what an old Airflow lacks of the latter.
Must not know: which window is waited for, or why it is not settled.
Its one rule: a worker waits only where Airflow offers nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowRescheduleException

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from airflow_audit_provider.core.ports import Clock

# Longer than the wait itself, so that a triggerer that was down for a while does not fail the task.
_DEFERRAL_SPARE = timedelta(hours=1)
# Before, only of a task that is a sensor's does the scheduler look at the date, and no mapped task can say it is one.
_RESCHEDULES_MAPPED = (3, 1, 8)


class WaitingOperator(BaseOperator):
    """An operator that may have to wait for an instant: deferred when ``deferrable``, otherwise rescheduled.

    A rescheduled task keeps its try number. ``reschedule`` and ``_is_sensor`` are what makes every scheduler from
    Airflow 3.0 on look at the date; 3.0 asks sensors alone, and would start any other task again at once.
    """

    _is_sensor = True
    deferrable = False

    @property
    def reschedule(self) -> bool:
        """Whether it gives its slot back by being rescheduled; the scheduler reads this from the serialized DAG."""
        return not self.deferrable

    @classmethod
    def get_serialized_fields(cls) -> frozenset[str]:
        """Return the fields the scheduler gets to see."""
        fields = super().get_serialized_fields()  # type: ignore[no-untyped-call]  # Airflow's has no types here
        return frozenset(fields | {"reschedule", "_is_sensor"})

    def trigger_at(self, instant: datetime) -> BaseTrigger:
        """Return the trigger that fires at an instant; it is imported here and not when a DAG is parsed."""
        raise NotImplementedError

    def wait_until(self, instant: datetime, method_name: str, context: Mapping[str, Any], clock: Clock) -> None:
        """Return when an instant has come; before it, defer to go on at ``method_name``, or be rescheduled.

        Called with a plain dict, outside of a task, nobody could reschedule: then it returns at once, and what is too
        early is refused by who would read it.
        """
        wait = instant - clock.now()
        if wait <= timedelta(0):
            return
        if self.deferrable:
            self.defer(trigger=self.trigger_at(instant), method_name=method_name, timeout=wait + _DEFERRAL_SPARE)
        if "ti" not in context:
            return
        if context["ti"].map_index is not None and context["ti"].map_index >= 0 and not _reschedules_mapped():
            self.log.warning("This Airflow cannot reschedule a mapped task; it waits %.0f s here", wait.total_seconds())
            clock.sleep(wait.total_seconds())
            return
        self.log.info("Giving the slot back until %s", instant.isoformat())
        raise AirflowRescheduleException(instant)


def _reschedules_mapped() -> bool:
    return tuple(map(int, re.findall(r"\d+", _airflow_version())[:3])) >= _RESCHEDULES_MAPPED


def _airflow_version() -> str:
    from airflow import __version__

    return __version__
