"""Names of the formats, compressions and schemas that a task may choose, and the check of a choice.

An impossible choice and a missing library raise an error while the DAG is parsed, before anything is read. The check
imports no format and no library.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from airflow_audit_provider.core.limits import HIVE, LAYOUTS, SECURITY_LAKE
from airflow_audit_provider.exceptions import ConfigurationError

RAW, NORMALIZED, OCSF = "raw", "normalized", "ocsf"
# Events in older releases of OCSF; ``ocsf`` is the newest.
OCSF_1_1, OCSF_1_3 = "ocsf-1.1", "ocsf-1.3"
OCSF_SCHEMAS = (OCSF, OCSF_1_3, OCSF_1_1)
# The first compression of a format is its default.
_COMPRESSIONS = {
    "jsonl": ("gzip", "zstd", "none"),
    "csv": ("gzip", "zstd", "none"),
    "parquet": ("zstd", "gzip", "none"),
}
# Schema -> the formats it can be written in. An OCSF event has objects inside, which CSV cannot hold.
_SCHEMAS = {
    RAW: ("jsonl", "csv", "parquet"),
    NORMALIZED: ("jsonl", "csv", "parquet"),
    **dict.fromkeys(OCSF_SCHEMAS, ("jsonl", "parquet")),
}
# "For custom sources, Security Lake supports OCSF version 1.3 and earlier" and "zstandard is preferred": AWS's user
# guide of Security Lake.
LAKE_SCHEMAS = (OCSF_1_3, OCSF_1_1)
_EXTRAS = {"pyarrow": "parquet", "zstandard": "zstd"}


def checked_compression(file_format: str, compression: str | None, schema: str, layout: str = HIVE) -> str:
    """Checks a choice of all of them; returns the compression, by default gzip, for Parquet zstd.

    Raises ``ConfigurationError`` for an unknown format, compression, schema or layout, for a schema that the format
    cannot hold, a form that the layout cannot have, and for a library that is not installed.
    """
    check_layout(layout, file_format, compression, schema)
    allowed = _COMPRESSIONS.get(file_format)
    if allowed is None:
        known = ", ".join(map(repr, _COMPRESSIONS))
        raise ConfigurationError(f"file_format {file_format!r} is unknown. Give one of {known}.")
    selected = allowed[0] if compression is None else compression
    if selected not in allowed:
        raise ConfigurationError(
            f"compression {selected!r} is unknown for {file_format}. Give one of {', '.join(map(repr, allowed))}."
        )
    _check_schema(file_format, schema)
    _require_library(_library_of(file_format, selected))
    return selected


def forms() -> Iterator[tuple[str, str, str]]:
    """Yields each file format and schema with the format's default compression, where its library is installed.

    Of the releases of OCSF only the newest: events in the others have the same size.
    """
    for schema in (RAW, NORMALIZED, OCSF):
        for file_format in _SCHEMAS[schema]:
            compression = _COMPRESSIONS[file_format][0]
            if _is_installed(_library_of(file_format, compression)):
                yield file_format, compression, schema


def check_layout(layout: str, file_format: str, compression: str | None, schema: str) -> None:
    """Raises ``ConfigurationError`` for an unknown layout, and for a form that the layout cannot have."""
    if layout not in LAYOUTS:
        raise ConfigurationError(f"layout {layout!r} is unknown. Give one of {', '.join(map(repr, LAYOUTS))}.")
    is_lake_form = file_format == "parquet" and compression in (None, "zstd") and schema in LAKE_SCHEMAS
    if layout == SECURITY_LAKE and not is_lake_form:
        raise ConfigurationError(
            f"layout='security_lake' is given with file_format={file_format!r}, compression={compression!r} and "
            f"schema={schema!r}. Amazon Security Lake takes Parquet with OCSF up to version 1.3: give "
            "file_format='parquet', schema='ocsf-1.3' or 'ocsf-1.1', and zstd or no compression argument."
        )


def _check_schema(file_format: str, schema: str) -> None:
    if schema not in _SCHEMAS:
        known = ", ".join(map(repr, _SCHEMAS))
        raise ConfigurationError(f"schema {schema!r} is unknown. Give one of {known}.")
    if file_format not in _SCHEMAS[schema]:
        raise ConfigurationError(
            f"The schema {schema!r} cannot be written as {file_format}, which has no objects inside a row. Give one of "
            f"{', '.join(map(repr, _SCHEMAS[schema]))}."
        )


def _library_of(file_format: str, compression: str) -> str | None:
    return "pyarrow" if file_format == "parquet" else "zstandard" if compression == "zstd" else None


def _is_installed(name: str | None) -> bool:
    """Looks for a library without importing it, which would make every parse of a DAG file slow."""
    return name is None or find_spec(name) is not None


def _require_library(name: str | None) -> None:
    if name is not None and not _is_installed(name):
        extra = _EXTRAS[name]
        raise ConfigurationError(
            f"This format needs the {name} library. Run: pip install 'airflow-audit-provider[{extra}]'."
        )
