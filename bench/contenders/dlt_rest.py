"""dlt: its ``rest_api`` source with page numbers, its ``filesystem`` destination.

Knows: ``dlt``. Must not know: the other contenders.
Its one rule: dlt's defaults, but for telemetry, which a benchmark does not send, and a folder of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
from dlt.destinations import filesystem
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source

from bench.job import Job

FILE_FORMATS = {"jsonl.gz": "jsonl", "parquet": "parquet"}


def pull(job: Job) -> int:
    """Land the job's records; return how many rows dlt says it normalised."""
    with TemporaryDirectory() as working:
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=working,
            destination=filesystem(Path(job.folder).as_uri()),
            dataset_name="audit",
        )
        pipeline.run(rest_api_source(_config(job)), loader_file_format=FILE_FORMATS[job.form])
        return int(pipeline.last_trace.last_normalize_info.row_counts["audit_logs"])


def _config(job: Job) -> RESTAPIConfig:
    paginator = {"type": "page_number", "base_page": 1, "page_param": "page", "total_path": None}
    endpoint = {"path": job.path, "params": job.params, "data_selector": "result", "paginator": paginator}
    return {
        "client": {"base_url": f"{job.base_url}/", "auth": {"type": "bearer", "token": job.token}},
        "resources": [{"name": "audit_logs", "endpoint": endpoint}],
    }
