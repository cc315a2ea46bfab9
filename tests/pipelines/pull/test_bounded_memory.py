"""The memory of a pull does not grow with the size of its window."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
FEW_COUNT = 100_000
# Allowed difference: allocator gaps of eight threads; up to 8 MiB were measured.
SPARE_KIBIBYTES = 12 * 1024


def _peak_kibibytes(file_format: str, compression: str, record_count: int) -> int:
    """Lands this many records in an interpreter of its own; returns the peak memory."""
    command = [sys.executable, "-m", "tests.pipelines.pull.measured_pull", file_format, compression, str(record_count)]
    reported = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1240, check=True)
    return int(reported.stdout)


# Two million records have 1.7 GB; eight bytes for each of them, with an array's spare capacity, would be 25 MB.
@pytest.mark.nightly
@pytest.mark.parametrize(
    ("file_format", "compression", "many_count"),
    [("jsonl", "gzip", 800_000), ("jsonl", "zstd", 2_000_000), ("parquet", "zstd", 800_000)],
)
def test_many_records_take_no_more_memory(file_format: str, compression: str, many_count: int) -> None:
    """A pull of 800,000 or 2,000,000 records has a peak at most 12 MiB above that of 100,000 records."""
    few = _peak_kibibytes(file_format, compression, FEW_COUNT)
    many = _peak_kibibytes(file_format, compression, many_count)
    assert few > SPARE_KIBIBYTES
    assert many <= few + SPARE_KIBIBYTES
