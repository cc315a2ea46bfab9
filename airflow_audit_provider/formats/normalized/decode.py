"""Decodes records into the columns of the normalized table, and counts type mismatches.

A group of records with documented types is decoded in one call. If a value has another type, the group is halved until
the record with it stands alone; that record is decoded field by field.

Invariant: no value raises. A value of another type than its column's is null, counted, and complete in the record's
own text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, cast

import msgspec

from airflow_audit_provider.core.api.json_cuts import mask_surrogates
from airflow_audit_provider.core.api.records import (
    ApiVersion,
    AuditRecord,
    ListOfOne,
    has_odd,
    lines_of,
    objects_of,
)
from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.formats.lenient_json import any_number, fields_in, fit_integer, readable
from airflow_audit_provider.formats.normalized.columns import COLUMNS, EVENT_ONLY, RAW_COLUMN, TableColumn

Rows = Sequence[Any]

# The interpreter specializes attribute access only for a name that is written in the code.
_SPELLED_OUT: dict[str, Callable[[Rows], list[Any]]] = {
    "account": lambda rows: [row.account for row in rows],
    "action": lambda rows: [row.action for row in rows],
    "actor": lambda rows: [row.actor for row in rows],
    "cf_ray_id": lambda rows: [row.cf_ray_id for row in rows],
    "context": lambda rows: [row.context for row in rows],
    "description": lambda rows: [row.description for row in rows],
    "email": lambda rows: [row.email for row in rows],
    "id": lambda rows: [row.id for row in rows],
    "info": lambda rows: [row.info for row in rows],
    "interface": lambda rows: [row.interface for row in rows],
    "ip": lambda rows: [row.ip for row in rows],
    "ip_address": lambda rows: [row.ip_address for row in rows],
    "metadata": lambda rows: [row.metadata for row in rows],
    "method": lambda rows: [row.method for row in rows],
    "name": lambda rows: [row.name for row in rows],
    "newValue": lambda rows: [row.newValue for row in rows],
    "newValueJson": lambda rows: [row.newValueJson for row in rows],
    "oldValue": lambda rows: [row.oldValue for row in rows],
    "oldValueJson": lambda rows: [row.oldValueJson for row in rows],
    "organization": lambda rows: [row.organization for row in rows],
    "owner": lambda rows: [row.owner for row in rows],
    "product": lambda rows: [row.product for row in rows],
    "raw": lambda rows: [row.raw for row in rows],
    "request": lambda rows: [row.request for row in rows],
    "resource": lambda rows: [row.resource for row in rows],
    "response": lambda rows: [row.response for row in rows],
    "result": lambda rows: [row.result for row in rows],
    "scope": lambda rows: [row.scope for row in rows],
    "status_code": lambda rows: [row.status_code for row in rows],
    "token_id": lambda rows: [row.token_id for row in rows],
    "token_name": lambda rows: [row.token_name for row in rows],
    "type": lambda rows: [row.type for row in rows],
    "uri": lambda rows: [row.uri for row in rows],
    "user_agent": lambda rows: [row.user_agent for row in rows],
    "zone": lambda rows: [row.zone for row in rows],
}


def values_of(rows: Rows, name: str) -> list[Any]:
    """Returns a field of each row, in their order."""
    spelled_out = _SPELLED_OUT.get(name)
    return list(map(attrgetter(name), rows)) if spelled_out is None else spelled_out(rows)


Values = Sequence[Any]
Table = dict[str, Values]

_NULL_TEXT = b"null"
_NULL = msgspec.Raw(_NULL_TEXT)
_FIELD_TYPES: dict[ColumnType, tuple[Any, Any]] = {
    ColumnType.TEXT: (str | None, None),
    ColumnType.JSON: (msgspec.Raw, _NULL),
    ColumnType.BOOLEAN: (bool | str | None, None),
    # Integers of up to 64 bits.
    ColumnType.INTEGER: (Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None, None),
}
# Cloudflare's own client of version 2 has three outcomes: success, failure and an empty text.
_OUTCOMES = {None: None, True: True, False: False, "success": True, "failure": False, "": None}
_SAYS_NOTHING = frozenset({None, "", "null"})
# Observed: version 1 sends these beside a value in the other spelling.
_EMPTY_JSON = frozenset({b"{}", b"[]", b'""', b'"null"'})
_LONGEST_EMPTY = 8
# Path of the id of a resource that is a zone, and what stands for it in a record.
_ZONE_RESOURCE, _RESOURCE_ID, _RESOURCE_TYPE, _ZONE = "resource[zone].id", "resource.id", "resource.type", "zone"
_HEAD = frozenset({"id", "event_time", "api_version", RAW_COLUMN})
_MAPPED = tuple(column for column in (*COLUMNS, *EVENT_ONLY) if column.name not in _HEAD)
_FREE_FORM = frozenset({"metadata"})
_QUOTE = b'"'


class TypeMismatchError(ValueError):
    """A value has another type than its column. Never leaves this module."""


def normalize(
    version: ApiVersion,
    records: Sequence[AuditRecord],
    lines: bytes,
    type_mismatches: Counter[str],
    as_text: AbstractSet[str] = frozenset(),
    *,
    is_json_raw: bool = False,
) -> Table:
    """Return the values of every column but the first three and ``raw``; count in ``type_mismatches`` what did not fit.

    ``lines`` are the same records as ``lines_of`` gives them. JSON of the columns in ``as_text`` comes as ``str``, JSON
    of other columns as ``str`` or as bytes, which a broken API may have sent in something else than UTF-8: decode them
    with "replace". With ``is_json_raw`` it may also come as ``msgspec.Raw``, which takes a fifth of the time to make.
    """
    if not records:
        return {column.name: [] for column in _MAPPED}
    try:
        plan = _PLANS[version]
        # A record that is not odd is exactly one JSON object, so that its line need not be proved to be one.
        is_proved = not has_odd(records)
        rows = plan.decode_rows(lines) if is_proved else objects_of(plan.decode_lists, [one.raw for one in records])
        if len(rows) != len(records):
            raise ValueError("the lines have more or fewer objects than there are records")
        return plan.table(rows, as_text, is_json_raw=is_json_raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        if len(records) == 1:
            return _lenient_table(version, records[0].raw, type_mismatches)
    # A value of another type is among them: the half without it is decoded in one call.
    half = len(records) // 2
    halves = (records[:half], records[half:])
    tables = [
        normalize(version, part, lines_of(part), type_mismatches, as_text, is_json_raw=is_json_raw) for part in halves
    ]
    return {name: [*tables[0][name], *tables[1][name]] for name in tables[0]}


class _Plan(NamedTuple):
    """Decoders for records of one version with documented types: for lines, for lists of one line, for metadata."""

    version: ApiVersion
    decode_rows: Callable[[bytes], Rows]
    decode_lists: Callable[[bytes], list[ListOfOne[Any]]]
    paths: tuple[str, ...]
    inner: Mapping[str, tuple[Any, Any, tuple[str, ...]]]

    def table(self, rows: Rows, as_text: AbstractSet[str], *, is_json_raw: bool) -> Table:
        """Returns the columns; raises for a value of another type than its column's."""
        values = self._values(rows)
        for path, (decoder, empty, names) in self.inner.items():
            inside = [one or empty for one in decoder.decode(b"[" + b",".join(map(bytes, values[path])) + b"]")]
            values |= {f"{path}.{name}": values_of(inside, name) for name in names}
        count = len(values[self.paths[0]])
        json_of = _raw_json if is_json_raw else _json_bytes
        return {
            column.name: _column(column, column.path(self.version), values, count, json_of)
            if column.name not in as_text
            else _json_as_text(column, column.path(self.version), values, count)
            for column in _MAPPED
        }

    def _values(self, rows: Sequence[Any]) -> dict[str, Values]:
        """Returns one list of values for each path; tuples for each row would burden the garbage collector."""
        groups: dict[str, Sequence[Any]] = {"": rows}
        values: dict[str, Values] = {}
        for path in self.paths:
            group, _, name = path.rpartition(".")
            if group not in groups:
                groups[group] = values_of(rows, group)
            values[path] = values_of(groups[group], name)
        return values


