"""Golden OCSF files: the same records as events of each release, in JSON Lines and Parquet.

``python -m tests.formats.ocsf.golden_events`` writes them again after a change of the events that is wanted.
"""

from __future__ import annotations

from pathlib import Path

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.formats.options import OCSF_SCHEMAS
from airflow_audit_provider.formats.part_format import part_format
from tests.formats.encoded import encode
from tests.formats.odd_records import raw_of, records_of
from tests.formats.rows_of import fake_records

FOLDER = Path(__file__).parents[1] / "golden" / "ocsf"
CASES = [(schema, version) for schema in OCSF_SCHEMAS for version in ApiVersion]


def golden_file(schema: str, version: ApiVersion, extension: str) -> Path:
    """Returns the path of a golden file."""
    return FOLDER / f"{schema}-{version}.{extension}"


def golden_records(version: ApiVersion) -> list[AuditRecord]:
    """Returns records of the fake, and one without most fields."""
    return [*fake_records(version, 12), *records_of(version, raw_of(version, "few"))]


def jsonl_of(schema: str, version: ApiVersion) -> bytes:
    """Returns the events in JSON Lines."""
    return encode(part_format("jsonl", "none", schema), version, golden_records(version))


def parquet_of(schema: str, version: ApiVersion) -> bytes:
    """Returns the events in Parquet."""
    return encode(part_format("parquet", None, schema), version, golden_records(version))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for case in CASES:
        golden_file(*case, "jsonl").write_bytes(jsonl_of(*case))
        golden_file(*case, "parquet").write_bytes(parquet_of(*case))
