"""Content of a record in a form that is equal for a Logpush row and for the API record with the same id.

Documented equivalences, each named in docs/how-to/repair-logpush.md:

- a missing value, null, an empty text, an empty object or list, and the text ``null``;
- a number and its decimal text; a truth value and its text, which has any case in ``ActionResult``;
- JSON inside a text and the same JSON as a value, in any order of keys and with any white space;
- ``x{`` and ``${``, which Logpush replaces with the option ``CVE-2021-44228``.

Invariant: hashes are compared within one process only, because Python's hash of bytes differs between processes. A
column that a side does not have has the hash ``ABSENT``, which is equal to everything.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, mapping_of
from airflow_audit_provider.core.verification.reconcile.fields import DATASETS, Column, Kind, plain_name

ABSENT, EMPTY = 0, 1
_EMPTY_VALUES: tuple[Any, ...] = (None, "", "null", {}, [])
_FLAGS = ("true", "false")
_MISSING = object()
_ANY_TIME: dict[ApiVersion, dict[str, Any]] = {
    ApiVersion.V1: {"when": "2026-01-01T00:00:00Z"},
    ApiVersion.V2: {"action": {"time": "2026-01-01T00:00:00Z"}},
}


def canonical(value: Any, *, is_flag: bool = False) -> bytes:
    """Returns a value in its canonical form; empty bytes for each of the empty values."""
    if isinstance(value, str):
        value = _json_inside(value)
    if value in _EMPTY_VALUES:
        return b""
    if isinstance(value, bool) or (is_flag and isinstance(value, str) and value.lower() in _FLAGS):
        text = str(value).lower().encode("utf-8", "surrogatepass")
    elif isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
    else:
        text = _sorted_json(value)
    return text.replace(b"${", b"x{")


def _json_inside(text: str) -> Any:
    """Returns the object or list that a text is the JSON of, otherwise the text."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text


def _sorted_json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, order="sorted")
    except (ValueError, TypeError, OverflowError, RecursionError):
        # Numbers of more than 64 bits, and half surrogate pairs.
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _hashed(value: Any, kind: Kind) -> int:
    content = canonical(value, is_flag=kind is Kind.FLAG)
    return EMPTY if not content else _not_reserved(hash(content))


def _not_reserved(number: int) -> int:
    return number if number not in (ABSENT, EMPTY) else 2


def committed_hashes(version: ApiVersion, record: AuditRecord) -> bytes:
    """Returns one hash for each column of an API record, then one for each column with a second field.

    If one of the two fields is empty, both hashes are those of the other one: a row has to have what there is.
    """
    fields = mapping_of(record.raw)
    columns = DATASETS[version].columns
    found = [_scope_or(_at(fields, column.path), column.kind) for column in columns]
    for place in _second_places(version):
        second = _hashed(_at(fields, columns[place].other_path), Kind.JSON)
        if found[place] == EMPTY:
            found[place] = second
        found.append(found[place] if second == EMPTY else second)
    return array("q", found).tobytes()


def _scope_or(value: Any, kind: Kind) -> int:
    """Returns the hash of a value.

    Observed: a scope is a text or an object; which of its values Logpush shows as text is not documented, so an object
    is not compared. A time is compared as an instant, not here.
    """
    if kind is Kind.TIME or (kind is Kind.SCOPE and isinstance(value, dict)):
        return ABSENT
    return _hashed(value, kind)


def _at(fields: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = fields
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


@lru_cache(maxsize=4)
def _second_places(version: ApiVersion) -> tuple[int, ...]:
    """Returns the places of the columns that have a second field."""
    return tuple(place for place, column in enumerate(DATASETS[version].columns) if column.other_path)


def archived_hashes(version: ApiVersion, fields: Mapping[str, Any]) -> bytes:
    """Returns one hash for each column of a Logpush row, ``ABSENT`` for a field that the row does not have."""
    return array("q", [_archived(column, fields) for column in DATASETS[version].columns]).tobytes()


def _archived(column: Column, fields: Mapping[str, Any]) -> int:
    value = archived_value(column, fields)
    return ABSENT if value is _MISSING or column.kind is Kind.TIME else _scope_or(value, column.kind)


def archived_value(column: Column, fields: Mapping[str, Any]) -> Any:
    """Returns the value of a column in a Logpush row; a marker of its own if the row does not have it.

    Of an empty object every part is empty. In an object with other parts, one that is missing may have another name.
    """
    value = fields.get(column.name, _MISSING)
    if not column.part or value is _MISSING:
        return value
    inside = _json_inside(value) if isinstance(value, str) else value
    if inside in _EMPTY_VALUES:
        return None
    if not isinstance(inside, dict):
        return _MISSING
    wanted = plain_name(column.part)
    names = {wanted, wanted.removeprefix("token")}
    return next((one for name, one in inside.items() if plain_name(name) in names), _MISSING)


def as_api_record(version: ApiVersion, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a Logpush row as an API record with the same content, for a privacy rule to be applied to."""
    record: dict[str, Any] = {"id": "-", **_ANY_TIME[version]}
    for column in DATASETS[version].columns:
        value = archived_value(column, fields)
        if value is not _MISSING and column.kind is not Kind.TIME:
            inner = record
            for name in column.path[:-1]:
                inner[name] = dict(inner.get(name, {}))
                inner = inner[name]
            inner[column.path[-1]] = _json_inside(value) if isinstance(value, str) else value
    return record


def differing_columns(version: ApiVersion, committed: bytes, archived: bytes) -> Iterator[str]:
    """Yields the labels of the columns that both sides have and that differ."""
    if committed.startswith(archived):
        return
    ours, theirs = array("q"), array("q")
    ours.frombytes(committed)
    theirs.frombytes(archived)
    columns = DATASETS[version].columns
    seconds = dict(zip(_second_places(version), ours[len(columns) :], strict=True))
    for place, (our, their) in enumerate(zip(ours, theirs, strict=False)):
        if ABSENT not in (our, their) and their not in (our, seconds.get(place, our)):
            yield columns[place].label


def compared_columns(version: ApiVersion, archived: bytes) -> Iterator[str]:
    """Yields the labels of the columns of Logpush rows that have a hash; the time has none."""
    theirs = array("q")
    theirs.frombytes(archived)
    for column, their in zip(DATASETS[version].columns, theirs, strict=True):
        if their != ABSENT:
            yield column.label
