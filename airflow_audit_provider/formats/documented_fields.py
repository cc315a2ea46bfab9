"""Names and types of a dataset's fields, as data catalogs and OpenLineage take them.

Lists only fields that the API documents. A record may have others, which are kept as well.
"""

from __future__ import annotations

from typing import Any

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.ocsf import mapping as ocsf
from airflow_audit_provider.formats.options import OCSF_SCHEMAS

_TYPES = {
    ColumnType.TEXT: "string",
    ColumnType.JSON: "json",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.INTEGER: "bigint",
    ColumnType.TIMESTAMP: "timestamp",
}


def _fields(paths: str, **types: ColumnType) -> tuple[tuple[str, ColumnType], ...]:
    """Returns paths with their types; the keyword of a path has underscores for its dots, text needs none."""
    return tuple((path, types.get(path.replace(".", "_"), ColumnType.TEXT)) for path in paths.split())


# Cloudflare API docs, List account audit logs (versions 1 and 2): the fields of a record.
RECORD_FIELDS = {
    ApiVersion.V1: _fields(
        "id when action.type action.result action.info actor.id actor.email actor.ip actor.type owner.id resource.id "
        "resource.type interface metadata newValue oldValue newValueJson oldValueJson",
        when=ColumnType.TIMESTAMP,
        action_result=ColumnType.BOOLEAN,
        metadata=ColumnType.JSON,
        newValueJson=ColumnType.JSON,
        oldValueJson=ColumnType.JSON,
    ),
    ApiVersion.V2: _fields(
        "id action.time account.id account.name organization.id action.type action.result action.description actor.id "
        "actor.email actor.ip_address actor.type actor.context actor.token_id actor.token_name raw.cf_ray_id "
        "raw.method raw.status_code raw.uri raw.user_agent resource.id resource.product resource.scope resource.type "
        "resource.request resource.response zone.id zone.name",
        action_time=ColumnType.TIMESTAMP,
        raw_status_code=ColumnType.INTEGER,
        resource_scope=ColumnType.JSON,
        resource_request=ColumnType.JSON,
        resource_response=ColumnType.JSON,
    ),
}
# A raw table: the record beside its id and event time. Only the schema ``normalized`` has typed columns.
_RAW_TABLE = (("id", ColumnType.TEXT), ("event_time", ColumnType.TIMESTAMP), ("record", ColumnType.JSON))


def documented_fields(manifest: Manifest) -> list[tuple[str, str]]:
    """Returns name and type of each documented field: a table's columns in order, or a record's own fields."""
    table = manifest.table
    if not table:
        fields = RECORD_FIELDS[manifest.query.version] if manifest.file_format == "jsonl" else _RAW_TABLE
        return [(name, _TYPES[kind]) for name, kind in fields]
    if table.schema in OCSF_SCHEMAS:
        return [(name, _ocsf_type(kind)) for name, kind in ocsf.attributes_of(table.schema).items()]
    minor = int(table.version.split(".")[1])
    return [(column.name, _TYPES[column.type]) for column in normalized.columns_of(minor)]


def _ocsf_type(kind: Any) -> str:
    if isinstance(kind, ColumnType):
        return _TYPES[kind]
    return "struct" if isinstance(kind, dict) else "array"
