"""Schemas as Arrow knows them, and what Parquet is told of their columns.

Knows: pyarrow's types, imported when they are asked for. Must not know: records, files.
Its one rule: a schema names itself, its version and the meaning of each column in its metadata.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.normalized.columns import COLUMNS, ColumnType, TableColumn, columns_of
from airflow_audit_provider.formats.ocsf import mapping as ocsf


class ArrowSchema(NamedTuple):
    """A schema, the columns that get a dictionary, those that get statistics, and the index of the one sorted by."""

    arrow: Any
    repeating: tuple[str, ...]
    comparable: tuple[str, ...]
    sorted_by: int


@lru_cache(maxsize=8)
def normalized_schema(minor: int = normalized.MINOR) -> ArrowSchema:
    """Return the normalized table's schema in a minor version."""
    columns = columns_of(minor)
    fields = [_field(column) for column in columns]
    return ArrowSchema(
        importlib.import_module("pyarrow").schema(fields, _said_of("normalized", normalized.MAJOR, minor)),
        tuple(column.name for column in columns if column.repeats),
        tuple(column.name for column in columns if column.type is not ColumnType.JSON and column.name != "raw"),
        [column.name for column in columns].index("event_time"),
    )


def _field(column: TableColumn) -> Any:
    pyarrow = importlib.import_module("pyarrow")
    types = {
        ColumnType.TEXT: pyarrow.string(),
        ColumnType.JSON: pyarrow.string(),
        ColumnType.BOOLEAN: pyarrow.bool_(),
        ColumnType.INTEGER: pyarrow.int64(),
        ColumnType.TIMESTAMP: pyarrow.timestamp("us", tz="UTC"),
    }
    # Columns are only ever added at the end of the list, so a column's place is its id for good.
    said = {"PARQUET:field_id": str(COLUMNS.index(column) + 1), "meaning": column.meaning, "type": str(column.type)}
    return pyarrow.field(column.name, types[column.type], nullable=column.nullable, metadata=said)


def _said_of(schema: str, major: int, minor: int) -> dict[str, str]:
    return {"audit_schema": schema, "audit_schema_version": f"{major}.{minor}"}


@lru_cache(maxsize=1)
def ocsf_schema() -> ArrowSchema:
    """Return the schema of OCSF events, objects as structs."""
    pyarrow = importlib.import_module("pyarrow")
    said = _said_of("ocsf", ocsf.MAJOR, ocsf.MINOR) | {"ocsf_version": ocsf.OCSF_VERSION}
    fields = [
        pyarrow.field(name, _nested(kind), nullable=name not in ocsf.REQUIRED) for name, kind in ocsf.ATTRIBUTES.items()
    ]
    leaves = [path for path, _ in _leaves(ocsf.ATTRIBUTES)]
    return ArrowSchema(
        pyarrow.schema(fields, said),
        tuple(path for path in leaves if not _ends(path, ocsf.UNLIKE)),
        tuple(path for path in leaves if not _ends(path, ocsf.FREE_FORM)),
        list(ocsf.ATTRIBUTES).index("time"),
    )


def _nested(kind: Any) -> Any:
    pyarrow = importlib.import_module("pyarrow")
    if isinstance(kind, Mapping):
        return pyarrow.struct([pyarrow.field(name, _nested(inner)) for name, inner in kind.items()])
    if isinstance(kind, list):
        return pyarrow.list_(_nested(kind[0]))
    return {"text": pyarrow.string(), "integer": pyarrow.int64(), "instant": pyarrow.timestamp("us", tz="UTC")}[kind]


def _ends(path: str, names: frozenset[str]) -> bool:
    return path in names or path.rpartition(".")[2] in names


def _leaves(kind: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted paths of the columns a schema has in Parquet."""
    if isinstance(kind, Mapping):
        for name, inner in kind.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(kind, list):
        yield from _leaves(kind[0], f"{path}.list.element")
    else:
        yield path, kind
