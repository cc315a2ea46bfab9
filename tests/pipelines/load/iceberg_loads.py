"""Loads into an Iceberg catalog by its properties, as they are in a connection."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from airflow_audit_provider.adapters.warehouses.iceberg import IcebergWarehouse, open_iceberg
from airflow_audit_provider.pipelines.load import LoadOutcome, LoadSpec, load_committed
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.load.warehouses import DESTINATION
from tests.pipelines.verify.memory_store import MemoryStore


def sql_properties(folder: str, **changed: str) -> dict[str, str]:
    """Returns the properties of an SQL catalog in a folder, some of them changed."""
    return {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}", **changed}


def load(properties: dict[str, Any], store: MemoryStore, table: str = "audit.records") -> LoadOutcome:
    """Loads all pending windows into a table of the catalog."""
    with closing(IcebergWarehouse(open_iceberg(properties, "default"), table, ManualClock())) as warehouse:
        return load_committed(LoadSpec("d", DESTINATION), store, warehouse, lambda _: None)


def check_loads_once(properties: dict[str, Any], store: MemoryStore) -> None:
    """Fails unless the next load loads the window of two records, and the one after it nothing."""
    assert [load(properties, store).record_count for _ in range(2)] == [2, 0]
