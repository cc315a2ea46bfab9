"""Reads id and time of an odd record: one that breaks the API's contract so that the usual decoding refuses it.

Invariant: nothing raises. What cannot be read is missing, and the kind says what it was.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.api.json_cuts import cut_fields, mask_surrogates

_HEAD_TEXT = msgspec.json.Decoder(str | int | None)


class OddKind(StrEnum):
    """What is odd about a record; a record counts under the first kind that applies."""

    NOT_AN_OBJECT = "not_an_object"
    TIME = "time"
    ID = "id"
    TOO_DEEP = "too_deep"
    NOT_JSON = "not_json"


# Records of these kinds have no time of their own.
UNDATED_KINDS = frozenset({OddKind.NOT_AN_OBJECT, OddKind.TIME})


class OddHead(NamedTuple):
    """Id and time of an odd record as the API sent them, None where there is none.

    ``has_odd_id`` states that there is an id of a kind that ids never have. Without fields it is no object.
    """

    id: str | int | None
    when: str | None
    has_odd_id: bool = False
    is_object: bool = True


def read_odd_head(raw: bytes, *time_path: str) -> OddHead:
    """Returns what can be read of a record's id and time, whatever the rest of it is."""
    fields = cut_fields(raw)
    if fields is None:
        return OddHead(None, None, is_object=False)
    record_id, is_readable = _text_of(fields.get("id"))
    when, _ = _text_of(_field_at(fields, *time_path))
    return OddHead(record_id, when if isinstance(when, str) else None, has_odd_id=not is_readable)


def content_kind(raw: bytes) -> OddKind:
    """Returns why decoders refuse the content of a record whose id and time can be read."""
    try:
        msgspec.json.decode(mask_surrogates(raw), type=msgspec.Raw)
    except RecursionError:
        return OddKind.TOO_DEEP
    except msgspec.DecodeError:
        return OddKind.NOT_JSON
    # A raw line break in a string was escaped, so that the record is one line.
    return OddKind.NOT_JSON


def _field_at(fields: dict[str, bytes], name: str, *inner: str) -> bytes | None:
    value = fields.get(name)
    return value if value is None or not inner else _field_at(cut_fields(value) or {}, *inner)


def _text_of(value: bytes | None) -> tuple[Any, bool]:
    """Returns a text, an integer or None, and whether the value is one of them."""
    if value is None:
        return None, True
    try:
        return _HEAD_TEXT.decode(mask_surrogates(value)), True
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None, False
