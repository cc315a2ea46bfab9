"""Reads JSON that strict readers refuse, and values that no column holds.

Invariant: no input raises. A value that cannot be read is missing here and whole in the record's own text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from airflow_audit_provider.core.api.json_cuts import cut_fields

# Python refuses to convert more than 4,300 digits (sys.int_info.default_max_str_digits).
_LONGEST_INTEGER = 4000
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@lru_cache(maxsize=4)
def fields_in(raw: bytes) -> Mapping[str, Any]:
    """Returns the JSON of each field of an object; an empty mapping for anything else."""
    try:
        return _FIELDS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # RFC 8259, section 8.2: the grammar allows half a surrogate pair, which UTF-8 cannot express. What is no JSON
        # at all is cut by its structure.
        return {name: _strict_or_own(value) for name, value in (cut_fields(raw) or {}).items()}


def _strict_or_own(value: bytes) -> bytes:
    """Returns a field's JSON for strict readers; its own bytes if not even a lenient reader takes them."""
    try:
        return json.dumps(json.loads(value.decode("utf-8", "replace"), strict=False, parse_int=any_number)).encode()
    except (ValueError, RecursionError):
        return value


def any_number(digits: str) -> int | float:
    """Returns the number of digits of any length, a float where Python refuses to make an integer."""
    return int(digits) if len(digits) < _LONGEST_INTEGER else float(digits)


def readable(value: Any) -> Any:
    """Returns bytes and raw JSON as text, with replacement characters for invalid UTF-8; any other value unchanged."""
    return str(value, "utf-8", "replace") if isinstance(value, (bytes, msgspec.Raw)) else value


def fit_integer(value: Any) -> int | None:
    """Returns an integer of 64 bits; None for any other value."""
    whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if whole else None
