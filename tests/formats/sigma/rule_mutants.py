"""Changed copies of a rule, each with one condition less or another bound.

Run this module to list the mutants of every bundled rule that its records do not notice:
``python -m tests.formats.sigma.rule_mutants``.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats.sigma.loading import BUNDLED_RULES, load_rules
from airflow_audit_provider.formats.sigma.rules import DetectionRule
from tests.formats.sigma.rule_cases import cases_of

_NEVER, _ALWAYS = {"id": "no record has this id"}, {"id|exists": True}
_OTHER_SPANS = {"10m": "5h", "90d": "900d"}

Documents = list[dict[str, Any]]


def mutants(documents: Documents) -> Iterator[tuple[str, Documents]]:
    """Yields what was changed, and the documents of a rule file with that change."""
    for number, document in enumerate(documents):
        for part in ("detection", "correlation", "first_seen"):
            for name, changed in _changes(part, document.get(part, {})):
                copied = copy.deepcopy(documents)
                copied[number][part] = changed
                yield f"{part} {name}", copied


def _changes(part: str, content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in content.items():
        if part == "detection" and name != "condition":
            yield f"{name} never", {**content, name: _NEVER}
            yield f"{name} always", {**content, name: _ALWAYS}
            yield from ((f"{name} {what}", {**content, name: less}) for what, less in _less(value))
        elif name == "timespan":
            yield f"{name} longer", {**content, name: _OTHER_SPANS[value]}
        elif name == "group-by":
            yield f"without {name}", {key: one for key, one in content.items() if key != name}
        elif part == "correlation" and name == "condition":
            for step in (-1, 1):
                yield f"{name} {step:+}", {**content, name: {**value, "gte": value["gte"] + step}}


def _less(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields a selection with one key, one alternative or one value less; never with none left."""
    if isinstance(value, dict) and len(value) > 1:
        for key in value:
            yield f"without {key}", {name: one for name, one in value.items() if name != key}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        for what, less in _less(inner):
            changed = {**value, key: less} if isinstance(value, dict) else [*value[:key], less, *value[key + 1 :]]
            yield f"{key} {what}", changed
    if isinstance(value, list) and len(value) > 1:
        for number, one in enumerate(value):
            yield f"without {one}", [*value[:number], *value[number + 1 :]]


def survivors(path: Path) -> list[str]:
    """Returns the mutants of a rule file whose answer is right for all of the rule's records."""
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    cases = cases_of(path.stem)
    return [
        name
        for name, changed in mutants(documents)
        if all(not case.is_wrong(rule) for rule in _loaded(changed) for case in cases)
    ]


def _loaded(documents: Documents) -> Sequence[DetectionRule]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "mutant.yml").write_text(yaml.safe_dump_all(documents))
        try:
            return load_rules([Path(folder)])
        except ConfigurationError as error:
            raise AssertionError(f"the mutant is no rule: {error}") from error


if __name__ == "__main__":
    count = 0
    for file in sorted(BUNDLED_RULES.glob("*.yml")):
        count += len(list(mutants(list(yaml.safe_load_all(file.read_text(encoding="utf-8"))))))
        for survivor in survivors(file):
            print(f"{file.stem}: {survivor}", flush=True)
    print(f"{count} mutants")
