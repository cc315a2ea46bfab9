"""The choice of a part's format: which exist, with which compressions, under which extension.

Knows: every format by name. Must not know: what is inside one.
Its one rule: an impossible choice is refused when it is made, a missing library too, not after the first page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Protocol

import msgspec

from airflow_audit_provider.core.records import ApiVersion, AuditRecord
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats import compression as compressions
from airflow_audit_provider.formats.csv import CsvEncoder, read_csv
from airflow_audit_provider.formats.jsonl import JsonlEncoder, read_jsonl
from airflow_audit_provider.formats.parquet import ParquetEncoder, read_parquet

# The first compression of a format is its default.
_COMPRESSIONS = {
    "jsonl": ("gzip", "zstd", "none"),
    "csv": ("gzip", "zstd", "none"),
    "parquet": ("zstd", "gzip", "none"),
}
_EXTRAS = {"pyarrow": "parquet", "zstandard": "zstd"}
_SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "none": ""}


class PartEncoder(Protocol):
    """Turns records into the bytes of one part; ``finish`` gives the last ones."""

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Take records in, and the same as lines (see ``lines_of``); return the bytes that are ready."""
        ...

    def finish(self) -> bytes:
        """End the part; return its last bytes."""
        ...


class PartFormat(msgspec.Struct, frozen=True):
    """A file format with its compression; make one with :func:`part_format`."""

    file_format: str
    compression: str

    @property
    def extension(self) -> str:
        """The file name's ending, without the leading dot."""
        return self.file_format if self.file_format == "parquet" else self.file_format + _SUFFIXES[self.compression]

    def open_encoder(self, version: ApiVersion) -> PartEncoder:
        """Return an encoder for one new part."""
        if self.file_format == "parquet":
            return ParquetEncoder(self.compression, version)
        compressor = compressions.open_compressor(self.compression)
        return JsonlEncoder(compressor) if self.file_format == "jsonl" else CsvEncoder(compressor, version)

    def read(self, version: ApiVersion, content: bytes) -> Iterator[AuditRecord]:
        """Yield the records of a part."""
        if self.file_format == "parquet":
            return read_parquet(version, content)
        reader = read_jsonl if self.file_format == "jsonl" else read_csv
        return reader(version, self.compression, content)


def part_format(file_format: str, compression: str | None = None) -> PartFormat:
    """Check and return a choice; a compression of None is the format's default (gzip, for Parquet zstd).

    Raises ``ConfigurationError`` for an unknown format or compression and for a library that is not installed.
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
    _require_library("pyarrow" if file_format == "parquet" else "zstandard" if chosen == "zstd" else None)
    return PartFormat(file_format, chosen)


def _require_library(name: str | None) -> None:
    """Look for a library without importing it: DAG files are parsed often and seldom write."""
    if name is not None and find_spec(name) is None:
        extra = _EXTRAS[name]
        raise ConfigurationError(
            f"This format needs the {name} library. Run: pip install 'airflow-audit-provider[{extra}]'."
        )
