"""Waits each day until yesterday's audit log is committed, and alerts if it is not there by six o'clock (UTC).

How to run it (Airflow 3.1 and newer):
  airflow dags unpause cloudflare_audit_deadline

The task looks at the destination every half hour and succeeds when the day is committed, by any DAG or program. If the
run has not ended by the deadline, Airflow's triggerer calls AUDIT_DEADLINE_CALLBACK once. The alert therefore depends
on the records and not on a task: it also comes if the DAG that lands them is paused, has failed or has started too
late.

With AUDIT_MAX_EVENT_AGE_HOURS the task also waits until a record of the last hours of the day is committed. So the
alert also comes if the day was landed in time, but the API did not show its last records yet. If your account can be
without activity for so long, do not set it, or let a scheduled job make audit records more often than that.

There is no alert if this DAG itself is paused, if the scheduler or the triggerer does not run, or if a committed day
lacks other records that appeared later. cloudflare_audit_gaps reads each day again and adds such records.

Settings: AUDIT_DESTINATION, as for the DAG cloudflare_audit_daily; AUDIT_DEADLINE_CALLBACK, the path of a notifier or
of a function that takes `text`, importable in the triggerer; the default logs an error there. On Airflow 3.0, which has
no deadline alerts, the task waits in the same way and fails after a day.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.coverage import CloudflareAuditLogsCoverageOperator

DESTINATION = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")
HOURS = os.environ.get("AUDIT_MAX_EVENT_AGE_HOURS")
MAX_EVENT_AGE = timedelta(hours=float(HOURS)) if HOURS else None
CALLBACK = os.environ.get("AUDIT_DEADLINE_CALLBACK", "airflow_audit_provider.triggers.deadline.log_missed_deadline")
# From the start of the day: six hours after its end.
DEADLINE = timedelta(hours=30)


def deadline() -> dict[str, Any]:
    """Returns the argument ``deadline`` of the DAG, or no argument on Airflow 3.0, which has no deadline alerts."""
    try:
        from airflow.sdk.definitions.deadline import (  # type: ignore[attr-defined]  # 3.1 has AsyncCallback only here
            AsyncCallback,
            DeadlineAlert,
            DeadlineReference,
        )
    except ImportError:
        return {}
    text = "The Cloudflare audit log is behind: a day is not committed, or its last records are missing."
    return {
        "deadline": DeadlineAlert(
            reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
            interval=DEADLINE,
            callback=AsyncCallback(CALLBACK, kwargs={"text": text}),
        )
    }


def fail_on_gap(_context: Mapping[str, Any], gaps: Sequence[Mapping[str, Any]]) -> None:
    """Fails the attempt while the day is missing, so that Airflow retries it later."""
    if gaps:
        raise RuntimeError(
            f"{gaps[0]['window_start']} is not committed in {DESTINATION} yet. See the DAG that lands it."
        )


with DAG(
    dag_id="cloudflare_audit_deadline",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=3,
    tags=["cloudflare", "audit"],
    doc_md=__doc__,
    **deadline(),
):
    CloudflareAuditLogsCoverageOperator(
        task_id="await_commit",
        destination=DESTINATION,
        start="{{ data_interval_start.isoformat() }}",
        end="{{ data_interval_end.isoformat() }}",
        # With the default, a day that is not settled yet would not count as missing.
        settle_delay=timedelta(0),
        # With "day", a day that lacks some hours would be partial and not missing.
        division="hour",
        reasons=["missing"],
        # Until yesterday is committed, each attempt finds a gap, which must not make a monitoring system alert.
        send_metrics=False,
        max_event_age=MAX_EVENT_AGE,
        retries=48,
        retry_delay=timedelta(minutes=30),
        post_execute=fail_on_gap,
    )
