"""Reads the table of known actions, and returns what the mapping makes of each."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from airflow_audit_provider.formats.ocsf.classes import OTHER
from airflow_audit_provider.formats.ocsf.meaning import Action, activity_of, hint_of, meaning_of

FILE = Path(__file__).with_name("known_actions.toml")


class Known(NamedTuple):
    """A known action and what an event of it should state."""

    version: str
    action: str
    resource: str
    product: str
    description: str | None
    uri: str | None
    sources: tuple[str, ...]
    expected: str

    @property
    def mapped(self) -> str:
        """Class and activity of the mapping, in OCSF 1.8."""
        event_class, activity_id = self._activity()
        return f"{event_class.name}: {event_class.activities[activity_id]}"

    @property
    def is_specific(self) -> bool:
        """Whether the activity is neither unknown nor other."""
        return 0 < self._activity()[1] < OTHER

    def _activity(self) -> tuple[Any, int]:
        hint = hint_of(self.action, self.description, self.uri)
        meaning = meaning_of("ocsf", Action(self.action, self.resource, self.product, hint))
        return meaning.event_class, activity_of(meaning.event_class, meaning.sense, self.action)[0]


def sources() -> dict[str, str]:
    """Returns the sources by name."""
    named: dict[str, str] = tomllib.loads(FILE.read_text(encoding="utf-8"))["sources"]
    return named


def products() -> dict[str, list[str]]:
    """Returns the known products, those whose changes are calls and those whose changes are about people."""
    named: dict[str, list[str]] = tomllib.loads(FILE.read_text(encoding="utf-8"))["products"]
    return named


def known_actions() -> list[Known]:
    """Returns every known action, in the order of the file."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return [
        Known(
            version,
            row["action"],
            row.get("resource", ""),
            row.get("product", ""),
            row.get("description"),
            row.get("uri"),
            tuple(row["sources"]),
            row["expected"],
        )
        for version in ("v1", "v2")
        for row in table[version]
    ]
