"""Byte templates of records: the fixed text is written once, the varying fields are formatted in.

Invariant: one record is one bytes formatting, because benchmarks read a million records.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.testing.vocabulary import NOTES

# Text placeholders are inside a JSON string; bare ones replace a whole JSON value.
TEXT_FIELDS = ("id", "when", "resource", "zone", "zone_id", "ray", "agent", "letters")
BARE_FIELDS = ("actor", "note", "number", "flag")

NOTES_JSON = tuple(msgspec.json.encode(note) for note in NOTES)


class Shapes(NamedTuple):
    """Templates of one feed: frames, actors as JSON, zones as (name, id)."""

    frames: tuple[bytes, ...]
    actors: tuple[bytes, ...]
    zones: tuple[tuple[bytes, bytes], ...]


def frame(record: dict[str, Any], *, escaped: bool = False) -> bytes:
    """Returns the template of a record with placeholders ``<id>`` in text and ``<<actor>>`` for a bare value."""
    template = json.dumps(record, ensure_ascii=escaped, separators=(",", ":")).encode()
    template = template.replace(b"%", b"%%")
    for name in BARE_FIELDS:
        template = template.replace(b'"<<%b>>"' % name.encode(), b"%%(%b)b" % name.encode())
    for name in TEXT_FIELDS:
        template = template.replace(b"<%b>" % name.encode(), b"%%(%b)b" % name.encode())
    return template


def actors_json(actors: Sequence[dict[str, Any]]) -> tuple[bytes, ...]:
    """Returns actors as JSON."""
    return tuple(msgspec.json.encode(actor) for actor in actors)
