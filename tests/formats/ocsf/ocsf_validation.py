"""Validates OCSF events independently, by JSON Schema made by ``ocsf-json-schema`` from OCSF's own definition.

The class is looked up by the number in the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema
from ocsf_json_schema import (  # type: ignore[import-untyped]  # it ships no types
    OcsfJsonSchemaEmbedded,
    get_ocsf_schema,
)

VERSIONS = {"ocsf": "1.8.0", "ocsf-1.3": "1.3.0", "ocsf-1.1": "1.1.0"}
PROFILES = ["cloud", "datetime"]


@lru_cache(maxsize=3)
def definition(version: str) -> Any:
    """Returns OCSF's definition of every class and object."""
    return get_ocsf_schema(version=version)


@lru_cache(maxsize=24)
def _validator(version: str, class_uid: int) -> Any:
    schemas = OcsfJsonSchemaEmbedded(definition(version))
    name = schemas.lookup_class_name_from_uid(class_uid=class_uid)
    schema = schemas.get_class_schema(class_name=name, profiles=PROFILES)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def violations(event: Mapping[str, Any], version: str = "1.8.0") -> list[str]:
    """Returns the violations of a release's schema in an event."""
    if event["metadata"].get("version") != version:
        return [f"$.metadata.version: {event['metadata'].get('version')!r} is not {version}"]
    errors = _validator(version, event["class_uid"]).iter_errors(event)
    return [f"{error.json_path}: {error.message}" for error in errors]
