"""A part's format: its extension, who encodes it, who reads it.

Knows: every format and every schema by name, and the versions of the schemas.
Must not know: what is inside one, and which choices are impossible (``choices``).
Its one rule: what encodes or reads a format is imported when it does, because its library may not be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.archive.manifest import Manifest, TableSchema
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.ocsf import mapping as ocsf
from airflow_audit_provider.formats.options import NORMALIZED, OCSF, RAW, chosen_compression

# Schema -> its newest version.
_VERSIONS = {
    RAW: (1, 0),
    NORMALIZED: (normalized.MAJOR, normalized.MINOR),
    OCSF: (ocsf.MAJOR, ocsf.MINOR),
}
_RAW_COLUMNS = {RAW: "record", NORMALIZED: normalized.RAW_COLUMN, OCSF: ocsf.RAW_ATTRIBUTE}
_SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "none": ""}


class PartEncoder(Protocol):
    """Turns records into the bytes of one part; ``finish`` gives the last ones."""

    @property
    def type_mismatches(self) -> Mapping[str, int]:
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
    def table(self) -> TableSchema | UnsetType:
        """What a manifest says of the schema; unset for ``raw``."""
        return UNSET if self.schema == RAW else TableSchema(self.schema, self.schema_version)

    def open_encoder(self, version: ApiVersion) -> PartEncoder:
        """Return an encoder for one new part."""
        if self.schema != RAW:
            from airflow_audit_provider.formats.codecs import open_schema_encoder

            minor = int(self.schema_version.split(".")[1])
            return open_schema_encoder(self.file_format, self.compression, self.schema, minor, version)
        from airflow_audit_provider.formats.codecs import open_raw_encoder

        return open_raw_encoder(self.file_format, self.compression, version)

    def read(self, version: ApiVersion, content: bytes) -> Iterator[AuditRecord]:
        """Yield the records of a part: each one's own text, whatever the schema makes of it."""
        from airflow_audit_provider.formats.codecs import read_raw

        is_raw_text = self.schema == RAW and self.file_format == "jsonl"
        column = None if is_raw_text else _RAW_COLUMNS[self.schema]
        return read_raw(self.file_format, self.compression, version, content, column)


def part_format(file_format: str, compression: str | None = None, schema: str = RAW) -> PartFormat:
    """Check and return a choice, in the schema's newest version; raises as ``chosen_compression`` does."""
    chosen = chosen_compression(file_format, compression, schema)
    major, minor = _VERSIONS[schema]
    return PartFormat(file_format, chosen, schema, f"{major}.{minor}")


def committed_format(manifest: Manifest) -> PartFormat:
    """Return the format of a manifest's parts, in the schema and version they were written in."""
    table = manifest.table
    schema, version = (table.schema, table.version) if table else (RAW, "1.0")
    chosen = part_format(manifest.file_format, manifest.compression, schema)
    return msgspec.structs.replace(chosen, schema_version=version)
