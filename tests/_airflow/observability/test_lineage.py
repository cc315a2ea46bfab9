"""Tests of the OpenLineage facets of a landed window."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_audit_provider._airflow.observability.lineage import lineage_of
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.operators.task_setup import WINDOW, TaskSetup
from tests.pipelines.pull.landing import record_at

API = "https://api.cloudflare.com/client/v4"


def _facets_after_landing(task_setup: TaskSetup, **arguments: Any) -> Any:
    operator = task_setup.operator(**{**WINDOW, **arguments})
    operator.execute({})
    return operator.get_openlineage_facets_on_complete(None)


def _written(lineage: Any) -> tuple[int, int]:
    statistics = lineage.outputs[0].outputFacets["outputStatistics"]
    return statistics.rowCount, statistics.size


@pytest.mark.integration
def test_lineage_names_audit_log_as_input_and_destination_as_output(task_setup: TaskSetup) -> None:
    """The account's audit log at the API's host is the input, the destination the output."""
    lineage = _facets_after_landing(task_setup)
    (source,), (output,) = lineage.inputs, lineage.outputs
    assert (source.namespace, source.name) == ("cloudflare://api.cloudflare.com", f"accounts/{ACCOUNT_ID}/audit_logs")
    assert (output.namespace, output.name) == ("file", str(task_setup.destination))


@pytest.mark.integration
def test_statistics_count_only_what_this_run_wrote(task_setup: TaskSetup) -> None:
    """Counts all records in the first run, none in a second, and one after a late record."""
    rows, size = _written(_facets_after_landing(task_setup))
    assert rows == len(task_setup.raws())
    assert size == sum(len(task_setup.tree()[name][0]) for name in task_setup.part_names())
    assert _written(_facets_after_landing(task_setup)) == (0, 0)
    late = record_at("2026-10-26T03:00:00Z", "late-one")
    task_setup.fake.add(late)
    assert _written(_facets_after_landing(task_setup)) == (1, len(late) + 1)


@pytest.mark.integration
@pytest.mark.parametrize("schema", ["raw", "normalized", "ocsf"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_parquet_schema_facet_lists_columns_in_order(task_setup: TaskSetup, version: str, schema: str) -> None:
    """The schema of a Parquet dataset names the columns of its files, in order, whichever schema it is in."""
    lineage = _facets_after_landing(
        task_setup, file_format="parquet", compression="zstd", api_version=version, schema=schema
    )
    fields = [field.name for field in lineage.outputs[0].facets["schema"].fields]
    assert fields == pq.read_schema(task_setup.destination / task_setup.part_names()[0]).names


@pytest.mark.parametrize("schema", ["raw", "normalized"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_csv_schema_facet_lists_header_fields(task_setup: TaskSetup, version: str, schema: str) -> None:
    """The schema facet of a CSV dataset lists the fields of its header line."""
    lineage = _facets_after_landing(
        task_setup, file_format="csv", compression="none", api_version=version, schema=schema
    )
    fields = [field.name for field in lineage.outputs[0].facets["schema"].fields]
    assert fields == (task_setup.destination / task_setup.part_names()[0]).read_text().split("\n", 1)[0].rstrip(
        "\r"
    ).split(",")


@pytest.mark.integration
@pytest.mark.parametrize("schema", ["normalized", "ocsf"])
def test_jsonl_schema_facet_lists_every_field(task_setup: TaskSetup, schema: str) -> None:
    """The schema facet lists every name that occurs in a line."""
    lineage = _facets_after_landing(task_setup, schema=schema, compression="none")
    kinds = {field.name: field.type for field in lineage.outputs[0].facets["schema"].fields}
    lines = (task_setup.destination / task_setup.part_names()[0]).read_text().splitlines()
    assert {name for line in lines for name in json.loads(line)} <= kinds.keys()
    assert kinds["event_time" if schema == "normalized" else "time_dt"] == "timestamp"


@pytest.mark.integration
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_raw_jsonl_schema_facet_names_record_fields(task_setup: TaskSetup, version: str) -> None:
    """The schema facet names fields as records do, including the event time."""
    lineage = _facets_after_landing(task_setup, api_version=version)
    kinds = {field.name: field.type for field in lineage.outputs[0].facets["schema"].fields}
    assert kinds["action.type"] == "string"
    assert kinds["when" if version == "v1" else "action.time"] == "timestamp"


@pytest.mark.parametrize(
    ("destination", "name"),
    [
        ("s3://my_conn@audit/a/b/", ("s3://audit", "a/b")),
        ("s3://audit", ("s3://audit", "/")),
        ("gs://audit/a", ("gs://audit", "a")),
        ("/data/audit", ("file", "/data/audit")),
    ],
)
def test_datasets_are_named_as_airflow_names_assets(
    task_setup: TaskSetup, destination: str, name: tuple[str, str]
) -> None:
    """Namespace and name are those of Airflow's own converters, without a connection id."""
    operator = task_setup.operator(**WINDOW)
    operator.execute({})
    assert operator.outcome is not None
    (output,) = lineage_of(operator.outcome, destination, API).outputs
    assert (output.namespace, output.name) == name


def test_task_without_landed_window_has_no_lineage(task_setup: TaskSetup) -> None:
    """Before a window is landed there is no lineage."""
    assert task_setup.operator(**WINDOW).get_openlineage_facets_on_complete(None) is None
