"""Memory does not grow with the window that is loaded."""

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
from tests.pipelines.load.warehouses import Place
from tests.pipelines.pull.landing import START, land, order
from tests.pipelines.pull.measured_pull import PER_SECOND, Arithmetic

REPOSITORY = Path(__file__).parents[3]
FEW, MANY = 50_000, 200_000
# The difference is 130 MB of text. What may be left of it: the allocator's gaps.
SPARE_MEBIBYTES = 64


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A window of few and one of many records, each in a folder of its own."""
    folders = {count: tmp_path_factory.mktemp(str(count)) for count in (FEW, MANY)}
    for count, folder in folders.items():
        source = AuditLogReader(Arithmetic(count), ManualClock(), RateLimiter(RateLimit(100_000, 1)), RetryLimits())
        end = START + timedelta(seconds=count / PER_SECOND)
        wanted = order(
            file_format="parquet",
            schema="normalized",
            end=end,
            compression="zstd",
            max_part_bytes=DEFAULT_MAX_PART_BYTES,
        )
        assert land(wanted, source, LocalStore(str(folder))).manifest.record_count == count
    return folders


def _added_mebibytes(place: Place, folder: Path, memory_limit: str = "") -> int:
    """Load into a table of its own in an interpreter of its own; return the memory that took above the imports."""
    table = f"{place.table}_{folder.name}"
    command = [
        sys.executable,
        "-m",
        "tests.pipelines.load.measured_load",
        place.kind,
        place.address,
        table,
        str(folder),
    ]
    told = subprocess.run(
        [*command, memory_limit], cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=True
    )
    return int(told.stdout)


@pytest.mark.nightly
@pytest.mark.parametrize("place", ["duckdb", "psycopg", "iceberg"], indirect=True)
def test_four_times_the_records_take_no_more_memory(place: Place, landed: dict[int, Path]) -> None:
    """A load of 200,000 records takes at most 448 MB and not much more than one of 50,000, if DuckDB may have 100."""
    few, many = (_added_mebibytes(place, landed[count], "100MB") for count in (FEW, MANY))
    assert many <= 448
    assert many - few <= SPARE_MEBIBYTES


@pytest.mark.nightly
@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_duckdb_keeps_to_its_own_limit(place: Place, landed: dict[int, Path]) -> None:
    """Unless another limit is given DuckDB takes 256 MB of its own, however much it has written."""
    many = _added_mebibytes(place, landed[MANY])
    assert many <= 256 + 256
