"""Parts that are taken as a warehouse's table as they are, and parts that are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadClaim
from airflow_audit_provider.formats import warehouse_rows
from airflow_audit_provider.formats.part_format import PartFormat, part_format
from airflow_audit_provider.formats.warehouse_rows import arrow_rows, landed_table
from tests.pipelines.verify.dataset import DAY_1, QUERY, commit, record, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

NORMALIZED = part_format("parquet", schema="normalized")
CLAIM = LoadClaim("d", LedgerEntry(window(), 1, 1, "0" * 64, None, 5, "file:///d"))
RECORDS = records_in(window(), 5)


def _content(format_: PartFormat = NORMALIZED) -> bytes:
    """Returns a part of five records."""
    store = MemoryStore()
    return store.objects[commit(store, window(), RECORDS, format_=format_).parts[0].key]


def _changed(change: Callable[[Any], Any]) -> bytes:
    """Returns the part with its Arrow table changed."""
    written = io.BytesIO()
    parquet.write_table(change(parquet.read_table(io.BytesIO(_content()))), written)
    return written.getvalue()


def test_landed_table_has_the_rows_of_its_records() -> None:
    """The Arrow tables of a part equal those made from the records, key columns included."""
    table = landed_table(_content(), NORMALIZED, CLAIM)
    assert table is not None
    assert pa.concat_tables(table.tables()) == arrow_rows(QUERY.version, RECORDS, CLAIM)
    assert table.record_count == 5
    assert table.event_bounds_ns() == (RECORDS[0].event_ns, RECORDS[-1].event_ns)


def test_landed_table_comes_in_tables_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Arrow table has as many rows as the bound allows, and at least one."""
    table = landed_table(_content(), NORMALIZED, CLAIM)
    assert table is not None
    for most_bytes, expected in ((2.5 * table.record_bytes, [2, 2, 1]), (1, [1] * 5)):
        monkeypatch.setattr(warehouse_rows, "_TABLE_BYTES", most_bytes)
        assert [rows.num_rows for rows in table.tables()] == expected


@pytest.mark.parametrize("format_", [part_format("parquet"), part_format("jsonl"), part_format("csv")])
def test_part_in_another_form_is_no_landed_table(format_: PartFormat) -> None:
    """Parts of other schemas and file formats are read record by record."""
    assert landed_table(_content(format_), format_, CLAIM) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns(["actor_email"]),
        lambda table: table.set_column(table.schema.get_field_index("request_status"), "request_status", table["id"]),
        lambda table: table.slice(0, 0),
    ],
    ids=["missing column", "other type", "no rows"],
)
def test_part_with_other_columns_is_no_landed_table(change: Callable[[Any], Any]) -> None:
    """A file without a documented column, or with another type, is read from its records' own text."""
    assert landed_table(_changed(change), NORMALIZED, CLAIM) is None


def test_column_of_a_later_version_is_left_out() -> None:
    """A file of a later minor version has a column that this release does not know; the others are loaded."""
    content = _changed(lambda table: table.append_column("severity", pa.array([1] * 5)))
    later = PartFormat("parquet", "zstd", "normalized", "1.7")
    table = landed_table(content, later, CLAIM)
    assert table is not None
    assert "severity" not in table.column_names
    assert pa.concat_tables(table.tables()) == arrow_rows(QUERY.version, RECORDS, CLAIM)


def test_event_times_are_read_from_the_rows() -> None:
    """The bounds are those of the rows, whatever the file's statistics state."""
    store = MemoryStore()
    late = [record(DAY_1 + timedelta(hours=hours), f"r{hours}") for hours in (3, 1, 2)]
    content = store.objects[commit(store, window(), late, format_=NORMALIZED).parts[0].key]
    table = landed_table(content, NORMALIZED, CLAIM)
    assert table is not None
    assert table.event_bounds_ns() == (late[1].event_ns, late[0].event_ns)
