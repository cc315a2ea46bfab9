"""Rows inside of the JSON that a job puts around them, such as ``{"events":[…]}``, and lines with several rows.

Cloudflare docs, ``output_options``: ``batch_prefix``, ``batch_suffix``, ``record_prefix``, ``record_suffix`` and
``record_delimiter`` are any texts. Their example makes ``{"events":[`` and ``]}`` lines of their own, and puts
``{"info":{…}},`` around each row.

Invariant: a line has rows, only punctuation around rows, or a remainder that the caller counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import msgspec

# An object, its list, and what the example of the documentation puts around each row.
_MOST_LEVELS = 4
_DECODER = json.JSONDecoder(strict=False)
_LIST_START = re.compile(r'\s*(?:\{\s*"([^"\\]*)"\s*:\s*)?\[')
_BETWEEN_ROWS = re.compile(r"[\s,]*")
_LIST_END = re.compile(r"[\s,\]}]*")


class DecodedLine(NamedTuple):
    """The values of a line; ``is_punctuation`` if it has nothing else, ``has_rest`` if other text follows them."""

    values: list[Any]
    is_punctuation: bool = False
    has_rest: bool = False


def decoded_line(line: bytes, field_names: Collection[str]) -> DecodedLine:
    """Returns the values of a line; those of ``field_names`` are the fields of a row."""
    try:
        return DecodedLine([msgspec.json.decode(line)])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    text = line.decode("utf-8", "replace")
    try:
        # RFC 8259, section 8.2: the grammar allows half a surrogate pair, which UTF-8 cannot express.
        return DecodedLine([json.loads(text, strict=False)])
    except (ValueError, RecursionError):
        return _piece_of_list(text, field_names)


def _piece_of_list(text: str, field_names: Collection[str]) -> DecodedLine:
    """Returns the objects of a line that begins, continues or ends a list of rows."""
    start = _LIST_START.match(text)
    place = start.end() if start is not None and start[1] not in field_names else 0
    values: list[Any] = []
    while True:
        place = _matched_to(_BETWEEN_ROWS, text, place)
        if not text.startswith("{", place):
            break
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            break
        values.append(value)
    has_rest = _matched_to(_LIST_END, text, place) < len(text)
    return DecodedLine(values, not values and not has_rest, has_rest)


def _matched_to(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return place if found is None else found.end()


def is_list_start(line: bytes, field_names: Collection[str]) -> bool:
    """Returns whether a line begins with a list, or with an object of a list that is no field of a row."""
    start = _LIST_START.match(line.decode("utf-8", "replace"))
    return start is not None and start[1] not in field_names


def objects_in(value: Any, field_names: Collection[str], levels: int = _MOST_LEVELS) -> Iterator[Any]:
    """Yields the rows of a value: itself if it has a field of a row, else those of the objects inside of it.

    A value without one inside is yielded itself, so that the caller counts it.
    """
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    wrapped = [one for one in inner if isinstance(one, dict | list)]
    is_row = isinstance(value, dict) and not value.keys().isdisjoint(field_names)
    if is_row or not wrapped or not levels:
        yield value
        return
    if isinstance(value, list):
        wrapped = value
    for one in wrapped:
        yield from objects_in(one, field_names, levels - 1)
