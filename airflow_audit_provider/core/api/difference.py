"""Readable difference of two JSON values, field by field, of bounded size.

Invariant: no values raise, however deep or long they are, and two values have no difference only if they are equal.
Texts are not escaped here: a view has to show them as texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from msgspec import UNSET

MOST_LINES = 200
MOST_CHARACTERS = 300
# Deeper values are compared and shown as a whole.
_MOST_LEVELS = 24
WHOLE = "(whole value)"


class DifferenceLine(NamedTuple):
    """A field that differs; a text is None where the field does not exist."""

    path: str
    before: str | None
    after: str | None


class Difference(NamedTuple):
    """The first lines of a difference; ``has_more`` says whether lines are left out."""

    lines: tuple[DifferenceLine, ...]
    has_more: bool = False


def difference_of(before: Any, after: Any, most_lines: int = MOST_LINES) -> Difference:
    """Returns the fields in which two values differ; a value of ``UNSET`` is not known and differs in nothing."""
    if before is UNSET or after is UNSET:
        return Difference(())
    found = list(islice(_lines(before, after, "", 0), most_lines + 1))
    return Difference(tuple(found[:most_lines]), len(found) > most_lines)


def changed_fields(before: Any, after: Any) -> tuple[str, ...]:
    """Returns the paths in which two values differ, at most 200."""
    return tuple(line.path for line in difference_of(before, after).lines)


def _lines(before: Any, after: Any, path: str, level: int) -> Iterator[DifferenceLine]:
    """Yields the differing fields, in the order of the value before and then of the value after."""
    old, new = _children(before), _children(after)
    is_whole = level >= _MOST_LEVELS or isinstance(before, list) != isinstance(after, list)
    if old is None or new is None or is_whole:
        if _differ(before, after):
            yield DifferenceLine(path or WHOLE, _text(before), _text(after))
        return
    for name in [*old, *(name for name in new if name not in old)]:
        below = _joined(path, name)
        if name in old and name in new:
            yield from _lines(old[name], new[name], below, level + 1)
        else:
            yield DifferenceLine(
                below, _text(old[name]) if name in old else None, _text(new[name]) if name in new else None
            )


def _children(value: Any) -> Mapping[str, Any] | None:
    """Returns the fields of an object, or the elements of a list by their number; None for any other value."""
    if isinstance(value, Mapping):
        return value
    return {f"[{number}]": one for number, one in enumerate(value)} if isinstance(value, list) else None


def _joined(path: str, name: str) -> str:
    below = name if not path or name.startswith("[") else f".{name}"
    return f"{path}{below}"[:MOST_CHARACTERS]


def _differ(before: Any, after: Any) -> bool:
    """Returns whether two values differ as JSON: true is not 1, and 1 is not 1.0."""
    try:
        return type(before) is not type(after) or json.dumps(before, sort_keys=True) != json.dumps(
            after, sort_keys=True
        )
    except (RecursionError, TypeError, ValueError):
        return True


def _text(value: Any) -> str:
    """Returns a value as JSON, cut to a bounded length."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (RecursionError, TypeError, ValueError):
        return "(too deep to show)"
    left = len(text) - MOST_CHARACTERS
    return text if left <= 0 else f"{text[:MOST_CHARACTERS]}… ({left} more characters)"
