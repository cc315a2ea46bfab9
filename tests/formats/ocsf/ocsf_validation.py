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

VERSION = "1.8.0"
PROFILES = ["cloud", "datetime"]


@lru_cache(maxsize=1)
def definition() -> Any:
    """Returns OCSF's definition of every class and object."""
    return get_ocsf_schema(version=VERSION)


@lru_cache(maxsize=8)
def _validator(class_uid: int) -> Any:
    schemas = OcsfJsonSchemaEmbedded(definition())
    name = schemas.lookup_class_name_from_uid(class_uid=class_uid)
    schema = schemas.get_class_schema(class_name=name, profiles=PROFILES)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def violations(event: Mapping[str, Any]) -> list[str]:
    """Returns the violations of the schema in an event."""
    return [f"{error.json_path}: {error.message}" for error in _validator(event["class_uid"]).iter_errors(event)]
