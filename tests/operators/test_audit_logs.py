"""Tests that the operator lands every record once in any format, and that a second run changes nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.exceptions import CommitConflictError
from tests.operators.task_setup import END, START, TaskSetup
from tests.pipelines.pull.landing import record_at

TEXTS = [("jsonl", "none"), ("jsonl", "gzip"), ("jsonl", "zstd")]
TABLES = [
    ("csv", "none"),
    ("csv", "gzip"),
    ("csv", "zstd"),
    ("parquet", "none"),
    ("parquet", "gzip"),
    ("parquet", "zstd"),
]
LATE = record_at("2026-10-26T03:00:00Z", "late-one")


class OutletEvents(dict[Any, Any]):
    """Returns an event with room for an extra for every asset."""

    def __missing__(self, asset: Any) -> Any:
        self[asset] = type("Event", (), {"extra": {}})()
        return self[asset]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("file_format", "compression"), TEXTS)
def test_jsonl_lines_are_the_records(task_setup: TaskSetup, version: str, file_format: str, compression: str) -> None:
    """Writes each record's own bytes once, ordered by event time and id."""
    summary = task_setup.land(file_format=file_format, compression=compression, api_version=version)
    assert task_setup.lines() == task_setup.raws(version)
    assert summary["record_count"] == len(task_setup.raws(version)) > 200


@pytest.mark.integration
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("file_format", "compression"), TABLES)
def test_csv_and_parquet_rows_are_the_records(
    task_setup: TaskSetup, version: str, file_format: str, compression: str
) -> None:
    """Writes each id once, in the same order, with the whole record in a column."""
    task_setup.land(file_format=file_format, compression=compression, api_version=version)
    ids, records = _table(task_setup, file_format)
    assert list(ids) == task_setup.ids(version)
    assert [json.loads(record) for record in records] == [json.loads(raw) for raw in task_setup.raws(version)]


def _table(task_setup: TaskSetup, file_format: str) -> tuple[Sequence[str], Sequence[str]]:
    if file_format == "csv":
        rows = list(csv.DictReader(io.StringIO(b"\n".join(task_setup.lines()).decode(), newline="")))
        return [row["id"] for row in rows], [row["record"] for row in rows]
    tables = [pq.ParquetFile(task_setup.destination / name).read() for name in task_setup.part_names()]
    ids, records = ([str(value) for t in tables for value in t[name].to_pylist()] for name in ("id", "record"))
    return ids, records


def test_unknown_fields_are_kept(task_setup: TaskSetup) -> None:
    """Keeps the bytes of a field that is not documented."""
    task_setup.fake.add(LATE)
    task_setup.land()
    assert LATE in task_setup.lines()


@pytest.mark.integration
def test_empty_window_is_committed(task_setup: TaskSetup) -> None:
    """Writes a manifest without parts for a window without records."""
    summary = task_setup.land(filters={"actor_email": "nobody@example.com"})
    names = list(task_setup.tree())
    assert (summary["record_count"], summary["part_count"]) == (0, 0)
    assert [name.partition("/")[0] for name in names] == ["_commit_log", "_dataset.json", "_manifests"]
    assert json.loads(task_setup.tree()[names[2]][0])["parts"] == []


@pytest.mark.integration
@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_second_run_changes_nothing(task_setup: TaskSetup, file_format: str) -> None:
    """Leaves every name, byte and modification time unchanged, and states so in the summary."""
    first = task_setup.land(file_format=file_format, compression=None)
    before = task_setup.tree()
    second = task_setup.land(file_format=file_format, compression=None)
    assert task_setup.tree() == before
    assert (first.pop("committed"), second.pop("committed")) == (True, False)
    assert first == second


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_late_record_is_added_as_addendum(task_setup: TaskSetup, file_format: str) -> None:
    """Adds a late record as one part of a second generation; existing files stay unchanged."""
    task_setup.land(file_format=file_format)
    before = task_setup.tree()
    task_setup.fake.add(LATE)
    summary = task_setup.land(file_format=file_format)
    after = task_setup.tree()
    assert {name: after[name] for name in before} == before
    added = sorted(after.keys() - before.keys())
    assert [name.split("/")[0] for name in added] == ["_commit_log", "_manifests", "dt=2026-10-26"]
    assert added[1].endswith(".g0002.json")
    assert "/part-0002-00000-" in added[2]
    assert (summary["generation"], summary["added_count"], summary["part_count"]) == (2, 1, 2)
    if file_format == "jsonl":
        assert after[added[2]][0] == LATE + b"\n"


