"""Memory does not grow with the window."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Eight times the records weigh 600 MB more, and the eight bytes of each id that would be held 5.6, with their gaps 11.
# What may be left of that: the allocator's gaps, and what is known of a part; 4 were measured.
SPARE_KIBIBYTES = 8 * 1024


def _peak_kibibytes(file_format: str, compression: str, record_count: int) -> int:
    """Land so many records in an interpreter of its own; return its peak memory."""
    command = [sys.executable, "-m", "tests.pipeline.measured_pull", file_format, compression, str(record_count)]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)
    return int(told.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("file_format", "compression"), [("jsonl", "gzip"), ("jsonl", "zstd"), ("parquet", "zstd")])
def test_eight_times_the_records_take_no_more_memory(file_format: str, compression: str) -> None:
    """A pull of 800,000 records peaks no more than 8 MB above one of 100,000."""
    few = _peak_kibibytes(file_format, compression, 100_000)
    many = _peak_kibibytes(file_format, compression, 800_000)
    assert many - few <= SPARE_KIBIBYTES
