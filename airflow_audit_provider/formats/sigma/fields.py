"""Fields that a Sigma rule can name, and the SQL of each over the normalized table.

A field is a column of the table, a path into a column of JSON (``after.content``), or one of the derived fields below.

Invariant: no SQL here raises for the value of a record; a value that cannot be read is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import Enum, auto
from typing import NamedTuple

from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.formats.normalized.columns import COLUMNS, RAW_COLUMN

_BY_NAME = {column.name: column for column in COLUMNS}
_WITH_PATHS = frozenset({RAW_COLUMN, *(column.name for column in COLUMNS if column.type is ColumnType.JSON)})
_KEY = re.compile(r"[A-Za-z0-9_$-]+")


class UnusableRuleError(ValueError):
    """A rule cannot be used, and why. ``word`` is the word of the rule that is wrong. Never leaves this package."""

    def __init__(self, reason: str, word: str = "") -> None:
        super().__init__(reason)
        self.word = word


class Kind(Enum):
    """Type of a field's SQL."""

    TEXT = auto()
    BOOLEAN = auto()
    INTEGER = auto()
    TIMESTAMP = auto()


class FieldSql(NamedTuple):
    """SQL expression of a field, and its type."""

    sql: str
    kind: Kind

    @property
    def text(self) -> str:
        """The value as text."""
        return self.sql if self.kind is Kind.TEXT else f"CAST({self.sql} AS VARCHAR)"

    @property
    def number(self) -> str:
        """The value as a number; null if it is none."""
        return self.sql if self.kind is Kind.INTEGER else f"TRY_CAST({self.text} AS DOUBLE)"


class DerivedField(NamedTuple):
    """A field that no column holds. ``{time_zone}`` stands for a literal in the SQL."""

    sql: str
    kind: Kind
    meaning: str


def _column(name: str) -> str:
    return f'"{name}"'


def _network() -> str:
    """Returns the SQL of the network of an address: /24 of IPv4, /48 of IPv6; any other text unchanged."""
    address = f"lower({_column('actor_ip')})"
    # The groups before and after ``::``, which stands for as many groups of zeros as are missing.
    left = f"regexp_extract_all(split_part({address}, '::', 1), '[0-9a-f]+')"
    right = f"regexp_extract_all(split_part({address}, '::', 2), '[0-9a-f]+')"
    zeros = f"list_resize(CAST([] AS VARCHAR[]), greatest(8 - len({left}) - len({right}), 0), '0')"
    groups = f"list_concat(list_concat({left}, {zeros}), {right})[1:3]"
    return (
        f"CASE WHEN regexp_full_match({_column('actor_ip')}, '[0-9]+(\\.[0-9]+){{3}}') "
        f"THEN regexp_extract({_column('actor_ip')}, '^(.*)\\.[0-9]+$', 1) || '.0/24' "
        f"WHEN regexp_full_match({address}, '[0-9a-f:]*:[0-9a-f:]*') "
        f"THEN array_to_string({groups}, ':') || '::/48' ELSE {_column('actor_ip')} END"
    )


_LOCAL_TIME = f"({_column('event_time')} AT TIME ZONE {{time_zone}})"
DERIVED: Mapping[str, DerivedField] = {
    "actor_network": DerivedField(
        _network(), Kind.TEXT, "network of `actor_ip`: `192.0.2.0/24`, `2001:db8:1::/48`; other text unchanged"
    ),
    "actor_credential": DerivedField(
        f"coalesce({_column('actor_token_id')}, {_column('actor_id')}, {_column('actor_email')})",
        Kind.TEXT,
        "id of the API token that the actor used; without one (all of version 1), the actor's id or e-mail address",
    ),
    "request_path": DerivedField(
        f"rtrim(split_part({_column('request_uri')}, '?', 1), '/')",
        Kind.TEXT,
        "`request_uri` without its query and without a slash at its end",
    ),
    "local_hour": DerivedField(
        f"CAST(date_part('hour', {_LOCAL_TIME}) AS INTEGER)",
        Kind.INTEGER,
        "hour of `event_time`, 0 to 23, in the time zone of the rules",
    ),
    "local_weekday": DerivedField(
        f"CAST(date_part('isodow', {_LOCAL_TIME}) AS INTEGER)",
        Kind.INTEGER,
        "weekday of `event_time`, 1 (Monday) to 7, in the time zone of the rules",
    ),
}
LOCAL_FIELDS = frozenset(name for name, field in DERIVED.items() if "{time_zone}" in field.sql)
_KINDS = {ColumnType.BOOLEAN: Kind.BOOLEAN, ColumnType.INTEGER: Kind.INTEGER, ColumnType.TIMESTAMP: Kind.TIMESTAMP}


def field_names() -> Iterator[str]:
    """Yields the names of all fields that have no path."""
    yield from _BY_NAME
    yield from DERIVED


def field_sql(name: str, time_zone: str) -> FieldSql:
    """Returns the SQL of a field; raises ``UnusableRuleError`` for a name that the table does not have."""
    if name in DERIVED:
        derived = DERIVED[name]
        return FieldSql(derived.sql.replace("{time_zone}", literal(time_zone)), derived.kind)
    column, *path = name.split(".")
    if column not in _BY_NAME:
        raise UnusableRuleError(_unknown(name), name)
    if path:
        return _inside(name, column, path)
    kind = _KINDS.get(_BY_NAME[column].type, Kind.TEXT)
    # A warehouse may hold JSON in a type of its own.
    sql = f"CAST({_column(column)} AS VARCHAR)" if column in _WITH_PATHS else _column(column)
    return FieldSql(sql, kind)


def _inside(name: str, column: str, path: list[str]) -> FieldSql:
    if column not in _WITH_PATHS:
        raise UnusableRuleError(
            f"the field {name!r} is a path into {column!r}, which holds no JSON. Use {column!r}, or a path into one of "
            f"{', '.join(sorted(_WITH_PATHS))}",
            name,
        )
    if not all(map(_KEY.fullmatch, path)):
        raise UnusableRuleError(
            f"the field {name!r} has a key that is not made of letters, digits, '_', '-' and '$'. Compare the whole of "
            f"{column!r} with |contains",
            name,
        )
    keys = "".join(f"[{key}]" if key.isdigit() else f'."{key}"' for key in path)
    text = f"CAST({_column(column)} AS VARCHAR)"
    return FieldSql(
        f"CASE WHEN json_valid({text}) THEN json_extract_string({text}, {literal('$' + keys)}) END", Kind.TEXT
    )


def _unknown(name: str) -> str:
    near = get_close_matches(name.partition(".")[0], list(field_names()), n=1, cutoff=0.0)
    return (
        f"the table has no field {name!r}. The nearest name is {near[0]!r}; docs/reference/detection-rules.md lists all"
    )


def literal(text: str) -> str:
    """Returns a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
