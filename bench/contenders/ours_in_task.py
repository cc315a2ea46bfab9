"""This provider as a task: the operator's ``execute`` with a plain context.

Invariant: the operator gets the arguments of a DAG and nothing else.
"""

from __future__ import annotations

import json
import os

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from bench.contenders.ours import FORMATS, UNLIMITED
from bench.job import Job


def pull(job: Job) -> int:
    """Lands the window of the job; returns the record count of the operator's summary."""
    extra = {"account_id": job.account_id, "rate_limit_requests": UNLIMITED}
    connection = {"conn_type": "cloudflare", "host": job.base_url, "password": job.token, "extra": extra}
    os.environ["AIRFLOW_CONN_CLOUDFLARE_DEFAULT"] = json.dumps(connection)
    file_format, compression, schema = FORMATS[job.form]
    operator = CloudflareAuditLogsToObjectStorageOperator(
        task_id="land",
        destination=f"file://{job.folder}",
        file_format=file_format,
        compression=compression,
        schema=schema,
        window_start=job.start,
        window_end=job.end,
    )
    return int(operator.execute({})["record_count"])
