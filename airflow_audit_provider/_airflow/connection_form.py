"""Connection form for Airflow before 3.2, built from the declaration in ``get_provider_info`` that newer forms use."""

from __future__ import annotations

import re
from typing import Any

from airflow_audit_provider.get_provider_info import get_provider_info

# A link, emphasis and code of Markdown. Forms before Airflow 3.2 show descriptions as they are.
_LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")
_MARKS = re.compile(r"[*`]")


def form_widgets() -> dict[str, Any]:
    """Returns a wtforms field for each extra of the connection."""
    from wtforms import IntegerField, StringField  # type: ignore[import-untyped]  # only old Airflow has it

    widgets = {}
    for name, field in _declaration()["conn-fields"].items():
        kind = IntegerField if "integer" in field["schema"]["type"] else StringField
        widgets[name] = kind(field["label"], description=_plain(field["schema"]["description_md"]))
    return widgets


def field_behaviour() -> dict[str, Any]:
    """Returns which standard fields are hidden, their labels and their placeholders."""
    behaviour = _declaration()["ui-field-behaviour"]
    return {
        "hidden_fields": [*behaviour["hidden-fields"], "extra"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }


def _plain(markdown: str) -> str:
    """Returns a description without Markdown; the address of a link follows its text."""
    return _MARKS.sub("", _LINK.sub(r"\1: \2", markdown))


def _declaration() -> dict[str, Any]:
    declaration: Any = get_provider_info()
    connection_type: dict[str, Any] = declaration["connection-types"][0]
    return connection_type