def _column(
    column: TableColumn,
    path: str,
    values: Mapping[str, Values],
    count: int,
    json_of: Callable[[Values], Values],
) -> Values:
    if not path:
        return [None] * count
    first, *others = path.split("|")
    if others:
        return _first_values(column, [_texts_at(one, values) for one in (first, *others)])
    if column.type is ColumnType.JSON:
        return json_of(values[first])
    if column.type is ColumnType.BOOLEAN:
        return _outcomes(values[first])
    return values[first]


def _json_bytes(values: Values) -> Values:
    found = [None if value is _NULL else bytes(value) for value in values]
    # A record that states null has equal bytes in another object.
    return [None if value == _NULL_TEXT else value for value in found] if _NULL_TEXT in found else found


def _raw_json(values: Values) -> Values:
    return [None if value == _NULL else value for value in values]


def _json_as_text(column: TableColumn, path: str, values: Mapping[str, Values], count: int) -> Values:
    """Returns a column of JSON as texts: directly where it is one value, without bytes in between."""
    if not path or "|" in path:
        return list(map(readable, _column(column, path, values, count, _json_bytes)))
    found = [None if value is _NULL else str(value, "utf-8", "replace") for value in values[path]]
    null = _NULL_TEXT.decode()
    return [None if value == null else value for value in found] if null in found else found


