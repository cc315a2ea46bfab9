"""This provider without Airflow: ``pull_window`` over httpx, into local files.

Invariant: every setting is the operator's default, except the rate limit, which the fake does not have.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from uuid import uuid4

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.cloudflare.http import Credentials, Endpoint, HttpTransport, open_client
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.adapters.warehouses.iceberg import IcebergWarehouse, open_iceberg
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, table_name
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.warehouse.port import Warehouse
from airflow_audit_provider.core.windows.run_window import RunBounds, resolve_run_window
from airflow_audit_provider.formats.part_format import PartFormat, part_format
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.pipelines.pull import pull_window
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from bench.job import Job

UNLIMITED = 100_000_000
FORMATS = {
    "jsonl.gz": ("jsonl", "gzip", "raw"),
    "jsonl.zst": ("jsonl", "zstd", "raw"),
    "parquet": ("parquet", "zstd", "raw"),
    "parquet normalized": ("parquet", "zstd", "normalized"),
    "parquet ocsf": ("parquet", "zstd", "ocsf"),
    # Records land before they are loaded, as in an Airflow deployment.
    "duckdb": ("parquet", "zstd", "normalized"),
    "iceberg": ("parquet", "zstd", "normalized"),
}


def pull(job: Job) -> int:
    """Lands the window of the job; returns the record count of its manifest."""
    bounds = RunBounds(window_start=job.start, window_end=job.end)
    order = PullSpec(
        audit_query("v1", "account", account_id=job.account_id),
        resolve_run_window(bounds),
        format_of(job.form),
        attempt_id=uuid4().hex,
    )
    with open_client(Endpoint(Credentials(token=job.token), job.base_url)) as client:
        budget = RateLimiter(RateLimit(UNLIMITED, 300.0))
        source = AuditLogReader(HttpTransport(client), SystemClock(), budget, RetryLimits())
        outcome = pull_window(order, source, LocalStore(job.folder), NullObserver())
    return _load(job) if job.form in {"duckdb", "iceberg"} else outcome.manifest.record_count


def _load(job: Job) -> int:
    """Loads the landed window into a table; returns the number of rows."""
    with closing(_warehouse(job)) as warehouse:
        return load_committed(
            LoadSpec("bench", "file:///bench"), LocalStore(job.folder), warehouse, _ignore
        ).record_count


def _warehouse(job: Job) -> Warehouse:
    folder, clock = f"{job.folder}/_warehouse", SystemClock()
    Path(folder).mkdir()
    if job.form == "duckdb":
        return SqlWarehouse(open_duckdb(f"{folder}/audit.duckdb", clock), table_name("audit_logs"))
    properties = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
    return IcebergWarehouse(open_iceberg(properties, "bench"), "bench.audit_logs", clock)


def format_of(form: str) -> PartFormat:
    """Returns the part format of a form."""
    return part_format(*FORMATS[form])


def _ignore(_: object) -> None:
    """Ignores the event."""
