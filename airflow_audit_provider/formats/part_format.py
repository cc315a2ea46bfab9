"""Format of a part: file format, compression, schema, and from these its extension, encoder and reader.

Encoders and readers (``codecs``) are imported when a part is written or read. DAG files are parsed often, and the
library of a format that is not used may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.api.plain_lines import PlainRecords
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.archive.manifest import Manifest, TableSchema
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.ocsf import mapping as ocsf
from airflow_audit_provider.formats.ocsf.severity import Overrides, checked_overrides
from airflow_audit_provider.formats.options import NORMALIZED, OCSF_SCHEMAS, RAW, checked_compression

if TYPE_CHECKING:
    from airflow_audit_provider.formats.codecs import PartColumns

# Schema -> its newest version.
_VERSIONS = {
    RAW: (1, 0),
    NORMALIZED: (normalized.MAJOR, normalized.MINOR),
    **dict.fromkeys(OCSF_SCHEMAS, (ocsf.MAJOR, ocsf.MINOR)),
}
# Schema -> the column that holds a record's own text.
_RECORD_COLUMNS = {
    RAW: "record",
    NORMALIZED: normalized.RAW_COLUMN,
    **dict.fromkeys(OCSF_SCHEMAS, ocsf.RAW_ATTRIBUTE),
}
# Schema -> the dotted path of a record's id.
_ID_PATHS = {RAW: "id", NORMALIZED: "id", **dict.fromkeys(OCSF_SCHEMAS, "metadata.uid")}
_SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "none": ""}


class PartEncoder(Protocol):
    """Turns records into the bytes of one part."""

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """The number of values of another type than their column's so far, by column."""
        ...

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Takes records, and the same as lines (see ``lines_of``); returns the bytes that are ready so far."""
        ...

    def finish(self) -> bytes:
        """Ends the part; returns its last bytes."""
        ...


class PartFormat(msgspec.Struct, frozen=True):
    """A file format with its compression and schema; :func:`part_format` makes a checked one.

    ``severities`` are those of OCSF events that the user changed.
    """

    file_format: str
    compression: str
    schema: str = RAW
    schema_version: str = "1.0"
    severities: Overrides = ()

    @property
    def extension(self) -> str:
        """The file name extension without the leading dot."""
        return self.file_format if self.file_format == "parquet" else self.file_format + _SUFFIXES[self.compression]

    @property
    def schema_name(self) -> str:
        """The schema with its version, as shown to people."""
        return RAW if self.schema == RAW else f"{self.schema} {self.schema_version}"

    @property
    def resume_name(self) -> str:
        """The schema with everything that decides the bytes of its rows."""
        changed = ", ".join(f"{key}={level}" for key, level in self.severities)
        return f"{self.schema_name} ({changed})" if changed else self.schema_name

    @property
    def table(self) -> TableSchema | UnsetType:
        """The schema as a manifest states it; unset for ``raw``."""
        return UNSET if self.schema == RAW else TableSchema(self.schema, self.schema_version)

    def open_encoder(self, version: ApiVersion, page_rows: int | None = None) -> PartEncoder:
        """Returns an encoder for one new part.

        ``page_rows`` bounds the rows of Parquet that a page can grow by after it has reached half a MiB.
        """
        from airflow_audit_provider.formats.codecs import RowForm, open_encoder

        minor = int(self.schema_version.split(".")[1])
        rows = RowForm(self.schema, minor, self.severities, page_rows)
        return open_encoder(self.file_format, self.compression, version, rows)

    def class_uids(self, version: ApiVersion, records: Sequence[AuditRecord], lines: bytes) -> Sequence[int]:
        """Returns the number of the OCSF class of each record's event; for OCSF schemas only."""
        from airflow_audit_provider.formats.ocsf.events import EventForm
        from airflow_audit_provider.formats.tables import OcsfRows

        return OcsfRows(version, EventForm(self.schema, self.severities)).class_uids(records, lines)

    def read(self, version: ApiVersion, content: bytes, first_event_ns: int | None = None) -> Iterator[AuditRecord]:
        """Yields the records of a part, whatever its schema, from the records' own text.

        ``first_event_ns`` is the part's first event time, which a record without a time of its own takes there.
        """
        from airflow_audit_provider.formats.codecs import read_part
        from airflow_audit_provider.formats.part_rows import records_in

        groups = read_part(self.file_format, self.compression, content, self._columns)
        return records_in(version, groups, first_event_ns)

    def read_plain(self, version: ApiVersion, content: bytes) -> Iterator[PlainRecords]:
        """Yields the ids, times and bytes of the same records in half the time, if all are plain; else raises."""
        from airflow_audit_provider.formats.codecs import read_lines
        from airflow_audit_provider.formats.part_rows import plain_records_in

        return plain_records_in(version, read_lines(self.file_format, self.compression, content, self._columns))

    @property
    def _columns(self) -> PartColumns:
        from airflow_audit_provider.formats.codecs import PartColumns

        is_line_the_record = self.schema == RAW and self.file_format == "jsonl"
        return PartColumns(None if is_line_the_record else _RECORD_COLUMNS[self.schema], _ID_PATHS[self.schema])


def part_format(
    file_format: str,
    compression: str | None = None,
    schema: str = RAW,
    ocsf_severity: Mapping[str, str] | None = None,
) -> PartFormat:
    """Returns a checked choice in the schema's newest version; raises ``ConfigurationError`` for an impossible one."""
    selected = checked_compression(file_format, compression, schema)
    severities = checked_overrides(ocsf_severity, schema)
    major, minor = _VERSIONS[schema]
    return PartFormat(file_format, selected, schema, f"{major}.{minor}", severities)


def committed_format(manifest: Manifest, severities: Overrides = ()) -> PartFormat:
    """Returns the format of a manifest's parts, in the schema and version they were written in.

    ``severities`` are those of OCSF events that are added to the parts.
    """
    table = manifest.table
    schema, version = (table.schema, table.version) if table else (RAW, "1.0")
    selected = part_format(manifest.file_format, manifest.compression, schema)
    return msgspec.structs.replace(selected, schema_version=version, severities=severities)
