"""Which formats, compressions and schemas a task may choose.

Knows: their names, and which library one needs. Must not know: what any of them does.
Its one rule: an impossible choice is refused when it is made, a missing library too, not after the first page; choices
are made wherever a DAG is parsed, so nothing of a format is imported for one.
"""

from __future__ import annotations

from importlib.util import find_spec

from airflow_audit_provider.exceptions import ConfigurationError

RAW, NORMALIZED, OCSF = "raw", "normalized", "ocsf"
# The first compression of a format is its default.
_COMPRESSIONS = {
    "jsonl": ("gzip", "zstd", "none"),
    "csv": ("gzip", "zstd", "none"),
    "parquet": ("zstd", "gzip", "none"),
}
# Schema -> the formats it can be written in: an OCSF event has objects in it, CSV has not.
_SCHEMAS = {
    RAW: ("jsonl", "csv", "parquet"),
    NORMALIZED: ("jsonl", "csv", "parquet"),
    OCSF: ("jsonl", "parquet"),
}
_EXTRAS = {"pyarrow": "parquet", "zstandard": "zstd"}


def chosen_compression(file_format: str, compression: str | None, schema: str) -> str:
    """Check a choice of all three; return the compression, by default the format's (gzip, for Parquet zstd).

    Raises ``ConfigurationError`` for an unknown format, compression or schema, for a schema that the format cannot
    hold, and for a library that is not installed.
    """
    allowed = _COMPRESSIONS.get(file_format)
    if allowed is None:
        known = ", ".join(map(repr, _COMPRESSIONS))
        raise ConfigurationError(f"file_format {file_format!r} is unknown. Give one of {known}.")
    chosen = allowed[0] if compression is None else compression
    if chosen not in allowed:
        raise ConfigurationError(
            f"compression {chosen!r} is unknown for {file_format}. Give one of {', '.join(map(repr, allowed))}."
        )
    _refuse_impossible_schema(file_format, schema)
    _require_library("pyarrow" if file_format == "parquet" else "zstandard" if chosen == "zstd" else None)
    return chosen


def _refuse_impossible_schema(file_format: str, schema: str) -> None:
    if schema not in _SCHEMAS:
        known = ", ".join(map(repr, _SCHEMAS))
        raise ConfigurationError(f"schema {schema!r} is unknown. Give one of {known}.")
    if file_format not in _SCHEMAS[schema]:
        raise ConfigurationError(
            f"The schema {schema!r} cannot be written as {file_format}, which has no objects inside a row. Give one of "
            f"{', '.join(map(repr, _SCHEMAS[schema]))}."
        )


def _require_library(name: str | None) -> None:
    """Look for a library without importing it: DAG files are parsed often and seldom write."""
    if name is not None and find_spec(name) is None:
        extra = _EXTRAS[name]
        raise ConfigurationError(
            f"This format needs the {name} library. Run: pip install 'airflow-audit-provider[{extra}]'."
        )