def _texts_at(path: str, values: Mapping[str, Values]) -> Values:
    if path != _ZONE_RESOURCE:
        return values[path]
    kinds = values[_RESOURCE_TYPE]
    # Most records are about something inside a zone; a comparison for each would take longer.
    if _ZONE not in kinds:
        return ()
    return [id_ if kind == _ZONE else None for id_, kind in zip(values[_RESOURCE_ID], kinds, strict=True)]


def _first_values(column: TableColumn, places: Sequence[Values]) -> Values:
    """Returns the first value of each record that is not empty."""
    found, *others = places
    if column.type is ColumnType.JSON:
        return _json_or_text(found, others[0])
    for other in others:
        if any(other):
            found = [text or later or text for text, later in zip(found, other, strict=True)]
    return found


def _json_or_text(values: Values, texts: Values) -> list[str | bytes | None]:
    """Returns the values given as JSON; where that is missing or empty, the value given as text, as JSON."""
    found = [None if value is _NULL else bytes(value) for value in values]
    # Most are empty; a call for each would dominate the time.
    return [
        (None if text in _SAYS_NOTHING else text_as_json(text))
        if value is None
        else value
        if len(value) > _LONGEST_EMPTY
        else _value_or_text(value, text)
        for value, text in zip(found, texts, strict=True)
    ]


def _value_or_text(value: bytes, text: str | None) -> str | bytes | None:
    """Returns the JSON unless it is empty and the text is not; None if there is neither."""
    if not _is_empty(value):
        return value
    other = text_as_json(text)
    return value if other is None and value[:1] in b"{[" else other


def _is_empty(value: bytes) -> bool:
    """Returns whether JSON says nothing: null, an empty text, object or list."""
    return value == b"null" or value in _EMPTY_JSON or (value[:1] in b"{[" and not value[1:-1].strip())


def text_as_json(text: str | None) -> str | None:
    """Returns text as JSON: an object or list unchanged, other text as a JSON string; None for "" and "null"."""
    if text is None or text in _SAYS_NOTHING:
        return None
    if text.lstrip()[:1] in ("{", "["):
        try:
            msgspec.json.decode(text, type=msgspec.Raw)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return json.dumps(text)
        return text
    return msgspec.json.encode(text).decode()


def _outcomes(values: Values) -> list[bool | None]:
    try:
        return [_OUTCOMES[value] for value in values]
    except KeyError as error:
        raise TypeMismatchError(error) from None


def _whole(value: Any) -> int | None:
    fitted = fit_integer(value)
    if fitted is None and value is not None:
        raise TypeMismatchError(value)
    return fitted


def _paths(version: ApiVersion) -> dict[str, ColumnType]:
    """Returns every path of a version with the type of its value."""
    found: dict[str, ColumnType] = {}
    for column in _MAPPED:
        first, *others = column.path(version).split("|")
        found |= {first: column.type} if first else {}
        # The other paths have the same value as text.
        found |= {other: ColumnType.TEXT for other in others if other != _ZONE_RESOURCE}
    return found


def _struct(name: str, types: Mapping[str, ColumnType]) -> type[msgspec.Struct]:
    """Returns a struct for dotted paths: one nested struct for each group."""
    fields: list[tuple[str, Any, Any]] = []
    groups: dict[str, dict[str, ColumnType]] = {}
    for path, kind in types.items():
        group, _, rest = path.partition(".")
        if rest:
            groups.setdefault(group, {})[rest] = kind
        else:
            fields.append((path, *_FIELD_TYPES[kind]))
    for group, inside in groups.items():
        nested = _struct(f"{name}_{group}", inside)
        # Frozen, so that all records without the group share one.
        fields.append((group, nested, msgspec.field(default=nested())))
    return msgspec.defstruct(name, fields, gc=False, frozen=True)


