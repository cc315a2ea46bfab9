"""Each part of a manifest has the first and last event time of its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines.part_writer import PartWriter
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of, record_at


def test_part_of_unsorted_groups_has_its_first_and_last_event_time(tmp_path: Path) -> None:
    """The smallest and largest event time are found even if groups are unsorted."""
    part_writer = PartWriter(
        LocalStore(str(tmp_path)), "_staging/", part_format("jsonl", "none"), pull_spec().query.version, 1 << 20
    )
    for times in ([5, 3, 4] * 1000, [9, 2, 7] * 1000, [6]):
        part_writer.add(AuditRecord(ns, str(ns), record_at("2026-10-26T00:00:00Z", str(ns))) for ns in times)
    (part,) = part_writer.finish()
    assert (part.first_event_ns, part.last_event_ns) == (2, 9)
    published = part.published_as("k")
    assert (published.key, published.first_event_ns, published.last_event_ns) == ("k", 2, 9)
    assert (published.size_bytes, published.sha256, published.record_count) == (
        part.size_bytes,
        part.sha256,
        part.record_count,
    )


@pytest.mark.integration
def test_landed_part_has_the_event_times_of_its_records(tmp_path: Path) -> None:
    """A landed part has the first and last event time of its records."""
    clock, spec = ManualClock(), pull_spec()
    outcome = land(spec, reader_of(fake_with(clock), clock), LocalStore(str(tmp_path)))
    (part,) = outcome.manifest.parts
    records = list(spec.part_format.read(spec.query.version, (tmp_path / part.key).read_bytes()))
    times = [record.event_ns for record in records]
    assert (part.first_event_ns, part.last_event_ns) == (min(times), max(times))


@pytest.mark.integration
def test_parquet_parts_are_sorted_as_their_footer_states(tmp_path: Path) -> None:
    """Every part of a day with late records is sorted as the Parquet footer states."""
    clock, store, spec = ManualClock(), LocalStore(str(tmp_path)), pull_spec(file_format="parquet", compression="zstd")
    fake = fake_with(clock, records_per_day=8000, requests_per_window=None)
    land(spec, reader_of(fake, clock), store)
    for hour in (21, 3, 12):
        fake.add(record_at(f"2026-10-26T{hour:02}:00:00Z", f"late-{hour}"))
    parts = land(spec._replace(attempt_id="two"), reader_of(fake, clock), store).manifest.parts
    assert [part.record_count for part in parts] == [8000, 3]
    for part in parts:
        file = pq.ParquetFile(tmp_path / part.key)
        (sorting,) = file.metadata.row_group(0).sorting_columns
        times: list[Any] = file.read().column(sorting.column_index).to_pylist()
        assert times == sorted(times, reverse=sorting.descending)
