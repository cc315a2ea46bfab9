"""Connection form for Airflow before 3.2, built from the declaration in ``get_provider_info`` that newer forms use."""

from __future__ import annotations

from typing import Any

from airflow_audit_provider.get_provider_info import get_provider_info


def form_widgets() -> dict[str, Any]:
    """Returns a wtforms field for each extra of the connection."""
    from wtforms import IntegerField, StringField  # type: ignore[import-untyped]  # only old Airflow has it

    widgets = {}
    for name, field in _declaration()["conn-fields"].items():
        kind = IntegerField if "integer" in field["schema"]["type"] else StringField
        widgets[name] = kind(field["label"], description=field["description"])
    return widgets


def field_behaviour() -> dict[str, Any]:
    """Returns which standard fields are hidden, their labels and their placeholders."""
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
