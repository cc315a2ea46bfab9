"""The memory of a load does not grow with the size of its window."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.limits import DEFAULT_MAX_PART_BYTES
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.load.warehouses import LoadTarget
from tests.pipelines.pull.landing import START, land, pull_spec
from tests.pipelines.pull.measured_pull import PER_SECOND, ComputedRecords

REPOSITORY = Path(__file__).parents[3]
FEW, MANY = 50_000, 200_000
# The larger window has 130 MB more text. The allocator's gaps may take this much.
TOLERANCE_MEBIBYTES = 64


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of a window with few records and of one with many."""
    folders = {count: tmp_path_factory.mktemp(str(count)) for count in (FEW, MANY)}
    for count, folder in folders.items():
        limiter = RateLimiter(RateLimit(100_000, 1))
        reader = AuditLogReader(ComputedRecords(count), ManualClock(), limiter, RetryLimits())
        end = START + timedelta(seconds=count / PER_SECOND)
        spec = pull_spec(
            file_format="parquet",
            schema="normalized",
            end=end,
            compression="zstd",
            max_part_bytes=DEFAULT_MAX_PART_BYTES,
        )
        assert land(spec, reader, LocalStore(str(folder))).manifest.record_count == count
    return folders


def _added_mebibytes(target: LoadTarget, folder: Path, memory_limit: str = "") -> int:
    """Loads into a new table in a new interpreter; returns the memory beyond that of the imports."""
    table = f"{target.table}_{folder.name}"
    command = [
        sys.executable,
        "-m",
        "tests.pipelines.load.measured_load",
        target.kind,
        target.address,
        table,
        str(folder),
    ]
    completed = subprocess.run(
        [*command, memory_limit], cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=True
    )
    return int(completed.stdout)


@pytest.mark.nightly
@pytest.mark.parametrize("target", ["duckdb", "psycopg", "iceberg", "delta", "clickhouse"], indirect=True)
def test_four_times_the_records_take_no_more_memory(target: LoadTarget, landed: dict[int, Path]) -> None:
    """A load of 200,000 records takes at most 448 MB, and at most 64 MB more than one of 50,000."""
    few, many = (_added_mebibytes(target, landed[count], "100MB") for count in (FEW, MANY))
    assert many <= 448
    assert many - few <= TOLERANCE_MEBIBYTES


@pytest.mark.nightly
@pytest.mark.parametrize("target", ["duckdb"], indirect=True)
def test_duckdb_keeps_to_the_default_limit(target: LoadTarget, landed: dict[int, Path]) -> None:
    """Without another limit DuckDB takes 256 MB, however much it writes."""
    many = _added_mebibytes(target, landed[MANY])
    assert many <= 256 + 256
