"""Writes every hour, and seals a day when its 24 hours are written. Needs Airflow 3.3; older versions get no DAG.

`cloudflare_audit_hourly` runs each hour for the previous hour. The events of its asset have the hour as partition key.
`cloudflare_audit_day_seal` maps them to their day and starts one run for a day when all 24 hours are written, in any
order. If late records are added to a sealed day, clear that day's run to seal it again.

The Airflow Variable `audit_newest_seal` has the digest of the newest seal of the previous run. The next run seals
nothing if the chain does not contain this digest. Somebody who can only write to the object store cannot change a
Variable. The first run creates the Variable.

After each seal, `report_day` writes a report for auditors below `_reports/` of the destination: one HTML file about all
days, which needs neither Airflow nor this package to be read.

Settings: AUDIT_HOURLY_DESTINATION, AUDIT_HOURLY_START_DATE, AUDIT_SEAL_CONN_ID (a connection with the signing key;
without it seals are not signed), and the Variable `audit_seal_public_key` (the public key; without it, signatures are
not verified, and sealed parts that were erased are removed only by the run that erases them).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow import __version__
from airflow.sdk import DAG, Variable, task

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.report import CloudflareAuditLogsReportOperator
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator

DESTINATION = os.environ.get("AUDIT_HOURLY_DESTINATION", "file:///tmp/cloudflare-audit/hourly")
START_DATE = os.environ.get("AUDIT_HOURLY_START_DATE", "2026-11-01")
# The format in which the timetable writes keys and the rollup's mapper reads them.
HOUR_KEY = "%Y-%m-%dT%H:%M:%S"
NEWEST_SEAL = "audit_newest_seal"
PUBLIC_KEY = "{{ var.value.get('audit_seal_public_key', '') }}"


@task
def keep_digest(digest: str) -> None:
    """Keeps the digest of the newest seal in Airflow's database, outside of the object store."""
    Variable.set(NEWEST_SEAL, digest)


if [int(part) for part in __version__.split(".")[:2]] >= [3, 3]:
    from airflow.sdk import CronPartitionTimetable, DayWindow, PartitionedAssetTimetable, RollupMapper, StartOfDayMapper

    with DAG(
        dag_id="cloudflare_audit_hourly",
        schedule=CronPartitionTimetable("0 * * * *", timezone="UTC", run_offset=-1, key_format=HOUR_KEY),
        start_date=datetime.fromisoformat(START_DATE).replace(tzinfo=UTC),
        catchup=True,
        max_active_runs=4,
        default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
        tags=["cloudflare", "audit", "partitions"],
        doc_md=__doc__,
    ):
        CloudflareAuditLogsToObjectStorageOperator(
            task_id="land_hour",
            destination=DESTINATION,
            window_length=timedelta(hours=1),
            partition_key_format=HOUR_KEY,
            # The hour ends when its run starts, so every run waits for the settle delay, in the triggerer.
            deferrable=True,
            public_key=PUBLIC_KEY,
            outlets=[audit_log_asset(DESTINATION)],
        )

    with DAG(
        dag_id="cloudflare_audit_day_seal",
        schedule=PartitionedAssetTimetable(
            assets=audit_log_asset(DESTINATION),
            default_partition_mapper=RollupMapper(
                upstream_mapper=StartOfDayMapper(input_format=HOUR_KEY), window=DayWindow()
            ),
        ),
        catchup=False,
        # Seals form one chain, so two days cannot be sealed at the same time.
        max_active_runs=1,
        default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
        tags=["cloudflare", "audit", "partitions", "seal"],
        doc_md=__doc__,
    ):
        seal = CloudflareAuditLogsSealOperator(
            task_id="seal_day",
            destination=DESTINATION,
            day="{{ dag_run.partition_key }}",
            signing_conn_id=os.environ.get("AUDIT_SEAL_CONN_ID"),
            expected_seal_sha256=f"{{{{ var.value.get('{NEWEST_SEAL}', '') }}}}",
        )
        verify = CloudflareAuditLogsVerifyOperator(
            task_id="verify_day",
            destination=DESTINATION,
            start="{{ dag_run.partition_key }}",
            end="{{ macros.ds_add(dag_run.partition_key, 1) }}",
            public_key=PUBLIC_KEY,
            # The seal task has checked that the chain also has the digest that the previous run kept.
            expected_seal_sha256="{{ ti.xcom_pull('seal_day')['newest_seal_sha256'] }}",
        )
        report = CloudflareAuditLogsReportOperator(
            task_id="report_day",
            destination=DESTINATION,
            public_key=PUBLIC_KEY,
            expected_seal_sha256="{{ ti.xcom_pull('seal_day')['newest_seal_sha256'] }}",
        )
        verify >> report
        seal >> verify >> keep_digest("{{ ti.xcom_pull('seal_day')['newest_seal_sha256'] }}")
