"""Tables of the bundled detection rules for the documentation.

``python -m tools.generated_docs`` puts them into docs/reference/detection-rules.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from airflow_audit_provider.formats.sigma.fields import DERIVED
from airflow_audit_provider.formats.sigma.loading import load_rules
from airflow_audit_provider.formats.sigma.rules import DetectionRule

_LEVELS = ("critical", "high", "medium", "low", "informational")


def rules() -> str:
    """Returns the table of bundled rules, the highest level first."""
    ordered = sorted(load_rules(), key=lambda rule: (_LEVELS.index(rule.level), rule.title))
    return _table(("rule", "level", "ATT&CK", "looks back", "id"), map(_row, ordered))


def derived_fields() -> str:
    """Returns the table of fields that no column holds."""
    return _table(("field", "value"), ((f"`{name}`", field.meaning) for name, field in DERIVED.items()))


def texts() -> str:
    """Returns a section for each rule: what it finds, and what to do."""
    return "\n\n".join(map(_section, load_rules()))


def _row(rule: DetectionRule) -> tuple[str, ...]:
    techniques = [tag.removeprefix("attack.").upper() for tag in rule.tags if tag.startswith("attack.t1")]
    anchor = "".join(letter for letter in rule.title.lower().replace(" ", "-") if letter.isalnum() or letter == "-")
    return (
        f"[{rule.title}](#{anchor})",
        rule.level,
        ", ".join(techniques),
        _span(rule.needs_history),
        f"`{rule.id}`",
    )


def _section(rule: DetectionRule) -> str:
    advice = rule.advice
    return (
        f"### {rule.title}\n\n{rule.description}\n\n"
        f"- **Why it matters.** {advice.why_it_matters}\n- **Check.** {advice.what_to_check}\n"
        f"- **Undo.** {advice.how_to_undo}\n- **False positives.** {' '.join(rule.false_positives)}"
    )


def _span(span: timedelta) -> str:
    if not span:
        return ""
    return f"{span.days} days" if span.days else f"{span.seconds // 60} min"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
