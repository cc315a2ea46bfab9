"""Prints the memory of one load in an interpreter of its own: ``python -m tests.pipelines.load.measured_load``.

The memory of imports and of an empty table is not counted.
"""

from __future__ import annotations

import sys
from contextlib import closing
from importlib import import_module

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.formats.warehouse_rows import table_columns
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from bench.meter import peak_bytes, resident_bytes
from tests.pipelines.load.warehouses import DESTINATION, LoadTarget


def added_mebibytes(target: LoadTarget, folder: str, memory_limit: str | None) -> int:
    """Loads all committed windows of a folder; returns the peak memory minus the memory in use before."""
    import_module("pyarrow.parquet")
    with closing(target.open(memory_limit)) as warehouse:
        warehouse.prepare(table_columns())
        before = resident_bytes()
        load_committed(LoadSpec("d", DESTINATION), LocalStore(folder), warehouse, lambda _: None)
        return (peak_bytes() - before) >> 20


if __name__ == "__main__":
    kind, address, table, folder, limit = sys.argv[1:]
    print(added_mebibytes(LoadTarget(kind, address, table), folder, limit or None))
