"""Columns of objects: for all rows together, one column for each attribute, also of objects inside of objects.

A group of events is a handful of columns instead of a thousand nested dicts. JSON Lines are made of the columns here,
Arrow arrays in ``arrow``.

Invariant: where a row has no object, its attributes have no value either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

import msgspec

_JSON = msgspec.json.Encoder()


class Repeated(NamedTuple):
    """The same value in every row: a text, a number, or a tuple of texts."""

    value: Any


class Objects(NamedTuple):
    """An object in each row; ``present`` says which rows have one, None that all have.

    The attributes are in the order in which JSON has them.
    """

    attributes: Mapping[str, Column]
    present: Sequence[bool] | None = None


class Lists(NamedTuple):
    """A list of one element in each row that has the element."""

    element: Objects


# None is a column without a value in any row.
Column: TypeAlias = Sequence[Any] | Repeated | Objects | Lists | None


def objects_where(present: Sequence[bool], attributes: Mapping[str, Column]) -> Objects | None:
    """Returns objects in the rows that are present, without the attributes' values in other rows."""
    if all(present):
        return Objects(attributes)
    if not any(present):
        return None
    return Objects({name: _only(column, present) for name, column in attributes.items()}, present)


def objects_of(**attributes: Sequence[Any] | Objects | None) -> Objects | None:
    """Returns an object in each row in which an attribute has a value."""
    filled = [column for column in attributes.values() if column is not None]
    if not filled:
        return None
    found = [presence(column, 0) for column in filled]
    if any(map(all, found)):
        return Objects(attributes)
    absent = (False,) * len(found)
    return Objects(attributes, found[0] if len(found) == 1 else [row != absent for row in zip(*found, strict=True)])


def presence(column: Sequence[Any] | Objects | None, count: int) -> Sequence[bool]:
    """Returns which of ``count`` rows have a value."""
    if column is None:
        return [False] * count
    if isinstance(column, Objects):
        return [True] * count if column.present is None else column.present
    return [value is not None for value in column]


def _only(column: Column, present: Sequence[bool]) -> Column:
    """Returns a column without the values of rows that are not present."""
    if column is None:
        return None
    if isinstance(column, Repeated):
        return [column.value if is_present else None for is_present in present]
    if isinstance(column, Lists):
        element = _only(column.element, present)
        return Lists(element) if isinstance(element, Objects) else None
    if isinstance(column, Objects):
        both = present if column.present is None else [a and b for a, b in zip(column.present, present, strict=True)]
        return objects_where(both, column.attributes)
    return [value if is_present else None for value, is_present in zip(column, present, strict=True)]


def json_lines(rows: Objects, count: int) -> bytes:
    """Returns each row as one line of JSON, without the attributes that it lacks."""
    return _JSON.encode_lines(_values(rows, count))


def _values(column: Column, count: int) -> Iterable[Any]:
    """Returns a column's values as JSON takes them."""
    if column is None:
        return repeat(None, count)
    if isinstance(column, Repeated):
        return repeat(column.value, count)
    if isinstance(column, Lists):
        return [None if one is None else (one,) for one in _objects(column.element, count)]
    if isinstance(column, Objects):
        return _objects(column, count)
    return column


def _objects(column: Objects, count: int) -> list[Any]:
    made = map(_object_type(tuple(column.attributes)), *(_values(one, count) for one in column.attributes.values()))
    if column.present is None:
        return list(made)
    return [one if is_present else None for one, is_present in zip(made, column.present, strict=True)]


@lru_cache(maxsize=64)
def _object_type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Returns a struct whose attributes are left out of JSON where they are None."""
    return msgspec.defstruct("Object", [(name, Any, None) for name in names], omit_defaults=True, gc=False)
