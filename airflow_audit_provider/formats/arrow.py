"""Arrow schemas, columns and rows, and how Parquet stores each schema's columns.

pyarrow is imported by the functions that need it: parsing a DAG file must not load it.

Invariant: a schema is the same for every part of one version, also for an empty part. The normalized and the OCSF
schema carry their name and version in the file's metadata.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.formats.arrow_arrays import ArrayBuilder, booleans, text_array, zeros
from airflow_audit_provider.formats.lenient_json import readable
from airflow_audit_provider.formats.nested import Column, Lists, Objects, Repeated, presence
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.normalized.columns import COLUMNS, TableColumn, columns_of
from airflow_audit_provider.formats.ocsf import mapping as ocsf
from airflow_audit_provider.formats.ocsf.classes import RELEASES
from airflow_audit_provider.formats.options import OCSF

if TYPE_CHECKING:
    import pyarrow as pa

ArrowRows: TypeAlias = "pa.RecordBatch"
_RAW_GROUP_RECORDS = 10_000
_ARRAYS = ArrayBuilder()


class ParquetLayout(NamedTuple):
    """Layout in which Parquet stores the rows of a schema.

    ``dictionaries`` names the columns that get a dictionary, ``statistics`` those that get a minimum and a maximum.
    ``sorted_by`` is the index of the column that rows are sorted by. A row group has at most ``group_records`` rows
    and a few more; None if only its size bounds it.
    """

    schema: pa.Schema
    dictionaries: tuple[str, ...]
    statistics: tuple[str, ...]
    sorted_by: int
    group_records: int | None = None
    has_arrow_schema: bool = True


@lru_cache(maxsize=1)
def arrow_types() -> Mapping[ColumnType, pa.DataType]:
    """Returns the Arrow type of each column type."""
    import pyarrow as pa

    return {
        ColumnType.TEXT: pa.string(),
        ColumnType.JSON: pa.string(),
        ColumnType.BOOLEAN: pa.bool_(),
        ColumnType.INTEGER: pa.int64(),
        ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    }


# -- schemas -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def raw_layout() -> ParquetLayout:
    """Returns the layout of raw records: id, event time, record, none of them ever null."""
    import pyarrow as pa

    types = {"id": ColumnType.TEXT, "event_time": ColumnType.TIMESTAMP, "record": ColumnType.JSON}
    schema = pa.schema([pa.field(name, arrow_types()[kind], nullable=False) for name, kind in types.items()])
    # Every id and record differs from the others, and no query looks for the smallest or largest record.
    return ParquetLayout(schema, (), ("id", "event_time"), 1, _RAW_GROUP_RECORDS, has_arrow_schema=False)


@lru_cache(maxsize=8)
def normalized_layout(minor: int = normalized.MINOR) -> ParquetLayout:
    """Returns the layout of the normalized table in a minor version."""
    import pyarrow as pa

    columns = columns_of(minor)
    return ParquetLayout(
        pa.schema([_field(column) for column in columns], _metadata("normalized", normalized.MAJOR, minor)),
        tuple(column.name for column in columns if column.repeats),
        tuple(column.name for column in columns if column.type is not ColumnType.JSON and column.name != "raw"),
        [column.name for column in columns].index("event_time"),
    )


def _field(column: TableColumn) -> pa.Field[Any]:
    import pyarrow as pa

    # Columns are only ever added at the end of the list, so a column's place is its id permanently.
    field_id = str(COLUMNS.index(column) + 1)
    metadata = {"PARQUET:field_id": field_id, "meaning": column.meaning, "type": str(column.type)}
    return pa.field(column.name, arrow_types()[column.type], nullable=column.nullable, metadata=metadata)


def _metadata(schema: str, major: int, minor: int) -> dict[str | bytes, str | bytes]:
    return {"audit_schema": schema, "audit_schema_version": f"{major}.{minor}"}


@lru_cache(maxsize=4)
def ocsf_layout(schema: str = OCSF) -> ParquetLayout:
    """Returns the layout of OCSF events in the release that a schema is, objects as structs."""
    import pyarrow as pa

    attributes = ocsf.attributes_of(schema)
    metadata = {**_metadata(schema, ocsf.MAJOR, ocsf.MINOR), "ocsf_version": RELEASES[schema].version}
    fields = [
        pa.field(name, _nested_type(kind), nullable=name not in ocsf.REQUIRED) for name, kind in attributes.items()
    ]
    leaves = list(_leaves(attributes))
    return ParquetLayout(
        pa.schema(fields, metadata),
        tuple(path for path in leaves if not _ends_in(path, ocsf.UNLIKE)),
        tuple(path for path in leaves if not _ends_in(path, ocsf.FREE_FORM)),
        list(attributes).index("time"),
    )


def _nested_type(kind: Any) -> pa.DataType:
    import pyarrow as pa

    if isinstance(kind, Mapping):
        return pa.struct([pa.field(name, _nested_type(inner)) for name, inner in kind.items()])
    if isinstance(kind, list):
        return pa.list_(_nested_type(kind[0]))
    return arrow_types()[kind]


def _ends_in(path: str, names: AbstractSet[str]) -> bool:
    return path in names or path.rpartition(".")[2] in names


def _leaves(kind: Any, path: str = "") -> Iterator[str]:
    """Yields the dotted paths of the columns that a schema has in Parquet."""
    if isinstance(kind, Mapping):
        for name, inner in kind.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(kind, list):
        yield from _leaves(kind[0], f"{path}.list.element")
    else:
        yield path


# -- columns and rows --------------------------------------------------------------------------------------------------


def table_to_arrow(
    schema: pa.Schema, table: Mapping[str, Sequence[Any]], text_column: str, absent: AbstractSet[str] = frozenset()
) -> pa.RecordBatch:
    """Returns columns as Arrow rows of a schema.

    ``text_column`` names the column that holds the records' own bytes, ``absent`` the columns that are null in every
    row.
    """
    import pyarrow as pa

    fields = [field for field in schema if field.name != text_column and field.name not in absent]
    columns = typed_columns([table[field.name] for field in fields], [field.type for field in fields])
    arrays = dict(zip([field.name for field in fields], columns, strict=True))
    arrays[text_column] = raw_column(table[text_column])
    count = len(table[text_column])
    return pa.RecordBatch.from_arrays(
        [pa.nulls(count, field.type) if field.name in absent else arrays[field.name] for field in schema], schema=schema
    )


def objects_to_arrow(schema: pa.Schema, rows: Objects, count: int, text_column: str) -> pa.RecordBatch:
    """Returns objects as Arrow rows of a schema; ``text_column`` holds the records' own bytes."""
    import pyarrow as pa

    fields = [field for field in schema if field.name != text_column]
    columns = [rows.attributes.get(field.name) for field in fields]
    # All values are built in one call, because a call for each column takes longer.
    leaves = [leaf for column, field in zip(columns, fields, strict=True) for leaf in _leaf_columns(column, field.type)]
    built = iter(typed_columns([values for values, _ in leaves], [kind for _, kind in leaves]))
    arrays = {
        field.name: _nested(column, field.type, count, built) for column, field in zip(columns, fields, strict=True)
    }
    if next(built, None) is not None:
        raise RuntimeError("A column of values belongs to no attribute.")
    texts: Any = rows.attributes[text_column]
    arrays[text_column] = raw_column(texts)
    return pa.RecordBatch.from_arrays([arrays[field.name] for field in schema], schema=schema)


