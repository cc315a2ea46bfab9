"""The choice of a part's format: which exist, with which compressions and schemas, under which extension.

Knows: every format and every schema by name. Must not know: what is inside one.
Its one rule: an impossible choice is refused when it is made, a missing library too, not after the first page; what
only a run needs of a format is imported when it is, because choices are made wherever a DAG is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.manifest import Manifest, TableStamp
from airflow_audit_provider.core.records import ApiVersion, AuditRecord
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats import normalized, ocsf

# The first compression of a format is its default.
_COMPRESSIONS = {
    "jsonl": ("gzip", "zstd", "none"),
    "csv": ("gzip", "zstd", "none"),
    "parquet": ("zstd", "gzip", "none"),
}
RAW = "raw"
# Schema -> its newest version, and the formats it can be written in: an OCSF event has objects in it, CSV has not.
_SCHEMAS: dict[str, tuple[tuple[int, int], tuple[str, ...]]] = {
    RAW: ((1, 0), ("jsonl", "csv", "parquet")),
    "normalized": ((normalized.MAJOR, normalized.MINOR), ("jsonl", "csv", "parquet")),
    "ocsf": ((ocsf.MAJOR, ocsf.MINOR), ("jsonl", "parquet")),
}
_RAW_COLUMNS = {RAW: "record", "normalized": normalized.RAW_COLUMN, "ocsf": ocsf.RAW_ATTRIBUTE}
_EXTRAS = {"pyarrow": "parquet", "zstandard": "zstd"}
_SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "none": ""}


class PartEncoder(Protocol):
    """Turns records into the bytes of one part; ``finish`` gives the last ones."""

    @property
    def misfits(self) -> Mapping[str, int]:
        """How many values did not fit their column so far, by column."""
        ...

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Take records in, and the same as lines (see ``lines_of``); return the bytes that are ready."""
        ...

    def finish(self) -> bytes:
        """End the part; return its last bytes."""
        ...


class PartFormat(msgspec.Struct, frozen=True):
    """A file format with its compression and schema; make one with :func:`part_format`."""

    file_format: str
    compression: str
    schema: str = RAW
    schema_version: str = "1.0"

    @property
    def extension(self) -> str:
        """The file name's ending, without the leading dot."""
        return self.file_format if self.file_format == "parquet" else self.file_format + _SUFFIXES[self.compression]

    @property
    def schema_name(self) -> str:
        """The schema with its version, as people read it."""
        return RAW if self.schema == RAW else f"{self.schema} {self.schema_version}"

    @property
    def table(self) -> TableStamp | UnsetType:
        """What a manifest says of the schema; unset for ``raw``."""
        return UNSET if self.schema == RAW else TableStamp(self.schema, self.schema_version)

    def open_encoder(self, version: ApiVersion) -> PartEncoder:
        """Return an encoder for one new part."""
        if self.schema != RAW:
            from airflow_audit_provider.formats.schema_encoders import open_schema_encoder

            minor = int(self.schema_version.split(".")[1])
            return open_schema_encoder(self.file_format, self.compression, self.schema, minor, version)
        from airflow_audit_provider.formats.raw_parts import open_raw_encoder

        return open_raw_encoder(self.file_format, self.compression, version)

    def read(self, version: ApiVersion, content: bytes) -> Iterator[AuditRecord]:
        """Yield the records of a part: each one's own text, whatever the schema makes of it."""
        from airflow_audit_provider.formats.raw_parts import read_raw

        is_raw_text = self.schema == RAW and self.file_format == "jsonl"
        column = None if is_raw_text else _RAW_COLUMNS[self.schema]
        return read_raw(self.file_format, self.compression, version, content, column)


def part_format(file_format: str, compression: str | None = None, schema: str = RAW) -> PartFormat:
    """Check and return a choice; a compression of None is the format's default (gzip, for Parquet zstd).

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
    version = _schema_version(file_format, schema)
    _require_library("pyarrow" if file_format == "parquet" else "zstandard" if chosen == "zstd" else None)
    return PartFormat(file_format, chosen, schema, version)


def _schema_version(file_format: str, schema: str) -> str:
    if schema not in _SCHEMAS:
        known = ", ".join(map(repr, _SCHEMAS))
        raise ConfigurationError(f"schema {schema!r} is unknown. Give one of {known}.")
    (major, minor), formats = _SCHEMAS[schema]
    if file_format not in formats:
        raise ConfigurationError(
            f"The schema {schema!r} cannot be written as {file_format}, which has no objects inside a row. Give one of "
            f"{', '.join(map(repr, formats))}."
        )
    return f"{major}.{minor}"


def committed_format(manifest: Manifest) -> PartFormat:
    """Return the format of a manifest's parts, in the schema and version they were written in."""
    table = manifest.table
    schema, version = (table.schema, table.version) if table else (RAW, "1.0")
    chosen = part_format(manifest.file_format, manifest.compression, schema)
    return msgspec.structs.replace(chosen, schema_version=version)


def _require_library(name: str | None) -> None:
    """Look for a library without importing it: DAG files are parsed often and seldom write."""
    if name is not None and find_spec(name) is None:
        extra = _EXTRAS[name]
        raise ConfigurationError(
            f"This format needs the {name} library. Run: pip install 'airflow-audit-provider[{extra}]'."
        )
