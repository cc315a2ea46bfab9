"""dlt as a loader: its ``filesystem`` source of landed Parquet files, read as Arrow tables, into each engine.

Run as a process of its own, on the environment of ``make bench``: the tests' environment has no dlt.

Invariant: dlt's defaults, except that telemetry is off, it has its own folder, and each engine gets the file format
that costs dlt least.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
from dlt.destinations import duckdb, filesystem, postgres
from dlt.sources.filesystem import filesystem as files
from dlt.sources.filesystem import read_parquet

from bench.meter import peak_bytes, read_meter, resident_bytes

# Arguments of `run` besides the source.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "duckdb": {"loader_file_format": "parquet"},
    "iceberg": {"table_format": "iceberg"},
    "postgres": {"loader_file_format": "csv"},
}


def load(engine: str, landed: str, address: str, working: str) -> int:
    """Loads the landed Parquet files into an empty table; returns the number of rows that dlt normalized."""
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=f"{working}/pipelines",
        destination=_destination(engine, address, working),
        dataset_name=f"bench_{os.getpid()}",
    )
    landed_files = files(bucket_url=Path(landed).absolute().as_uri(), file_glob="dt=*/**/*.parquet")
    rows = (landed_files | read_parquet(use_pyarrow=True)).with_name("audit_logs")
    pipeline.run(rows, **_ARGUMENTS[engine])
    return int(pipeline.last_trace.last_normalize_info.row_counts["audit_logs"])


def _destination(engine: str, address: str, working: str) -> Any:
    if engine == "postgres":
        given = dict(setting.split("=", 1) for setting in address.split())
        # The server asks for no password, but dlt does.
        return postgres(f"postgresql://{given['user']}:none@{given['host']}:{given['port']}/{given['dbname']}")
    if engine == "iceberg":
        return filesystem(Path(working, "lake").as_uri())
    return duckdb(f"{working}/bench.duckdb")


def main() -> int:
    """Prints the CPU seconds, wall seconds, peak in MiB and rows of one load."""
    import pyarrow.parquet  # noqa: F401 - imported before the clock starts, as in the other loads

    engine, landed, address = sys.argv[1:4]
    with TemporaryDirectory() as working:
        before_bytes, before = resident_bytes(), read_meter()
        row_count = load(engine, landed, address, working)
        after, peak = read_meter(), (peak_bytes() - before_bytes) >> 20
        print(after.cpu_seconds - before.cpu_seconds, after.wall_seconds - before.wall_seconds, peak, row_count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
