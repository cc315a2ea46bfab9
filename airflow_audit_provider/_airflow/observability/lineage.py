"""OpenLineage facets of a landed window: the audit log as input, the destination as output with rows and bytes.

OpenLineage is imported only when its listener calls the operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow_audit_provider._airflow.destinations import dataset_uri
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.formats.documented_fields import documented_fields
from airflow_audit_provider.pipelines.observer import PullOutcome


class Written(NamedTuple):
    """What a task has written: a manifest that shows its form, and the sums over all of its windows."""

    manifest: Manifest
    record_count: int
    size_bytes: int


def lineage_of(outcome: PullOutcome, destination: str, api_base_url: str) -> Any:
    """Returns an ``OperatorLineage`` with the audit log as input and the destination as output."""
    parts = outcome.written
    record_count, size_bytes = sum(part.record_count for part in parts), sum(part.size_bytes for part in parts)
    return lineage_of_written(Written(outcome.manifest, record_count, size_bytes), destination, api_base_url)


def lineage_of_written(written: Written, destination: str, api_base_url: str) -> Any:
    """Returns the same for a task of one or more windows."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    query = written.manifest.query
    return OperatorLineage(inputs=[_input(query, api_base_url)], outputs=[_output(written, destination)])


def joined_lineage(lineages: Sequence[Any]) -> Any:
    """Returns one lineage with the inputs and outputs of several, None of none."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    inputs, outputs = ([each for one in lineages for each in getattr(one, name)] for name in ("inputs", "outputs"))
    return OperatorLineage(inputs=inputs, outputs=outputs) if lineages else None


def _input(query: AuditQuery, api_base_url: str) -> Any:
    from airflow.providers.common.compat.openlineage.facet import InputDataset

    return InputDataset(namespace=f"cloudflare://{urlsplit(api_base_url).netloc}", name=query.path.lstrip("/"))


def _output(written: Written, destination: str) -> Any:
    from airflow.providers.common.compat.openlineage.facet import (
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )

    fields = documented_fields(written.manifest)
    statistics = OutputStatisticsOutputDatasetFacet(rowCount=written.record_count, size=written.size_bytes)
    namespace, name = _dataset_name(destination)
    return OutputDataset(
        namespace=namespace,
        name=name,
        facets={"schema": SchemaDatasetFacet([SchemaDatasetFacetFields(field, kind) for field, kind in fields])},
        outputFacets={"outputStatistics": statistics},
    )


def _dataset_name(destination: str) -> tuple[str, str]:
    """Returns namespace and name, in the form of Airflow's own converters of asset URIs."""
    parts = urlsplit(dataset_uri(destination))
    if parts.scheme == "file":
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/") or "/"
