"""Memory does not grow with the window."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
FEW_COUNT = 100_000
# What may be left between few and many: the gaps of the allocators of eight threads, of which up to 8 MiB were seen.
SPARE_KIBIBYTES = 12 * 1024


def _peak_kibibytes(file_format: str, compression: str, record_count: int) -> int:
    """Land so many records in an interpreter of its own; return what that took at its peak."""
    command = [sys.executable, "-m", "tests.pipelines.pull.measured_pull", file_format, compression, str(record_count)]
    reported = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1240, check=True)
    return int(reported.stdout)


# Two million records weigh 1.7 GB, and eight bytes of each of them with an array's gaps 25 MB.
@pytest.mark.nightly
@pytest.mark.parametrize(
    ("file_format", "compression", "many_count"),
    [("jsonl", "gzip", 800_000), ("jsonl", "zstd", 2_000_000), ("parquet", "zstd", 800_000)],
)
def test_many_records_take_no_more_memory(file_format: str, compression: str, many_count: int) -> None:
    """A pull of eight or twenty times the records peaks no more than 12 MiB above one of 100,000."""
    few = _peak_kibibytes(file_format, compression, FEW_COUNT)
    many = _peak_kibibytes(file_format, compression, many_count)
    assert few > SPARE_KIBIBYTES
    assert many <= few + SPARE_KIBIBYTES
