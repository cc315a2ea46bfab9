"""What OpenLineage is told of a landed window."""

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


def _told(task_setup: TaskSetup, **arguments: Any) -> Any:
    operator = task_setup.operator(**{**WINDOW, **arguments})
    operator.execute({})
    return operator.get_openlineage_facets_on_complete(None)


def _written(lineage: Any) -> tuple[int, int]:
    statistics = lineage.outputs[0].outputFacets["outputStatistics"]
    return statistics.rowCount, statistics.size


def test_a_log_went_into_a_dataset(task_setup: TaskSetup) -> None:
    """The account's audit log at the API's host is the input, the destination the output."""
    lineage = _told(task_setup)
    (source,), (output,) = lineage.inputs, lineage.outputs
    assert (source.namespace, source.name) == ("cloudflare://api.cloudflare.com", f"accounts/{ACCOUNT_ID}/audit_logs")
    assert (output.namespace, output.name) == ("file", str(task_setup.destination))


def test_statistics_are_what_this_run_wrote(task_setup: TaskSetup) -> None:
    """The figures are all records for a first run, none for an idle one, and the late one for an addition."""
    rows, size = _written(_told(task_setup))
    assert rows == len(task_setup.raws())
    assert size == sum(len(task_setup.tree()[name][0]) for name in task_setup.part_names())
    assert _written(_told(task_setup)) == (0, 0)
    late = record_at("2026-10-26T03:00:00Z", "late-one")
    task_setup.fake.add(late)
    assert _written(_told(task_setup)) == (1, len(late) + 1)


@pytest.mark.parametrize("schema", ["raw", "normalized", "ocsf"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_tables_fields_are_its_columns(task_setup: TaskSetup, version: str, schema: str) -> None:
    """The schema of a Parquet dataset names the columns of its files, in order, whichever schema it is in."""
    lineage = _told(task_setup, file_format="parquet", compression="zstd", api_version=version, schema=schema)
    fields = [field.name for field in lineage.outputs[0].facets["schema"].fields]
    assert fields == pq.read_schema(task_setup.destination / task_setup.part_names()[0]).names


@pytest.mark.parametrize("schema", ["raw", "normalized"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_text_tables_fields_are_its_header(task_setup: TaskSetup, version: str, schema: str) -> None:
    """The schema of a CSV dataset names what the first line of its files does."""
    lineage = _told(task_setup, file_format="csv", compression="none", api_version=version, schema=schema)
    fields = [field.name for field in lineage.outputs[0].facets["schema"].fields]
    assert fields == (task_setup.destination / task_setup.part_names()[0]).read_text().split("\n", 1)[0].rstrip(
        "\r"
    ).split(",")


@pytest.mark.parametrize("schema", ["normalized", "ocsf"])
def test_the_lines_of_a_schema_have_its_fields(task_setup: TaskSetup, schema: str) -> None:
    """The schema of its JSON Lines is that of its tables: every name in a line is told."""
    lineage = _told(task_setup, schema=schema, compression="none")
    kinds = {field.name: field.type for field in lineage.outputs[0].facets["schema"].fields}
    lines = (task_setup.destination / task_setup.part_names()[0]).read_text().splitlines()
    assert {name for line in lines for name in json.loads(line)} <= kinds.keys()
    assert kinds["event_time" if schema == "normalized" else "time_dt"] == "timestamp"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_records_fields_are_its_own(task_setup: TaskSetup, version: str) -> None:
    """The schema of a JSON Lines dataset names fields as records have them, the event time among them."""
    lineage = _told(task_setup, api_version=version)
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


def test_a_task_that_landed_nothing_tells_nothing(task_setup: TaskSetup) -> None:
    """Before a window is landed there is no lineage."""
    assert task_setup.operator(**WINDOW).get_openlineage_facets_on_complete(None) is None
