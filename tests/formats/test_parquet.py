"""Parquet for warehouses: the content of the footer, and the same table for every reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped]  # its stubs are another package
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.formats import arrow, parquet
from airflow_audit_provider.formats.arrow import normalized_layout
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.normalized.columns import COLUMNS, TableColumn, columns_of
from airflow_audit_provider.formats.part_format import part_format
from tests.formats.encoded import encode
from tests.formats.odd_records import V1, V2, odd_records, raw_of, records_of
from tests.formats.rows_of import fake_records, parquet_table

BOTH_SCHEMAS = pytest.mark.parametrize("schema", ["normalized", "ocsf"])
GOLDEN = Path(__file__).parent / "golden" / "normalized-1.0.parquet"


def footer(schema: str, records: list[AuditRecord], version: ApiVersion = V1) -> Any:
    """Returns the metadata in a part's footer."""
    return pq.read_metadata(pa.BufferReader(encode(part_format("parquet", None, schema), version, records)))


def columns_in(footer: Any) -> dict[str, Any]:
    """Returns the columns of the first row group by path."""
    group = footer.row_group(0)
    return {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}


@pytest.mark.integration
@BOTH_SCHEMAS
def test_one_schema_for_every_part(schema: str) -> None:
    """Empty, plain and odd parts of both versions have one schema, with its name and version."""
    parts = [(V1, []), (V1, fake_records(V1, 20)), (V1, odd_records(V1)), (V2, fake_records(V2, 20)), (V2, [])]
    schemas = [parquet_table(schema, version, records).schema for version, records in parts]
    assert all(one.equals(schemas[0], check_metadata=True) for one in schemas)
    assert schemas[0].metadata[b"audit_schema"] == schema.encode()
    major = b"2.0" if schema == "ocsf" else b"1.0"
    assert schemas[0].metadata[b"audit_schema_version"] == major


def test_columns_have_type_description_and_field_id() -> None:
    """Each column has its type, its description and a field id that no later column takes."""
    schema = parquet_table("normalized", V1, []).schema
    types = {
        ColumnType.TEXT: "string", ColumnType.JSON: "string", ColumnType.BOOLEAN: "bool", ColumnType.INTEGER: "int64",
        ColumnType.TIMESTAMP: "timestamp[us, tz=UTC]",
    }  # fmt: skip
    for number, (field, column) in enumerate(zip(schema, COLUMNS, strict=True), start=1):
        assert (field.name, str(field.type), field.nullable) == (column.name, types[column.type], column.nullable)
        assert field.metadata[b"meaning"].decode() == column.meaning
        assert field.metadata[b"PARQUET:field_id"] == b"%d" % number


@pytest.mark.integration
@pytest.mark.parametrize(("schema", "name"), [("raw", "event_time"), ("normalized", "event_time"), ("ocsf", "time")])
def test_rows_are_sorted_as_the_footer_states(schema: str, name: str) -> None:
    """Rows are sorted by event time, its statistics bound each row group, and pages have an index."""
    records = fake_records(V1, 500)
    reported = footer(schema, records)
    column = columns_in(reported)[name]
    (order,) = reported.row_group(0).sorting_columns
    assert (reported.row_group(0).column(order.column_index).path_in_schema, order.descending) == (name, False)
    times = parquet_table(schema, V1, records).column(name).to_pylist()
    assert times == sorted(times)
    assert (column.statistics.min, column.statistics.max) == (times[0], times[-1])
    assert column.has_column_index
    assert column.has_offset_index
    assert column.compression == "ZSTD"


@pytest.mark.integration
@BOTH_SCHEMAS
def test_columns_of_few_values_have_a_dictionary(schema: str) -> None:
    """Columns with few values have a dictionary, unique ones do not, and long texts have no statistics."""
    columns = columns_in(footer(schema, fake_records(V1, 500)))
    by_path = {path: "RLE_DICTIONARY" in column.encodings for path, column in columns.items()}
    repeating = {
        "normalized": {column.name: column.repeats for column in COLUMNS},
        "ocsf": {"class_name": True, "actor.user.email_addr": True, "raw_data": False, "metadata.uid": False},
    }[schema]
    assert {path: by_path[path] for path in repeating} == repeating
    raw = {"normalized": "raw", "ocsf": "raw_data"}[schema]
    assert not columns[raw].is_stats_set
    assert columns[{"normalized": "actor_email", "ocsf": "actor.user.name"}[schema]].is_stats_set


