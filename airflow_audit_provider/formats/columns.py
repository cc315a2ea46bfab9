"""The columns of a raw table of text: which field of a record stands under which name.

Knows: the documented fields of version 1 and version 2 records. Must not know: CSV, what odd values say
(``odd_values``).
Its one rule: no value fails; what does not fit its column is null there and whole in ``record``.

Every table starts with ``id`` and ``event_time`` and ends with ``record``, the record's own JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.formats.lenient_json import any_number, fields_in, fit_integer, readable
from airflow_audit_provider.formats.normalized.decode import values_of


class Kind(StrEnum):
    """The type of a column; ``JSON`` is text too, for fields that may hold anything: what is no text is its JSON."""

    TEXT = "text"
    JSON = "json"
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
        metadata=Kind.JSON,
        newValueJson=Kind.JSON,
        oldValueJson=Kind.JSON,
    ),
    ApiVersion.V2: _columns(
        "account.id account.name action.type action.result action.description actor.id actor.email actor.ip_address "
        "actor.type actor.context actor.token_id actor.token_name raw.cf_ray_id raw.method raw.status_code raw.uri "
        "raw.user_agent resource.id resource.product resource.scope resource.type resource.request resource.response "
        "zone.id zone.name",
        raw_status_code=Kind.INTEGER,
        resource_scope=Kind.JSON,
        resource_request=Kind.JSON,
        resource_response=Kind.JSON,
    ),
}

_NULL = msgspec.Raw(b"null")
# A text or null in JSON begins with one of these, and nothing else does.
_TEXT_OR_NULL = b'"n'
_FIELD_TYPES: dict[Kind, tuple[Any, Any]] = {
    Kind.TEXT: (str | None, None),
    Kind.JSON: (msgspec.Raw, _NULL),
    Kind.BOOLEAN: (bool | None, None),
    Kind.INTEGER: (int | None, None),
}


def _row_type(columns: Sequence[Column]) -> type[msgspec.Struct]:
    """Build the struct that a record with documented types decodes into: one nested struct for each group."""
    fields: list[tuple[str, Any, Any]] = []
    for group, members in groupby(columns, key=lambda column: column.path[:-1]):
        inside = [(column.path[-1], *_FIELD_TYPES[column.kind]) for column in members]
        if not group:
            fields += inside
            continue
        nested = msgspec.defstruct(f"_{group[0]}", inside, gc=False)
        fields.append((group[0], nested, msgspec.field(default_factory=nested)))
    return msgspec.defstruct("_Row", fields, gc=False)


_ROWS = {version: msgspec.json.Decoder(_row_type(columns)) for version, columns in COLUMNS.items()}


def column_values(version: ApiVersion, records: Sequence[AuditRecord], lines: bytes) -> list[list[Any]]:
    """Return one list of values a column, None where a field is missing or does not fit.

    ``lines`` are the same records as ``lines_of`` gives them. Free-form fields come as ``str`` or as the
    bytes of their JSON, which a broken API may have sent in something else than UTF-8: decode them with "replace".
    """
    try:
        rows = _ROWS[version].decode_lines(lines)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # One odd value sends the group the slow way, record by record and field by field.
        cells = [_cells(COLUMNS[version], record.raw) for record in records]
        return [list(column) for column in zip(*cells, strict=True)]
    return list(_columns_of(COLUMNS[version], rows))


def _columns_of(columns: Sequence[Column], rows: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield one list of values a column; a tuple for each row would only give the garbage collector work."""
    for path, members in groupby(columns, key=lambda column: column.path[:-1]):
        group = values_of(rows, ".".join(path)) if path else rows
        for column in members:
            yield _fitted(column.kind, values_of(group, column.path[-1]))


def _fitted(kind: Kind, values: list[Any]) -> list[Any]:
    """Return the values as their column has them; most are that already."""
    if kind is Kind.JSON:
        # Most are missing or an object, whose own JSON is what the column holds.
        return [
            None if value is _NULL else text if (text := bytes(value))[0] not in _TEXT_OR_NULL else _json_text(text)
            for value in values
        ]
    return [fit_integer(value) for value in values] if kind is Kind.INTEGER else values


def _json_text(content: bytes) -> str | None:
    """Return what a free-form field that is a text or null says."""
    if content == b"null":
        return None
    try:
        text: str = msgspec.json.decode(content)
    except ValueError:
        return str(_fit(Kind.JSON, content))
    return text


def _cells(columns: Sequence[Column], raw: bytes) -> list[Any]:
    fields = fields_in(raw)
    return [_fit(column.kind, _dig(fields, column.path)) for column in columns]


def _dig(fields: Mapping[str, Any], path: tuple[str, ...]) -> bytes | None:
    """Return a field's own JSON, None when it is not there."""
    value = fields.get(path[0])
    if value is None or len(path) == 1:
        return None if value is None else bytes(value)
    return _dig(fields_in(bytes(value)), path[1:]) if bytes(value)[:1] == b"{" else None


def _fit(kind: Kind, value: bytes | msgspec.Raw | None) -> Any:
    """Turn a field's JSON into the column's type."""
    content = b"null" if value is None else bytes(value)
    if kind in (Kind.TEXT, Kind.JSON) and content[:1] != b'"':
        return None if content == b"null" else readable(content)
    try:
        plain = json.loads(content.decode("utf-8", "replace"), parse_int=any_number)
    except (ValueError, RecursionError):
        return None
    if kind is Kind.BOOLEAN:
        return plain if isinstance(plain, bool) else None
    if kind is Kind.INTEGER:
        return fit_integer(plain)
    return str(plain).encode("utf-8", "replace").decode()
