"""JSON no strict reader takes, and values no column holds: what can still be read of them.

Knows: JSON, UTF-8. Must not know: which fields or columns there are.
Its one rule: nothing odd raises; what cannot be read is nothing here, and whole in the record's own text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

_LONGEST_INTEGER = 4000
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def fields_in(raw: bytes) -> Mapping[str, Any]:
    """Return the JSON of each field of an object; nothing of what cannot be read at all."""
    try:
        return _FIELDS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Half a surrogate pair is legal in JSON's grammar and impossible in UTF-8; `record` keeps it as it came.
        return _loosely_read(raw)


def _loosely_read(raw: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(raw.decode("utf-8", "replace"), parse_int=any_number)
        return {name: json.dumps(value).encode() for name, value in fields.items()}
    except (ValueError, RecursionError):
        # Nothing of it fits a column; `record` keeps it as it came.
        return {}


def any_number(digits: str) -> int | float:
    """Read an integer of any length; Python refuses to read thousands of digits as one."""
    return int(digits) if len(digits) < _LONGEST_INTEGER else float(digits)


def readable(value: Any) -> Any:
    """Return bytes as text, in which a replacement character stands for what is no UTF-8; anything else as it is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def fit_integer(value: Any) -> int | None:
    """Return what fits into 64 bits."""
    whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if whole else None