def _leaf_columns(column: Column, kind: Any) -> Iterator[tuple[Sequence[Any], pa.DataType]]:
    """Yields the columns of values in a column, in the order in which ``_nested`` takes them."""
    if isinstance(column, Lists):
        yield from _leaf_columns(column.element, kind.value_type)
    elif isinstance(column, Objects):
        for field in kind:
            yield from _leaf_columns(column.attributes.get(field.name), field.type)
    elif column is not None and not isinstance(column, Repeated):
        yield column, kind


def _nested(column: Column, kind: Any, count: int, built: Iterator[Any]) -> Any:
    """Returns a column as an Arrow array of a type, objects as structs; ``built`` are its values as arrays."""
    import pyarrow as pa

    if column is None:
        return pa.nulls(count, kind)
    if isinstance(column, Repeated):
        return _repeated(column.value, kind).take(zeros(count))
    if isinstance(column, Objects):
        children = [_nested(column.attributes.get(field.name), field.type, count, built) for field in kind]
        absent = None if column.present is None else booleans([not present for present in column.present])
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=absent)
    if isinstance(column, Lists):
        return _lists(column.element, kind, count, built)
    return next(built)


@lru_cache(maxsize=256)
def _repeated(value: Any, kind: Any) -> Any:
    """Returns one text, number or tuple of texts as an Arrow array."""
    import pyarrow as pa

    if not isinstance(value, tuple):
        return typed_column([value], kind)
    offsets: Any = pa.Int32Array.from_buffers(pa.int32(), 2, [None, pa.py_buffer(array("i", (0, len(value))))])
    return pa.ListArray.from_arrays(offsets, typed_column(value, kind.value_type), type=kind)


def _lists(element: Objects, kind: Any, count: int, built: Iterator[Any]) -> Any:
    """Returns lists of one element as an Arrow array, null in rows without the element."""
    import pyarrow as pa

    present = presence(element, count)
    ends = pa.py_buffer(array("i", accumulate(present, initial=0)))
    offsets: Any = pa.Int32Array.from_buffers(pa.int32(), count + 1, [None, ends])
    elements = _nested(element, kind.value_type, count, built).filter(booleans(present))
    return pa.ListArray.from_arrays(offsets, elements, type=kind, mask=booleans([not one for one in present]))


def raw_column(raws: Sequence[bytes]) -> pa.Array[Any]:
    """Returns the records' own bytes as an Arrow column, copied once into a buffer of the right size."""
    import pyarrow as pa

    try:
        return text_array(raws)
    except pa.ArrowInvalid:
        return typed_column(raws, pa.string())


def uses_buffers() -> bool:
    """Returns whether the next columns are made of buffers, without ``pyarrow.array``."""
    return _ARRAYS.uses_buffers


def typed_columns(columns: Sequence[Sequence[Any]], kinds: Sequence[pa.DataType]) -> list[pa.Array[Any]]:
    """Returns Arrow columns; bytes that are no UTF-8, which JSON forbids, get a replacement character."""
    import pyarrow as pa

    try:
        return _ARRAYS.build(columns, kinds)
    except pa.ArrowInvalid:
        return [typed_column(values, kind) for values, kind in zip(columns, kinds, strict=True)]


def typed_column(values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    """Returns one column as ``typed_columns`` does."""
    import pyarrow as pa

    try:
        return _ARRAYS.build([values], [kind])[0]
    except pa.ArrowInvalid:
        return _ARRAYS.build([[readable(value) for value in values]], [kind])[0]
