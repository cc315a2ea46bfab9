"""dlt: its ``rest_api`` source with page numbers, its ``filesystem`` and ``duckdb`` destinations.

Invariant: dlt's defaults, except that telemetry is off and it has its own folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
from dlt.destinations import duckdb, filesystem
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source

from bench.job import Job

# Arguments of `run` besides the source; everything else is dlt's default.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "jsonl.gz": {"loader_file_format": "jsonl"},
    # Dlt flattens records into typed columns and keeps no text of them.
    "parquet normalized": {"loader_file_format": "parquet"},
    "iceberg": {"table_format": "iceberg"},
    # By default dlt writes INSERT statements here, which cost ten times as much.
    "duckdb": {"loader_file_format": "parquet"},
}


def pull(job: Job) -> int:
    """Lands the records of the job; returns the number of rows that dlt normalized."""
    with TemporaryDirectory() as working:
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=working,
            destination=_destination(job),
            dataset_name="audit",
        )
        pipeline.run(rest_api_source(_config(job)), **ARGUMENTS[job.form])
        return int(pipeline.last_trace.last_normalize_info.row_counts["audit_logs"])


def _destination(job: Job) -> Any:
    if job.form == "duckdb":
        return duckdb(f"{job.folder}/bench.duckdb")
    return filesystem(Path(job.folder).as_uri())


def _config(job: Job) -> RESTAPIConfig:
    paginator = {"type": "page_number", "base_page": 1, "page_param": "page", "total_path": None}
    endpoint = {"path": job.path, "params": job.params, "data_selector": "result", "paginator": paginator}
    return {
        "client": {"base_url": f"{job.base_url}/", "auth": {"type": "bearer", "token": job.token}},
        "resources": [{"name": "audit_logs", "endpoint": endpoint}],
    }
