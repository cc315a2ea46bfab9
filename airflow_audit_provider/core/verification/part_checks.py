"""Is what lies in the store what the manifests say? Manifest against listing and bytes → findings.

Knows: the checks of parts, records, windows and of the objects nobody names.
Must not know: stores, formats; records come to it already read.
Its one rule: it never raises on what it is shown, and it keeps eight bytes a record and no part.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import (
    MANIFEST_FOLDER,
    PARTITION_START,
    SEAL_FOLDER,
    STAGING_FOLDER,
    read_manifest_key,
    seal_number,
)
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.core.verification.manifest_chain import Chain, Generation
from airflow_audit_provider.core.windows.window import TimeWindow

# What CSV and Parquet hold in place of bytes that are no UTF-8.
_REPLACEMENT = "\ufffd".encode()


class WindowCheck:
    """Takes the parts of a window's newest generation one by one, in the manifest's order; then gives the findings."""

    def __init__(self, chain: Chain) -> None:
        self.findings: list[Finding] = list(chain.findings)
        self.record_count = 0
        self._added = {one.manifest.generation: _AddedRecords(one) for one in chain.generations}
        self._newest = chain.generations[-1] if chain.generations else None
        self._id_digests = array("Q")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts to take: all that a reader takes."""
        return self._newest.manifest.parts if self._newest else ()

    @property
    def newest(self) -> Generation | None:
        """The newest readable generation."""
        return self._newest

    def take_size(self, part: Part, listed_bytes: int | None) -> bool:
        """Compare a part's size in the listing, None when it was not listed; return whether to read it."""
        if listed_bytes is None or listed_bytes == part.size_bytes:
            return True
        self._give_up(part, _size_finding(part, listed_bytes))
        return False

    def take(self, part: Part, content: bytes | None) -> bool:
        """Compare a part's bytes, None when there are none; return whether its records are worth reading."""
        found = _bytes_finding(part, content)
        if found is None:
            return True
        self._give_up(part, found)
        return False

    def take_records(self, part: Part, records: Iterable[AuditRecord]) -> None:
        """Compare a part's records with what its manifest says; what reading them raises is not caught here."""
        added = self._added.get(self._generation_of(part))
        record_count, first_ns, last_ns = 0, part.first_event_ns, part.first_event_ns
        for record in records:
            first_ns = min(first_ns, record.event_ns) if record_count else record.event_ns
            last_ns = max(last_ns, record.event_ns) if record_count else record.event_ns
            record_count += 1
            self._id_digests.append(_id_digest(record.id))
            if added is not None:
                added.take(record)
        self.record_count += record_count
        self.findings += _content_findings(part, record_count, (first_ns, last_ns), self._window())

    def unreadable(self, part: Part, error: Exception) -> None:
        """Note that a part's records cannot be read though its bytes are as the manifest says."""
        fact = f"The part's records cannot be read ({type(error).__name__}: {error})."
        self._give_up(part, finding(FindingKind.PART_UNREADABLE, part.key, fact))

    def finish(self) -> list[Finding]:
        """Return all findings, with those that need every part of the window."""
        repeated_count = _repeated_count(self._id_digests)
        if repeated_count and self._newest:
            fact = f"{repeated_count} records of {self._newest.manifest.window} have the id of another one."
            self.findings.append(finding(FindingKind.RECORD_REPEATED, self._newest.key, fact))
        current = {self._generation_of(part) for part in self.parts}
        for generation, added in self._added.items():
            # Parts of a generation that was replaced are gone; nothing was read of them.
            if generation in current or (self._newest and generation == self._newest.manifest.generation):
                self.findings += added.findings()
        return self.findings

    def _give_up(self, part: Part, found: Finding) -> None:
        self.findings.append(found)
        self._added.pop(self._generation_of(part), None)

    def _generation_of(self, part: Part) -> int:
        return (self._newest.added_by(part) if self._newest else None) or 0

    def _window(self) -> TimeWindow | None:
        return self._newest.manifest.window if self._newest else None