def test_record_text_has_no_statistics() -> None:
    """Of raw records the id and the time have statistics, the record's text has none."""
    columns = columns_in(footer("raw", fake_records(V1, 500)))
    without = {path for path, column in columns.items() if not column.is_stats_set}
    assert without == {"record"}


@pytest.mark.integration
@BOTH_SCHEMAS
def test_row_groups_are_bounded_by_size(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few large records fill a row group as many small ones do; no record is lost between them."""
    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 100_000)
    large = records_of(V1, *(raw_of(V1, f"{number:03}", note="x" * 9_000) for number in range(40)))
    encoder = part_format("parquet", None, schema).open_encoder(V1)
    content = b"".join([encoder.encode([one], lines_of([one])) for one in large] + [encoder.finish()])
    reported = pq.read_metadata(pa.BufferReader(content))
    assert [reported.row_group(index).num_rows for index in range(reported.num_row_groups)] == [12, 12, 12, 4]
    assert list(part_format("parquet", None, schema).read(V1, content)) == large


@pytest.mark.integration
@BOTH_SCHEMAS
def test_the_same_records_are_the_same_bytes(schema: str) -> None:
    """Encoding twice gives the same bytes."""
    format_, records = part_format("parquet", None, schema), fake_records(V2, 300)
    assert encode(format_, V2, records) == encode(format_, V2, records)


DUCKDB_TYPES = {
    ColumnType.TEXT: "VARCHAR", ColumnType.JSON: "VARCHAR", ColumnType.BOOLEAN: "BOOLEAN", ColumnType.INTEGER: "BIGINT",
    ColumnType.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip
POLARS_TYPES: dict[ColumnType, Any] = {
    ColumnType.TEXT: pl.String, ColumnType.JSON: pl.String, ColumnType.BOOLEAN: pl.Boolean,
    ColumnType.INTEGER: pl.Int64, ColumnType.TIMESTAMP: pl.Datetime("us", "UTC"),
}  # fmt: skip


@pytest.mark.integration
def test_four_readers_read_one_table(tmp_path: Path) -> None:
    """DuckDB, pyarrow, Polars and pandas read the same columns, types and rows of both versions."""
    records = {
        V1: [*fake_records(V1, 300), *odd_records(V1)],
        V2: [*fake_records(V2, 300), *odd_records(V2)],
    }
    for version, some in records.items():
        (tmp_path / f"{version}.parquet").write_bytes(encode(part_format("parquet", None, "normalized"), version, some))
    pattern, count = f"{tmp_path}/*.parquet", sum(map(len, records.values()))
    from_arrow = ds.dataset(tmp_path, format="parquet").to_table().sort_by([("api_version", "ascending")])
    with duckdb.connect() as connection:
        described = connection.sql(f"describe select * from '{pattern}'").fetchall()
        from_duckdb = connection.sql(f"select * from '{pattern}'").to_arrow_table()
    from_polars, from_pandas = pl.read_parquet(pattern), pd.read_parquet(tmp_path, dtype_backend="pyarrow")
    assert [(name, kind) for name, kind, *_ in described] == [(c.name, DUCKDB_TYPES[c.type]) for c in COLUMNS]
    assert dict(from_polars.schema) == {column.name: POLARS_TYPES[column.type] for column in COLUMNS}
    assert list(from_pandas.columns) == from_arrow.schema.names == from_duckdb.schema.names == list(from_polars.columns)
    assert str(from_pandas["event_time"].dtype) == "timestamp[us, tz=UTC][pyarrow]"
    tables = [from_arrow, from_duckdb, from_polars.to_arrow(), pa.Table.from_pandas(from_pandas, preserve_index=False)]
    assert len({_digest_of(table) for table in tables}) == 1
    assert from_arrow.num_rows == count


def _digest_of(table: pa.Table) -> int:
    """Returns a number that is equal for tables with the same rows in any order."""
    instants = table.column("event_time").cast(pa.timestamp("us", tz="UTC"))
    plain = table.set_column(table.schema.get_field_index("event_time"), "event_time", instants)
    return hash(tuple(sorted(repr(tuple(row.values())) for row in plain.to_pylist())))


# -- versions ---------------------------------------------------------------------------------------------------------


def tomorrow(patch: pytest.MonkeyPatch) -> None:
    """Adds a column to the table, as a minor version 1.1 would."""
    later = TableColumn("interface_kind", ColumnType.TEXT, "interface", "actor.context", "of tomorrow", since=1)
    for module in (normalized, arrow):
        patch.setattr(module, "COLUMNS", (*COLUMNS, later))
    normalized_layout.cache_clear()


def test_stored_part_of_version_1_0_is_read() -> None:
    """The records and columns of a file written by 1.0 are read."""
    content = GOLDEN.read_bytes()
    records = list(part_format("parquet", None, "normalized").read(V1, content))
    assert records == golden_records()
    table = pq.read_table(pa.BufferReader(content))
    assert table.schema.names == [column.name for column in columns_of(0)]
    newest = parquet_table("normalized", V1, golden_records())
    # The file was written before the id of a resource of type zone was also the zone's.
    rows = [
        {**row, "zone_id": row["resource_id"] if row["resource_type"] == "zone" else row["zone_id"]}
        for row in table.to_pylist()
    ]
    assert newest.select(table.schema.names).to_pylist() == rows
    assert rows != table.to_pylist()


def golden_records() -> list[AuditRecord]:
    """Returns the records of the file that 1.0 wrote."""
    return [*fake_records(V1, 40), *records_of(V1, raw_of(V1, "odd", actor={"email": {"a": 1}}, interface=7))]


def test_parts_of_two_minor_versions_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader unites parts of 1.0 and 1.1; the new column is null in the older ones."""
    (tmp_path / "old.parquet").write_bytes(GOLDEN.read_bytes())
    tomorrow(monkeypatch)
    schema = normalized_layout(1).schema
    normalized_layout.cache_clear()
    old = pq.read_table(tmp_path / "old.parquet")
    new = pa.Table.from_pylist([{**row, "interface_kind": "UI"} for row in old.to_pylist()], schema=schema)
    pq.write_table(new, tmp_path / "new.parquet")
    pattern = f"{tmp_path}/*.parquet"
    with duckdb.connect() as connection:
        query = f"select count(*), count(interface_kind) from read_parquet('{pattern}', union_by_name=true)"
        assert connection.sql(query).fetchall() == [(82, 41)]
    united = ds.dataset(tmp_path, format="parquet", schema=pa.unify_schemas([old.schema, schema])).to_table()
    polars = pl.scan_parquet(pattern, missing_columns="insert", schema=pl.read_parquet_schema(tmp_path / "new.parquet"))
    assert united.column("interface_kind").null_count == 41
    assert polars.collect()["interface_kind"].null_count() == 41
    assert [one.name for one in schema][-2:] == ["interface_kind", "raw"]
    for name in ("old", "new"):
        content = (tmp_path / f"{name}.parquet").read_bytes()
        assert list(part_format("parquet", None, "normalized").read(V1, content)) == golden_records()


@pytest.mark.parametrize("texts", [[], [""], ["a", "\u00e9", "", "b" * 70_000], ["x"] * 1500])
def test_texts_of_a_column_are_its_values_in_utf8(texts: list[str]) -> None:
    """Also where the column begins inside of a buffer that it shares with other rows."""
    padded = pa.array(["before", *texts, "after"], pa.string())
    for column in (pa.array(texts, pa.string()), padded.slice(1, len(texts))):
        assert parquet._texts_of(column) == [text.encode() for text in texts]


@pytest.mark.parametrize("column", [pa.array(["a", None], pa.string()), pa.array([1, 2], pa.int64())])
def test_column_that_cannot_be_of_records_is_refused(column: Any) -> None:
    """The part is then reported as unreadable; a null is no record and no id."""
    with pytest.raises(ValueError, match="a column of records or ids is"):
        parquet._texts_of(column)
