"""Pulls a window into Parquet in an interpreter of its own, and prints whether pandas was imported; run as a module."""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from importlib.util import find_spec

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import START, land, pull_spec
from tests.pipelines.pull.measured_pull import PER_SECOND, ComputedRecords

_RECORDS = 1500


def main(schema: str) -> None:
    """Prints the number of records, whether pandas can be imported, and whether it was."""
    reader = AuditLogReader(ComputedRecords(_RECORDS), ManualClock(), RateLimiter(RateLimit(100_000, 1)), RetryLimits())
    end = START + timedelta(seconds=_RECORDS / PER_SECOND)
    spec = pull_spec(file_format="parquet", compression="zstd", schema=schema, end=end)
    with tempfile.TemporaryDirectory() as path:
        print(land(spec, reader, LocalStore(path)).manifest.record_count)
    print("importable" if find_spec("pandas") else "missing")
    print("imported" if "pandas" in sys.modules else "absent")


if __name__ == "__main__":
    main(sys.argv[1])
