"""CSV and Parquet of raw records, read by other tools: complete, always with the same schema."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats import parquet
from airflow_audit_provider.formats.part_format import part_format
from tests.formats.encoded import encode
from tests.formats.odd_records import V1, V2, odd_records, raw_of, records_of
from tests.formats.rows_of import fake_records
from tests.formats.sample_records import RECORD_V1, RECORD_V2

PARQUET = part_format("parquet")
GOLDEN = Path(__file__).parent / "golden"
BOTH = pytest.mark.parametrize(("version", "raw"), [(V1, RECORD_V1), (V2, RECORD_V2)])


def parquet_table(content: bytes) -> Any:
    """Reads a Parquet part with pyarrow."""
    return pq.read_table(pa.BufferReader(content))


@BOTH
def test_the_schema_is_the_same_for_every_part(version: ApiVersion, raw: bytes) -> None:
    """Empty, plain and odd parts have one schema."""
    parts = [[], records_of(version, raw), odd_records(version)]
    schemas = {str(parquet_table(encode(PARQUET, version, part)).schema) for part in parts}
    assert len(schemas) == 1


@pytest.mark.parametrize("version", [V1, V2])
def test_columns_have_types(version: ApiVersion) -> None:
    """Times are timestamps in UTC, ids and records are text, and none is null."""
    schema = parquet_table(encode(PARQUET, version)).schema
    expected = [("id", "string"), ("event_time", "timestamp[us, tz=UTC]"), ("record", "string")]
    assert [(field.name, str(field.type)) for field in schema] == expected
    assert not any(field.nullable for field in schema)


def test_pyarrow_reads_values() -> None:
    """A record has its time to the microsecond and its complete text."""
    (one,) = parquet_table(encode(PARQUET, V1, records_of(V1, RECORD_V1))).to_pylist()
    at = datetime(2024, 3, 15, 14, 32, 10, 875730, tzinfo=UTC)
    assert one == {"id": "f1", "event_time": at, "record": RECORD_V1.decode()}


@pytest.mark.integration
def test_a_time_is_found_by_statistics() -> None:
    """Row groups of ten thousand records have their first and last event time and are sorted by it."""
    records = fake_records(V1, 25_000)
    pieces = [records[start : start + 1000] for start in range(0, len(records), 1000)]
    reported = pq.ParquetFile(pa.BufferReader(encode(PARQUET, V1, *pieces))).metadata
    groups = [reported.row_group(number) for number in range(reported.num_row_groups)]
    assert [group.num_rows for group in groups] == [10_000, 10_000, 5_000]
    assert [[each.column_index for each in group.sorting_columns] for group in groups] == [[1]] * 3
    times = [each.event_ns // 1000 for each in records]
    statistics: list[Any] = [group.column(1).statistics for group in groups]
    bounds = [(each.min_raw, each.max_raw) for each in statistics]
    assert bounds == [(times[0], times[9_999]), (times[10_000], times[19_999]), (times[20_000], times[-1])]


def test_large_records_end_a_row_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group also ends when it has enough bytes, and no record is lost."""
    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 100_000)
    large = records_of(V1, *(raw_of(V1, f"{number:03}", note="x" * 9_000) for number in range(40)))
    content = encode(PARQUET, V1, *([one] for one in large))
    reported = pq.read_metadata(pa.BufferReader(content))
    assert [reported.row_group(index).num_rows for index in range(reported.num_row_groups)] == [12, 12, 12, 4]
    assert list(PARQUET.read(V1, content)) == large


@pytest.mark.parametrize("version", [V1, V2])
def test_a_part_with_more_columns_is_read(version: ApiVersion) -> None:
    """Older raw Parquet files with the API's fields as columns are read."""
    content = (GOLDEN / f"raw-wide-{version}.parquet").read_bytes()
    assert len(parquet_table(content).schema.names) > 18
    assert list(PARQUET.read(version, content)) == [*fake_records(version, 40), *odd_records(version)]


