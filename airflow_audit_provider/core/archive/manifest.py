"""The manifest: what one window holds, as canonical bytes. Its presence is the commit.

Knows: the fields, their canonical JSON, how a generation names the one before.
Must not know: where it is stored, how parts are encoded.
Its one rule: the same facts are the same bytes: keys sorted, no host, no credential, no time of day in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.privacy.rule import MaybeAppliedPrivacy
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError

MANIFEST_VERSION = 1
_SAYS_WHAT_LANDED = (
    *("query", "window", "file_format", "compression", "generation", "previous_sha256"),
    *("record_count", "added_count", "records_sha256", "table", "privacy"),
)


class Part(msgspec.Struct, frozen=True):
    """One data object: key relative to the destination, size in bytes, digest of the bytes, record count.

    ``first_event_ns`` and ``last_event_ns`` are the smallest and the largest event time in it, nanoseconds since 1970.
    """

    key: str
    size_bytes: int
    sha256: str
    record_count: int
    first_event_ns: int
    last_event_ns: int


class TableSchema(msgspec.Struct, frozen=True):
    """The schema that parts are written in, by name and ``major.minor``.

    ``type_mismatches`` counts, by column, the values of another type than the column's. Such a value is null in its
    column and whole in the record's own text.
    """

    schema: str
    version: str
    type_mismatches: dict[str, int] = {}

    def with_type_mismatches(self, *found: Mapping[str, int]) -> TableSchema:
        """Return the same stamp with these counts, added up."""
        names = sorted({name for counts in found for name in counts})
        sums = {name: sum(counts.get(name, 0) for counts in found) for name in names}
        return msgspec.structs.replace(self, type_mismatches=sums)


class Manifest(msgspec.Struct, frozen=True):
    """One generation of one window.

    ``parts`` are all parts a reader takes, older generations' first. ``records_sha256`` is the digest of the records
    this generation added: their raw JSON lines, each ended by a line feed, in (event time, id) order; it does not
    depend on the file format. ``added_ids`` are the ids of the late records a later generation added, in the same
    order; the first generation and one that replaces have none. ``previous_sha256`` is the digest of the previous
    generation's manifest bytes. ``verified`` is ``recount`` when a second reading agreed before the commit. ``table``
    is unset for parts in the schema ``raw``, ``privacy`` when records were written as they came.
    """

    query: AuditQuery
    window: TimeWindow
    window_rule: str
    partition_date: date
    file_format: str
    compression: str
    record_count: int
    added_count: int
    records_sha256: str
    parts: tuple[Part, ...]
    fetch: ReadStats
    generation: int = 1
    previous_sha256: str | None = None
    added_ids: tuple[str, ...] = ()
    verified: str | None = None
    manifest_version: int = MANIFEST_VERSION
    # Left out of the bytes when unset, so that manifests without them keep the bytes they always had.
    table: TableSchema | UnsetType = UNSET
    privacy: MaybeAppliedPrivacy = UNSET

    @property
    def size_bytes(self) -> int:
        """The size of all parts together."""
        return sum(part.size_bytes for part in self.parts)

    def has_same_content_as(self, other: Manifest) -> bool:
        """Say whether two manifests of one generation hold the same records of the same dataset in the same format.

        Their parts may be cut differently; a generation names the one before, so what came earlier is the same too.
        """
        return all(getattr(self, name) == getattr(other, name) for name in _SAYS_WHAT_LANDED)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: JSON, sorted keys, two-space indent, one line feed at the end."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=2) + b"\n"

    def succeeding(self, committed: Manifest, committed_sha256: str, *, replace: bool) -> Manifest:
        """Return this manifest as the generation after ``committed``: its parts added to those, or in their place.

        ``committed_sha256`` is the digest of the bytes the committed manifest was read from.
        """
        kept = () if replace else committed.parts
        table = self.table
        if table and committed.table and not replace:
            table = table.with_type_mismatches(committed.table.type_mismatches, table.type_mismatches)
        return msgspec.structs.replace(
            self,
            parts=(*kept, *self.parts),
            record_count=self.record_count + (0 if replace else committed.record_count),
            generation=committed.generation + 1,
            previous_sha256=committed_sha256,
            table=table,
        )


def read_manifest(key: str, content: bytes) -> Manifest:
    """Return a manifest from its bytes; raise ``VerificationError`` when they are not one."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, ValueError, RecursionError, ConfigurationError) as error:
        raise VerificationError(
            f"The manifest {key} cannot be read ({error}). Restore it from a copy; it is never overwritten."
        ) from error
    if manifest.manifest_version > MANIFEST_VERSION:
        raise VerificationError(
            f"The manifest {key} has version {manifest.manifest_version}, newer than {MANIFEST_VERSION}. "
            "Upgrade airflow-audit-provider."
        )
    return manifest


def describe(manifest: Manifest) -> dict[str, Any]:
    """Return the small summary of a manifest that travels in XComs and asset events."""
    summary = {
        "window_start": manifest.window.start.isoformat(),
        "window_end": manifest.window.end.isoformat(),
        "record_count": manifest.record_count,
        "added_count": manifest.added_count,
        "part_count": len(manifest.parts),
        "size_bytes": manifest.size_bytes,
        "records_sha256": manifest.records_sha256,
        "generation": manifest.generation,
    }
    if manifest.table:
        table = manifest.table
        summary |= {
            "schema": f"{table.schema} {table.version}",
            "type_mismatch_count": sum(table.type_mismatches.values()),
        }
    return summary
