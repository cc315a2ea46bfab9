"""OpenLineage facets of a landed window: the audit log as input, the destination as output with rows and bytes.

OpenLineage is imported only when its listener calls the operator.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow_audit_provider._airflow.destinations import dataset_uri
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.formats.documented_fields import documented_fields
from airflow_audit_provider.pipelines.observer import PullOutcome


def lineage_of(outcome: PullOutcome, destination: str, api_base_url: str) -> Any:
    """Returns an ``OperatorLineage`` with the audit log as input and the destination as output."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    manifest = outcome.manifest
    return OperatorLineage(inputs=[_input(manifest.query, api_base_url)], outputs=[_output(outcome, destination)])


def _input(query: AuditQuery, api_base_url: str) -> Any:
    from airflow.providers.common.compat.openlineage.facet import InputDataset

    return InputDataset(namespace=f"cloudflare://{urlsplit(api_base_url).netloc}", name=query.path.lstrip("/"))


def _output(outcome: PullOutcome, destination: str) -> Any:
    from airflow.providers.common.compat.openlineage.facet import (
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )

    manifest, written = outcome.manifest, _written(outcome)
    fields = documented_fields(manifest)
    statistics = OutputStatisticsOutputDatasetFacet(
        rowCount=sum(part.record_count for part in written), size=sum(part.size_bytes for part in written)
    )
    namespace, name = _dataset_name(destination)
    return OutputDataset(
        namespace=namespace,
        name=name,
        facets={"schema": SchemaDatasetFacet([SchemaDatasetFacetFields(field, kind) for field, kind in fields])},
        outputFacets={"outputStatistics": statistics},
    )


def _written(outcome: PullOutcome) -> list[Part]:
    """Returns the parts that this run committed."""
    manifest: Manifest = outcome.manifest
    keys = WindowKeys(manifest.window, manifest.partition_date)
    if not outcome.committed:
        return []
    return [part for part in manifest.parts if keys.part_generation(part.key) == manifest.generation]


def _dataset_name(destination: str) -> tuple[str, str]:
    """Returns namespace and name, in the form of Airflow's own converters of asset URIs."""
    parts = urlsplit(dataset_uri(destination))
    if parts.scheme == "file":
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/") or "/"
