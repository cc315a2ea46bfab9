"""Records as byte templates: the frame is written once, the varying fields are poured in.

Knows: how a dictionary with placeholders becomes a template, and which placeholders there are.
Must not know: which actions exist in which API version.
Its one rule: pouring is one bytes formatting, because a million records are read through here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.testing.vocabulary import NOTES

# Text placeholders stand inside a JSON string; bare ones replace a whole JSON value.
TEXT_FIELDS = ("id", "when", "resource", "zone", "zone_id", "ray", "agent", "letters")
BARE_FIELDS = ("actor", "note", "number", "flag")

NOTES_JSON = tuple(msgspec.json.encode(note) for note in NOTES)


class Shapes(NamedTuple):
    """All there is to pour one feed's records: frames, actors as JSON, zones as (name, id)."""

    frames: tuple[bytes, ...]
    actors: tuple[bytes, ...]
    zones: tuple[tuple[bytes, bytes], ...]


def frame(record: dict[str, Any], *, escaped: bool = False) -> bytes:
    """Return the template of a record whose placeholders read ``<id>`` in text and ``<<actor>>`` for a bare value."""
    template = json.dumps(record, ensure_ascii=escaped, separators=(",", ":")).encode()
    template = template.replace(b"%", b"%%")
    for name in BARE_FIELDS:
        template = template.replace(b'"<<%b>>"' % name.encode(), b"%%(%b)b" % name.encode())
    for name in TEXT_FIELDS:
        template = template.replace(b"<%b>" % name.encode(), b"%%(%b)b" % name.encode())
    return template


def actors_json(actors: Sequence[dict[str, Any]]) -> tuple[bytes, ...]:
    """Return actors as JSON, ready to pour."""
    return tuple(msgspec.json.encode(actor) for actor in actors)
