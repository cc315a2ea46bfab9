"""Compares what commands print with ``--json`` with their published JSON Schemas.

Invariant: a document has no field that its schema does not name.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from airflow_audit_provider.cli.results import PUBLISHED
from tests.architecture.source_files import PROJECT


def check(name: str, values: Any, *, is_whole: bool = True) -> None:
    """Compares a printed document with the schema of its command; a whole one has every field that the schema names."""
    schema = json.loads((PROJECT / f"docs/reference/{name}-result.schema.json").read_text())
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(values)
    fields = schema["$defs"][PUBLISHED[name].__name__]["properties"].keys()
    assert values.keys() == fields if is_whole else values.keys() < fields