def _plan(version: ApiVersion) -> _Plan:
    types = _paths(version)
    outer = {path: kind for path, kind in types.items() if types.get(path.partition(".")[0]) is not ColumnType.JSON}
    outer |= {path: kind for path, kind in types.items() if "." not in path}
    groups: dict[str, dict[str, ColumnType]] = {}
    for path in types.keys() - outer.keys():
        group, _, rest = path.partition(".")
        groups.setdefault(group, {})[rest] = types[path]
    inner = {}
    for group, inside in groups.items():
        struct = _struct(f"_{group}", inside)
        decoder = msgspec.json.Decoder(list[struct | None])  # type: ignore[valid-type]  # a type made at run time
        inner[group] = (decoder, struct(), tuple(sorted(inside)))
    row: Any = _struct("_Row", outer)
    rows, lists = msgspec.json.Decoder(row).decode_lines, msgspec.json.Decoder(ListOfOne[row]).decode_lines
    return _Plan(version, rows, lists, tuple(outer), inner)


_PLANS = {version: _plan(version) for version in ApiVersion}


# -- one record with a value of another type ---------------------------------------------------------------------------


def _lenient_table(version: ApiVersion, raw: bytes, type_mismatches: Counter[str]) -> Table:
    """Returns the columns of one record, field by field."""
    cells: Table = {}
    for column in _MAPPED:
        path = column.path(version)
        try:
            cells[column.name] = [_cell(column, path, raw) if path else None]
        except (TypeMismatchError, RecursionError):
            cells[column.name] = [None]
            # What only events have is counted in the table's column of the same path.
            if column not in EVENT_ONLY:
                type_mismatches[column.name] += 1
    return cells


def _cell(column: TableColumn, path: str, raw: bytes) -> Any:
    first, *others = path.split("|")
    value = _fit(column.type, _dig(raw, first))
    if not others:
        return value
    if column.type is ColumnType.TEXT:
        return value or next(filter(None, (_other_text(raw, other) for other in others)), value)
    if value is not None and not _is_empty(value.encode()):
        return value
    other = _dig(raw, others[0])
    # Documented as text; a value of another type is JSON already.
    text = text_as_json(_fit(ColumnType.TEXT, other)) if other[:1] == _QUOTE else _fit(column.type, other)
    return value if text is None and value and value[:1] in "{[" else text


def _other_text(raw: bytes, path: str) -> str | None:
    if path != _ZONE_RESOURCE:
        return cast("str | None", _fit(ColumnType.TEXT, _dig(raw, path)))
    try:
        is_zone = _fit(ColumnType.TEXT, _dig(raw, _RESOURCE_TYPE)) == _ZONE
        return cast("str | None", _fit(ColumnType.TEXT, _dig(raw, _RESOURCE_ID))) if is_zone else None
    except TypeMismatchError:
        # Counted in the columns of the resource; whether it is a zone is not known.
        return None


def _dig(raw: bytes, path: str) -> bytes:
    """Returns a field's own JSON, null if it is missing; raises if its group is no object."""
    name, _, rest = path.partition(".")
    value = bytes(fields_in(raw).get(name, b"null"))
    if not rest or value == b"null":
        return value
    if value[:1] == b"{":
        return _dig(value, rest)
    if name in _FREE_FORM:
        return b"null"
    raise TypeMismatchError(path)


def _strict(content: bytes) -> bytes:
    """Returns JSON for strict readers: half a surrogate pair and invalid UTF-8 become U+FFFD; raises for no JSON."""
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, ValueError, RecursionError):
        masked = mask_surrogates(content).decode("utf-8", "replace").encode()
        _check_json(masked)
        return masked
    return content


def _check_json(content: bytes) -> None:
    """Raises ``TypeMismatchError`` for what no strict reader takes, such as NaN or nesting that is too deep."""
    try:
        msgspec.json.decode(mask_surrogates(content), type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TypeMismatchError(content[:80]) from error


def _fit(kind: ColumnType, content: bytes) -> Any:
    """Returns a field's JSON as a value of the column's type; raises for another type."""
    if content == b"null":
        return None
    if kind is ColumnType.JSON:
        return _strict(content).decode()
    if kind is ColumnType.TEXT and content[:1] != _QUOTE:
        # A number becomes its digits, as in numeric ids. An object or a list is no text.
        if content[:1] in b"{[":
            raise TypeMismatchError(content)
        _check_json(content)
        return readable(content)
    try:
        plain = json.loads(content.decode("utf-8", "replace"), strict=False, parse_int=any_number)
    except ValueError as error:
        raise TypeMismatchError(content) from error
    if kind is ColumnType.TEXT:
        # Half a surrogate pair, which UTF-8 cannot express, becomes U+FFFD.
        return str(plain).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if kind is ColumnType.INTEGER:
        return _whole(plain)
    return _outcomes([plain if isinstance(plain, str | bool) else content])[0]