@pytest.mark.integration
def test_duckdb_reads_both_tables(tmp_path: Path) -> None:
    """Parquet and CSV give the same rows in a query engine, with the fields of the record."""
    records = records_of(V2, RECORD_V2, RECORD_V2.replace(b"200", b"null").replace(b'"f2"', b'"f3"'))
    (tmp_path / "part.parquet").write_bytes(encode(PARQUET, V2, records))
    (tmp_path / "part.csv.gz").write_bytes(encode(part_format("csv"), V2, records))
    query = "select id, cast({} as bigint), {}, epoch_us(event_time), record from '{}' order by id"
    inside = ("record->'$.raw.status_code'", "record->>'$.account.name'")
    with duckdb.connect() as connection:
        from_parquet = connection.sql(query.format(*inside, tmp_path / "part.parquet")).fetchall()
        from_csv = connection.sql(query.format(*inside, tmp_path / "part.csv.gz")).fetchall()
    assert from_parquet == from_csv
    assert from_parquet[0] == ("f2", 200, "A, Inc.", 1_793_491_200_000_000, RECORD_V2.decode())
    assert from_parquet[1][1] is None


@pytest.mark.integration
def test_duckdb_reads_an_odd_table(tmp_path: Path) -> None:
    """A query engine reads quotes, line ends and long values."""
    for name in ("part.parquet", "part.csv"):
        records = odd_records(V1)
        (tmp_path / name).write_bytes(encode(part_format(name.split(".")[1], "none"), V1, records))
        source = (
            f"'{tmp_path / name}'"
            if name.endswith("parquet")
            else f"read_csv('{tmp_path / name}', all_varchar=true, sample_size=-1)"
        )
        with duckdb.connect() as connection:
            rows = connection.sql(f"select id, record from {source}").fetchall()
        assert rows == [(record.id, record.raw.decode()) for record in records]


@pytest.mark.parametrize("version", [V1, V2])
def test_the_standard_library_reads_csv(version: ApiVersion) -> None:
    """Each row has id, event time and record, and no other cell."""
    records = odd_records(version)
    text = encode(part_format("csv", "none"), version, records).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [row["record"].encode() for row in rows] == [record.raw for record in records]
    assert {tuple(row) for row in rows} == {("id", "event_time", "record")}
    assert all(row["event_time"] == "2026-11-01T10:20:30.123456789Z" for row in rows)


@pytest.mark.parametrize("version", [V1, V2])
def test_both_tables_show_the_same_records(version: ApiVersion) -> None:
    """CSV has the values of Parquet as text, also for odd records."""
    records = odd_records(version)
    table = parquet_table(encode(PARQUET, version, records)).to_pylist()
    text = encode(part_format("csv", "none"), version, records).decode()
    for cells, row in zip(csv.DictReader(io.StringIO(text, newline="")), table, strict=True):
        assert (cells["id"], cells["record"]) == (row["id"], row["record"])
        assert cells["event_time"].startswith(f"{row['event_time']:%Y-%m-%dT%H:%M:%S.%f}")


def test_times_before_1970_and_far_away_are_exact() -> None:
    """A nanosecond before the epoch is cut to the microsecond before it."""
    whens = {
        "1969-12-31T23:59:59.999999999Z": -1,
        "1000-01-01T00:00:00Z": -30610224000_000_000,
        "9999-12-31T23:59:59Z": 253402300799_000_000,
    }
    records = records_of(V1, *(b'{"id":"a","when":"%s"}' % when.encode() for when in whens))
    table = parquet_table(encode(PARQUET, V1, records))
    assert table.column("event_time").cast(pa.int64()).to_pylist() == list(whens.values())
    lines = encode(part_format("csv", "none"), V1, records).decode().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == [
        "1969-12-31T23:59:59.999999999Z", "1000-01-01T00:00:00.000000000Z", "9999-12-31T23:59:59.000000000Z"
    ]  # fmt: skip
