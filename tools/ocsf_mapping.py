"""Tables of the OCSF mapping for the documentation: known actions, the measured share, sources, severities.

``python -m tools.generated_docs`` puts them into docs/reference/ocsf-mapping.md and docs/reference/schemas.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow_audit_provider.formats.ocsf.severity import RULES
from tests.formats.ocsf.known_actions import Known, known_actions, products, sources


def severities() -> str:
    """Returns the table of severity rules, in the order in which they apply."""
    rows = ((f"`{rule.value}`", text.meaning, text.severity) for rule, text in RULES.items())
    return _table(("rule", "applies to", "severity"), rows)


def measured() -> str:
    """Returns the share of known actions that have a specific activity."""
    actions = known_actions()
    specific = sum(known.is_specific for known in actions)
    lines = []
    for version in ("v1", "v2"):
        of_version = [known for known in actions if known.version == version]
        count = sum(known.is_specific for known in of_version)
        lines.append((f"version {version[1:]}", str(len(of_version)), str(count), _percent(count, len(of_version))))
    lines.append(("both", str(len(actions)), str(specific), _percent(specific, len(actions))))
    return _table(("", "known actions", "with a specific activity", "share"), lines)


def first_version() -> str:
    """Returns the table of known actions of version 1."""
    return _actions("v1")


def second_version() -> str:
    """Returns the table of known actions of version 2."""
    return _actions("v2")


def named_sources() -> str:
    """Returns the table of sources."""
    return _table(("source", "is"), ((f"`{name}`", text) for name, text in sources().items()))


def known_products() -> str:
    """Returns the known products, by what their changes are."""
    named = products()
    calls, people = (", ".join(f"`{name}`" for name in named[kind]) for kind in ("calls", "people"))
    return f"API Activity: {calls}.\n\nProducts about people, whose `create` and `delete` are Account Change: {people}."


def _actions(version: str) -> str:
    rows = [_row(known) for known in known_actions() if known.version == version]
    return _table(("action type", "resource type or product", "request or description", "event", "sources"), rows)


def _row(known: Known) -> tuple[str, ...]:
    resource = ", ".join(f"`{text}`" for text in (known.product, known.resource) if text)
    more = known.uri or known.description
    named = ", ".join(f"`{name}`" for name in known.sources)
    return f"`{known.action}`", resource, f"`{more}`" if more else "", known.mapped, named


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.0f} %"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
