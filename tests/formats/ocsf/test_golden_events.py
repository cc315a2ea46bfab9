"""Golden OCSF files show every change of an event, in each release, API version and format."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats.part_format import part_format
from tests.formats.ocsf.golden_events import (
    CASES,
    FOLDER,
    golden_file,
    golden_records,
    jsonl_of,
    parquet_of,
)

pytestmark = pytest.mark.parametrize(("schema", "version"), CASES)


def test_json_lines_are_the_golden_ones(schema: str, version: ApiVersion) -> None:
    """The events in JSON Lines have the bytes of the golden file."""
    assert jsonl_of(schema, version) == golden_file(schema, version, "jsonl").read_bytes()


def test_parquet_has_the_golden_schema_and_rows(schema: str, version: ApiVersion) -> None:
    """The events in Parquet have the columns, metadata and values of the golden file, whatever library wrote it."""
    golden = pq.read_table(golden_file(schema, version, "parquet"))
    written = pq.read_table(pa.BufferReader(parquet_of(schema, version)))
    assert written.schema.equals(golden.schema, check_metadata=True)
    assert written.to_pylist() == golden.to_pylist()


def test_golden_file_is_still_read(schema: str, version: ApiVersion) -> None:
    """A golden file of each case gives back the records that it holds."""
    for extension in ("jsonl", "parquet"):
        content = golden_file(schema, version, extension).read_bytes()
        assert list(part_format(extension, "none", schema).read(version, content)) == golden_records(version)
    assert len(list(FOLDER.iterdir())) == 2 * len(CASES)
