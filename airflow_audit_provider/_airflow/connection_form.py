"""The connection form for Airflow before 3.2, made from the same literal the newer form is made from.

Knows: the provider's declaration, wtforms. Must not know: what a connection is used for.
Its one rule: one declaration; this file only turns it into widgets.
"""

from __future__ import annotations

from typing import Any

from airflow_audit_provider.get_provider_info import get_provider_info


def form_widgets() -> dict[str, Any]:
    """Return a wtforms field for each extra of the connection."""
    from wtforms import IntegerField, StringField  # type: ignore[import-untyped]  # only old Airflow has it

    widgets = {}
    for name, field in _declaration()["conn-fields"].items():
        kind = IntegerField if "integer" in field["schema"]["type"] else StringField
        widgets[name] = kind(field["label"], description=field["description"])
    return widgets


def field_behaviour() -> dict[str, Any]:
    """Return which standard fields are hidden, how the others are called, and what stands in them."""
    behaviour = _declaration()["ui-field-behaviour"]
    return {
        "hidden_fields": [*behaviour["hidden-fields"], "extra"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }


def _declaration() -> dict[str, Any]:
    declaration: Any = get_provider_info()
    connection_type: dict[str, Any] = declaration["connection-types"][0]
    return connection_type