def test_replace_writes_all_records_again(task_setup: TaskSetup) -> None:
    """Writes all records into the parts of one new generation, also in another format."""
    task_setup.land()
    task_setup.fake.add(LATE)
    summary = task_setup.land(replace=True, compression="gzip")
    assert summary["generation"] == 2
    assert task_setup.lines() == task_setup.raws()
    assert all(name.endswith(".jsonl.gz") for name in task_setup.part_names())


@pytest.mark.parametrize(
    "other",
    [{"file_format": "csv"}, {"compression": "gzip"}, {"api_version": "v2"}, {"filters": {"action_type": "login"}}],
)
def test_other_dataset_in_same_destination_is_refused(task_setup: TaskSetup, other: dict[str, Any]) -> None:
    """Fails for another audit log or format in the same destination, and changes nothing."""
    task_setup.land()
    before, request_count = task_setup.tree(), len(task_setup.fake.requests)
    with pytest.raises(AirflowFailException, match="CommitConflictError") as caught:
        task_setup.land(**other)
    assert isinstance(caught.value.__context__, CommitConflictError)
    assert task_setup.tree() == before
    assert len(task_setup.fake.requests) == request_count


def test_summary_is_small_json(task_setup: TaskSetup) -> None:
    """The XCom is JSON of a few hundred bytes, and its manifest URI leads to the manifest."""
    summary = task_setup.land()
    assert len(json.dumps(summary)) < 1000
    assert summary.keys() >= {"window_start", "window_end", "record_count", "part_count", "manifest_uri"}
    path = Path(summary["manifest_uri"].removeprefix("file://"))
    assert json.loads(path.read_bytes())["record_count"] == summary["record_count"]


def test_asset_event_has_the_summary(task_setup: TaskSetup) -> None:
    """Sets the event's extra if the destination is an outlet, and sets nothing otherwise."""
    asset = audit_log_asset(f"file://{task_setup.destination}")
    events = OutletEvents()
    operator = task_setup.operator(window_start=START, window_end=END, outlets=[asset])
    summary = operator.execute({"outlet_events": events})
    ((key, event),) = events.items()
    assert (key, event.extra) == (asset, {**summary, "summary": event.extra["summary"]})
    # What a person reads comes first.
    assert next(iter(event.extra)) == "summary"
    assert event.extra["summary"].endswith(f": {summary['record_count']:,} records")
    nothing = OutletEvents()
    task_setup.operator(window_start=START, window_end=END).execute({"outlet_events": nothing})
    assert not nothing


def test_progress_is_logged(
    task_setup: TaskSetup, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs the window with its rule, the progress and the commit."""
    caplog.set_level("INFO")
    task_setup.operator().execute({"data_interval_start": START, "data_interval_end": START + timedelta(days=1)})
    # Airflow's versions log by structlog to the terminal, or by the standard library.
    said = capsys.readouterr().out + " ".join(record.getMessage() for record in caplog.records)
    assert "2026-10-26T00:00:00Z" in said
    assert "data interval" in said
    assert f"{len(task_setup.raws())} records" in said
    assert "Committed" in said


@pytest.mark.parametrize(
    ("context", "key_format"),
    [
        ({"partition_date": START, "partition_key": "of no matter"}, "%Y-%m-%d"),
        ({"partition_date": None, "partition_key": "26.10.2026"}, "%d.%m.%Y"),
        ({"dag_run": SimpleNamespace(partition_key="2026-10-26")}, "%Y-%m-%d"),
        ({"dag_run": SimpleNamespace(partition_key="2026-10-25T22:00:00-0200")}, "%Y-%m-%dT%H:%M:%S%z"),
    ],
)
def test_partition_gives_the_window(task_setup: TaskSetup, context: dict[str, Any], key_format: str) -> None:
    """Reads the partition date or key from the context or, as in Airflow 3.2, from its dag_run alone."""
    summary = task_setup.operator(partition_key_format=key_format).execute(context)
    assert (summary["window_start"], summary["window_end"]) == (START.isoformat(), END.isoformat())
    assert task_setup.lines() == task_setup.raws("v1")
