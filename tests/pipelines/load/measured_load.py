"""One load in an interpreter of its own, whose memory is printed: ``python -m tests.pipelines.load.measured_load``.

Knows: how a place is opened and its memory counted. Must not know: what is too much.
Its one rule: what imports and an empty table take is not counted.
"""

from __future__ import annotations

import sys
from contextlib import closing
from importlib import import_module

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.formats.warehouse_rows import table_columns
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from bench.meter import peak_bytes, resident_bytes
from tests.pipelines.load.warehouses import Place


def added_mebibytes(place: Place, folder: str, memory_limit: str | None) -> int:
    """Load all that landed in a folder; return the most memory that took beside what was there before."""
    import_module("pyarrow.parquet")
    with closing(place.open(memory_limit)) as warehouse:
        warehouse.prepare(table_columns())
        before = resident_bytes()
        load_committed(LoadSpec("d"), LocalStore(folder), warehouse, lambda _: None)
        return (peak_bytes() - before) >> 20


if __name__ == "__main__":
    kind, address, table, folder, limit = sys.argv[1:]
    print(added_mebibytes(Place(kind, address, table), folder, limit or None))