class _AddedRecords:
    """The records one generation added, as they come: their digest, and their ids against the manifest's."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._digest = hashlib.sha256()
        self._record_count = 0
        self._other_id_count = 0
        self._may_be_replaced = False

    def take(self, record: AuditRecord) -> None:
        self._digest.update(record.raw + b"\n")
        self._may_be_replaced |= _REPLACEMENT in record.raw
        ids = self._generation.manifest.added_ids
        if self._record_count < len(ids) and ids[self._record_count] != record.id:
            self._other_id_count += 1
        self._record_count += 1

    def findings(self) -> Iterator[Finding]:
        manifest, key = self._generation.manifest, self._generation.key
        if self._other_id_count:
            fact = f"{self._other_id_count} of the added ids are not those of the records the generation added."
            yield finding(FindingKind.ADDED_IDS, key, fact)
        if self._digest.hexdigest() == manifest.records_sha256:
            return
        keeps_bytes = manifest.file_format == "jsonl" and not manifest.table
        if not keeps_bytes and self._may_be_replaced:
            fact = "The digest of the records cannot be compared: the API sent bytes that are no UTF-8, and this format"
            yield finding(FindingKind.RECORDS_UNPROVABLE, key, f"{fact} holds a replacement character in their place.")
        else:
            fact = "The digest of the records the generation added is not that of the records read back."
            yield finding(FindingKind.RECORDS_CHANGED, key, fact)


def _bytes_finding(part: Part, content: bytes | None) -> Finding | None:
    if content is None:
        return finding(FindingKind.PART_MISSING, part.key, "The part is named by its manifest and is not there.")
    if len(content) != part.size_bytes:
        return _size_finding(part, len(content))
    if hashlib.sha256(content).hexdigest() != part.sha256:
        return finding(FindingKind.PART_CHANGED, part.key, "The part's bytes are not those its manifest names.")
    return None


def _size_finding(part: Part, found_bytes: int) -> Finding:
    fact = f"The part has {found_bytes} bytes, and its manifest says {part.size_bytes}."
    return finding(FindingKind.PART_SIZE, part.key, fact)


def _content_findings(
    part: Part, record_count: int, edges_ns: tuple[int, int], window: TimeWindow | None
) -> Iterator[Finding]:
    if record_count != part.record_count:
        fact = f"The part holds {record_count} records, and its manifest says {part.record_count}."
        yield finding(FindingKind.PART_RECORD_COUNT, part.key, fact)
    if record_count and edges_ns != (part.first_event_ns, part.last_event_ns):
        fact = "The first or the last event in the part happened at another instant than its manifest says."
        yield finding(FindingKind.PART_EVENT_TIMES, part.key, fact)
    if window is not None and record_count and not all(map(window.contains, edges_ns)):
        yield finding(FindingKind.RECORD_OUTSIDE, part.key, f"The part holds records of instants outside {window}.")


def _id_digest(record_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(record_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _repeated_count(digests: array[int]) -> int:
    """Count the ids that came before; two of a million different ones look alike once in 37 million windows."""
    return sum(one == other for one, other in pairwise(sorted(digests)))


def overlap_findings(windows: Mapping[TimeWindow, str]) -> Iterator[Finding]:
    """Name windows that share an instant with one that starts earlier; values are the keys to name."""
    last_end, last_key = None, ""
    for window in sorted(windows):
        if last_end is not None and window.start < last_end:
            fact = f"The window {window} shares instants with the one of {last_key}, so records may lie there twice."
            yield finding(FindingKind.WINDOWS_OVERLAP, windows[window], fact)
        if last_end is None or window.end > last_end:
            last_end, last_key = window.end, windows[window]


def stray_findings(keys: Iterable[str], named: Iterable[str], superseded: Iterable[str]) -> Iterator[Finding]:
    """Name the objects that no manifest accounts for.

    ``named`` are the parts of newest generations, ``superseded`` those of older ones whose bytes are still theirs.
    """
    known, old = set(named), set(superseded)
    for key in keys:
        if key in old and key not in known:
            fact = "The part was replaced by a later generation and still lies there."
            yield finding(FindingKind.PART_SUPERSEDED, key, fact)
        elif key not in known:
            yield from _unnamed(key)


def _unnamed(key: str) -> Iterator[Finding]:
    """Judge by its folder an object that is no known part."""
    if key.startswith(STAGING_FOLDER):
        yield finding(FindingKind.STAGING_DEBRIS, key, "The object was staged by a run that is under way, or died.")
    elif key.startswith(MANIFEST_FOLDER):
        if read_manifest_key(key) is None:
            yield finding(FindingKind.OBJECT_UNEXPECTED, key, "The object lies among the manifests and is none.")
    elif key.startswith(SEAL_FOLDER):
        if seal_number(key) is None:
            yield finding(FindingKind.OBJECT_UNEXPECTED, key, "The object lies among the seals and is none.")
    elif key.startswith(PARTITION_START):
        yield finding(FindingKind.OBJECT_UNEXPECTED, key, "The object lies among the parts and no manifest names it.")
    else:
        yield finding(
            FindingKind.OBJECT_FOREIGN, key, "The object lies in the destination and belongs to no part of it."
        )
