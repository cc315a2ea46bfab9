"""Manifest of one generation of a window, as canonical JSON; its presence is the commit.

Invariant: equal facts give equal bytes. A manifest holds no host, no credential and no time of writing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import msgspec
import rfc8785
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.archive.security_lake import SecurityLake, is_day_of
from airflow_audit_provider.core.privacy.rule import MaybeAppliedPrivacy
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError

MANIFEST_VERSION = 1
# The fields that decide whether two runs committed the same; how the records are cut into parts is not among them.
_CONTENT_FIELDS = (
    *("query", "window", "file_format", "compression", "generation", "previous_sha256"),
    *("record_count", "added_count", "records_sha256", "table", "privacy", "erased", "layout"),
)


def canonical_json(value: object) -> bytes:
    """Returns a value as the JSON of manifests and seals: RFC 8785, so keys are sorted and there is no white space.

    RFC 8785 has no integers above 2**53, so a number in a field whose name ends in ``_ns`` is written as decimal text.
    """
    return rfc8785.dumps(_with_nanoseconds(msgspec.to_builtins(value), int, str))


# A number with a fraction, an exponent or more digits than a float holds.
_UNSURE_NUMBER = re.compile(rb"[:\[,]-?(?:\d+[.eE]|\d{16})")
# What msgspec writes for a float without a fraction. RFC 8785 has no fraction then.
_WHOLE_FLOAT = re.compile(rb"([:\[,]\d+)\.0(?=[,\]}])")
# A field of nanoseconds as text. Without the last condition, ``"1"2``, which is not JSON, would become a number.
_NANOSECONDS = re.compile(rb'_ns":"([1-9]\d*)"(?=[,}])')


def is_canonical(value: object, content: bytes) -> bool:
    """Returns whether bytes are the canonical JSON of the object that was decoded from exactly these bytes.

    Pass no object with a float in a field whose name ends in ``_ns``.
    """
    if _is_plain(content):
        # Plain bytes that msgspec writes are those of RFC 8785 except for these two kinds of numbers.
        numbers, text_count = _NANOSECONDS.subn(rb'_ns":\1', content)
        written = _WHOLE_FLOAT.sub(rb"\1", msgspec.json.encode(value, order="sorted"))
        # A number without quotes is not canonical there, although it is the same in ``numbers``.
        has_text_only = text_count == content.count(b'_ns":')
        if has_text_only and written == numbers:
            return True
    try:
        return canonical_json(value) == content
    except rfc8785.CanonicalizationError:
        return False


def _is_plain(content: bytes) -> bool:
    # One expression for all of these takes four times as long.
    return content.isascii() and b"\\" not in content and not _UNSURE_NUMBER.search(content)


def _with_nanoseconds(value: Any, from_type: type[int | str], to_type: type[int | str]) -> Any:
    """Returns JSON values with the numbers in fields that end in ``_ns`` as text, or the texts as numbers."""
    if isinstance(value, list | tuple):
        return [_with_nanoseconds(one, from_type, to_type) for one in value]
    if isinstance(value, dict):
        return {
            name: to_type(one)
            if name.endswith("_ns") and isinstance(one, from_type)
            else _with_nanoseconds(one, from_type, to_type)
            for name, one in value.items()
        }
    return value


class Part(msgspec.Struct, frozen=True):
    """One data object: key relative to the destination, size in bytes, SHA-256 of its bytes, record count.

    ``first_event_ns`` and ``last_event_ns`` are its smallest and largest event time in nanoseconds since the epoch.
    """

    key: str
    size_bytes: int
    sha256: str
    record_count: int
    first_event_ns: int
    last_event_ns: int


def sum_counts(*counts: Mapping[str, int]) -> dict[str, int]:
    """Returns the sums of counts by name, sorted by name."""
    names = sorted({name for one in counts for name in one})
    return {name: sum(one.get(name, 0) for one in counts) for name in names}


class TableSchema(msgspec.Struct, frozen=True):
    """The schema of the parts: its name, and its version as ``major.minor``.

    ``type_mismatches`` counts, by column, the values whose type differs from the column's. Such a value is null in its
    column and unchanged in the record's own JSON.
    """

    schema: str
    version: str
    type_mismatches: dict[str, int] = {}

    def with_type_mismatches(self, *counts_by_column: Mapping[str, int]) -> TableSchema:
        """Returns a copy whose ``type_mismatches`` are the sums of the given counts."""
        return msgspec.structs.replace(self, type_mismatches=sum_counts(*counts_by_column))


class Erasure(msgspec.Struct, frozen=True):
    """Record of an erasure: why the committed parts of earlier generations were removed, and which, by digest."""

    reason: str
    parts: tuple[Part, ...]


class Manifest(msgspec.Struct, frozen=True):
    """One generation of one window.

    ``parts`` are all parts that readers read, those of older generations first. ``records_sha256`` is the digest of the
    records that this generation added: their raw JSON lines, each ended by a line feed, in the order of the parts. That
    is (event time, id) order, unless the layout separates classes of events. It does not depend on the file format.
    ``added_ids`` are the ids of the late records that this generation added, in the same order; empty in the first
    generation and in one that replaces. ``previous_sha256`` is the digest of the previous generation's manifest bytes.
    ``verified`` is how the reading was verified before the commit: ``recount`` if a second read agreed, ``edges`` if
    both edges were requested again. ``table`` is unset for parts in the schema ``raw``, ``privacy`` for records without
    a privacy rule, ``erased`` for a generation that erases nothing, ``layout`` for the ordinary layout.
    ``odd_records`` counts the records that break the API's contract, by kind, over all generations whose parts are
    kept; unset if there are none.
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
    # Omitted from the bytes when unset, so that a manifest without them has the bytes it had before they existed.
    table: TableSchema | UnsetType = UNSET
    privacy: MaybeAppliedPrivacy = UNSET
    erased: Erasure | UnsetType = UNSET
    odd_records: dict[str, int] | UnsetType = UNSET
    layout: SecurityLake | UnsetType = UNSET

    @property
    def size_bytes(self) -> int:
        """The total size of all parts."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def is_recounted(self) -> bool:
        """Whether a second read of the whole window agreed before the commit."""
        return self.verified == "recount"

    @property
    def keys(self) -> WindowKeys:
        """Object keys of the window."""
        return WindowKeys(self.window, self.partition_date, self.layout or None)

    def added_by(self, part: Part) -> int | None:
        """Returns the generation in a part's key, None if the key is not that of a part of this window."""
        return _generation_in(self.keys, part)

    def has_same_content_as(self, other: Manifest) -> bool:
        """Returns whether two manifests of one generation have the same records, dataset and format.

        Their parts may have other sizes. Each names the previous generation's digest, so earlier records are equal too.
        """
        return all(getattr(self, name) == getattr(other, name) for name in _CONTENT_FIELDS)

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes, see :func:`canonical_json`."""
        return canonical_json(self)

    def succeeding(self, committed: Manifest, committed_sha256: str, *, replace: bool) -> Manifest:
        """Returns this manifest as the generation after ``committed``, whose parts it keeps unless it replaces them.

        ``committed_sha256`` is the digest of the bytes that the committed manifest was read from.
        """
        kept = () if replace else committed.parts
        table = self.table
        if table and committed.table and not replace:
            table = table.with_type_mismatches(committed.table.type_mismatches, table.type_mismatches)
        earlier_odd = {} if replace else committed.odd_records or {}
        return msgspec.structs.replace(
            self,
            parts=(*kept, *self.parts),
            record_count=self.record_count + (0 if replace else committed.record_count),
            generation=committed.generation + 1,
            previous_sha256=committed_sha256,
            table=table,
            odd_records=sum_counts(earlier_odd, self.odd_records or {}) or UNSET,
        )


def read_manifest(key: str, content: bytes) -> Manifest:
    """Decodes a manifest; raises ``VerificationError`` if the bytes are damaged or of a newer version."""
    try:
        manifest = _decode(content)
    except _DECODE_ERRORS as error:
        raise VerificationError(
            f"The manifest {key} cannot be decoded ({error}). Restore it from a copy; no run overwrites it."
        ) from error
    if manifest.manifest_version > MANIFEST_VERSION:
        raise VerificationError(
            f"The manifest {key} has version {manifest.manifest_version}, newer than {MANIFEST_VERSION}. "
            "Upgrade airflow-audit-provider."
        )
    return manifest


_DECODE_ERRORS = (msgspec.DecodeError, ValueError, OverflowError, RecursionError, ConfigurationError)
_DECODER = msgspec.json.Decoder(Manifest)


def _decode(content: bytes) -> Manifest:
    """Decodes a manifest in one pass, as the pipeline writes it; any other bytes by way of JSON values."""
    try:
        return _DECODER.decode(_NANOSECONDS.sub(rb'_ns":\1', content))
    except _DECODE_ERRORS:
        return msgspec.convert(_with_nanoseconds(msgspec.json.decode(content), str, int), Manifest)


def _generation_in(keys: WindowKeys, part: Part) -> int | None:
    if f"-{part.sha256[:16]}." not in part.key:
        return None
    if keys.lake is not None:
        # An object in Security Lake has events of one day.
        day = keys.lake.day_of(part.key[: part.key.rfind("/") + 1])
        if day is None or not is_day_of(day, part.first_event_ns, part.last_event_ns):
            return None
    return keys.part_generation(part.key)


def misplacements(key: str, manifest: Manifest) -> Iterator[str]:
    """Yields sentences about what a manifest states that the manifest of this key cannot.

    Anyone who can write to the store can copy a manifest to another key, or name any object in one. ``key`` is the key
    of a manifest, maybe with the folder of its dataset before it.
    """
    if not key.endswith(manifest.keys.manifest(manifest.generation)):
        yield f"The manifest states generation {manifest.generation} of {manifest.window}, which differs from its key."
        return
    day, keys = manifest.window.start.date(), manifest.keys
    if abs((manifest.partition_date - day).days) > 1:
        yield f"The manifest files its parts under dt={manifest.partition_date}, but its window starts on {day}."
    for part in manifest.parts:
        if _generation_in(keys, part) not in range(1, manifest.generation + 1):
            yield f"The manifest names {part.key[:200]!r}, which is not a valid part key of this window."


def check_placement(key: str, manifest: Manifest) -> None:
    """Raises ``VerificationError`` for a manifest that does not belong under its key, see :func:`misplacements`."""
    problem = next(misplacements(key, manifest), None)
    if problem is not None:
        raise VerificationError(
            f"The manifest {key} is misplaced or forged. {problem} Restore it from a copy. If this window was never "
            "landed, move the object out of the destination."
        )


def describe(manifest: Manifest) -> dict[str, Any]:
    """Returns the summary of a manifest that goes into XComs and asset events, as JSON values."""
    summary = {
        "window_start": manifest.window.start.isoformat(),
        "window_end": manifest.window.end.isoformat(),
        "record_count": manifest.record_count,
        "added_count": manifest.added_count,
        "part_count": len(manifest.parts),
        "size_bytes": manifest.size_bytes,
        "records_sha256": manifest.records_sha256,
        "generation": manifest.generation,
        "verified": manifest.verified or "none",
        "odd_record_count": sum((manifest.odd_records or {}).values()),
    }
    if manifest.table:
        table = manifest.table
        summary |= {
            "schema": f"{table.schema} {table.version}",
            "type_mismatch_count": sum(table.type_mismatches.values()),
        }
    return summary
