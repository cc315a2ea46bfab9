"""The columns of tabular formats: which field of a record stands under which name, and how odd values are taken.

Knows: the documented fields of version 1 and version 2 records. Must not know: CSV, Parquet.
Its one rule: no value fails; what does not fit its column is null there and whole in ``record``.

Every table starts with ``id`` and ``event_time`` and ends with ``record``, the record's own JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from airflow_audit_provider.core.records import ApiVersion, AuditRecord, fields_of


class Kind(StrEnum):
    """The type of a column; ``TEXT`` holds the JSON of anything that is no text."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"


class Column(NamedTuple):
    """A column between ``event_time`` and ``record``: its name, where the field lies, its type."""

    name: str
    path: tuple[str, ...]
    kind: Kind = Kind.TEXT


def _columns(paths: str, **kinds: Kind) -> tuple[Column, ...]:
    """Build columns from dotted paths; a dot in the path is an underscore in the name."""
    split = ((path.replace(".", "_"), tuple(path.split("."))) for path in paths.split())
    return tuple(Column(name, path, kinds.get(name, Kind.TEXT)) for name, path in split)


COLUMNS: dict[ApiVersion, tuple[Column, ...]] = {
    ApiVersion.V1: _columns(
        "action.type action.result action.info actor.id actor.email actor.ip actor.type owner.id resource.id "
        "resource.type interface metadata newValue oldValue newValueJson oldValueJson",
        action_result=Kind.BOOLEAN,
    ),
    ApiVersion.V2: _columns(
        "account.id account.name action.type action.result action.description actor.id actor.email actor.ip_address "
        "actor.type actor.context actor.token_id actor.token_name raw.cf_ray_id raw.method raw.status_code raw.uri "
        "raw.user_agent resource.id resource.product resource.scope resource.type resource.request resource.response "
        "zone.id zone.name",
        raw_status_code=Kind.INTEGER,
    ),
}


def cells(columns: tuple[Column, ...], record: AuditRecord) -> list[Any]:
    """Return a record's values in the order of the columns, None where a field is missing or does not fit."""
    fields = fields_of(record.raw)
    return [_fit(column.kind, _dig(fields, column.path)) for column in columns]


def _dig(fields: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(fields, Mapping):
            return None
        fields = fields.get(name)
    return fields


def _fit(kind: Kind, value: Any) -> Any:
    if kind is Kind.BOOLEAN:
        return value if isinstance(value, bool) else None
    if kind is Kind.INTEGER:
        return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None
    if isinstance(value, str):
        return value if value.isprintable() else value.encode("utf-8", "replace").decode()
    return None if value is None else json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
