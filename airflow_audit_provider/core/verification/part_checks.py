"""Checks stored parts, records, windows and unreferenced objects against the manifests.

Records arrive already decoded; this module reads no store and no format.

Invariant: it never raises on stored content, and keeps eight bytes a record and no part in memory.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from airflow_audit_provider.core.api.plain_lines import PlainRecords
from airflow_audit_provider.core.api.records import AuditRecord, lines_of
from airflow_audit_provider.core.archive.change_keys import is_change_key
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import (
    DATASET_KEY,
    MANIFEST_FOLDER,
    PARTITION_START,
    SEAL_FOLDER,
    STAGING_FOLDER,
    announced_window,
    is_detection_key,
    is_pass_record_key,
    is_report_key,
    manifest_index_month,
    read_log_key,
    read_manifest_key,
    seal_index_number,
    seal_number,
)
from airflow_audit_provider.core.archive.security_lake import LAKE_FOLDER
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.core.verification.manifest_chain import Chain, Generation
from airflow_audit_provider.core.verification.replacements import erased_parts
from airflow_audit_provider.core.windows.window import TimeWindow, count_of

# CSV and Parquet hold text, so bytes that are not valid UTF-8 are stored as this replacement character.
_REPLACEMENT = "\ufffd".encode()
_GROUP_RECORDS = 1000


class WindowCheck:
    """Check of one window.

    Receives the parts of its newest generation in the manifest's order, then returns findings.
    """

    def __init__(self, chain: Chain) -> None:
        self.findings: list[Finding] = list(chain.findings)
        self.record_count = 0
        self._added = {one.manifest.generation: _AddedRecords(one) for one in chain.generations}
        self._newest = chain.generations[-1] if chain.generations else None
        self._id_hashes = array("q")

    @property
    def parts(self) -> tuple[Part, ...]:
        """Parts to check: those that a reader of the newest manifest reads."""
        return self._newest.manifest.parts if self._newest else ()

    @property
    def newest(self) -> Generation | None:
        """Newest readable generation."""
        return self._newest

    def check_size(self, part: Part, listed_bytes: int | None) -> bool:
        """Compares a part's listed size, None if it was not listed; returns whether the part is worth reading."""
        if listed_bytes is None or listed_bytes == part.size_bytes:
            return True
        self._skip_part(part, _size_finding(part, listed_bytes))
        return False

    def check_bytes(self, part: Part, content: bytes | None) -> bool:
        """Compares a part's bytes, None if it does not exist; returns whether its records are worth reading."""
        found = part_finding(part, content)
        if found is None:
            return True
        self._skip_part(part, found)
        return False

    def check_plain_records(self, part: Part, groups: Iterable[PlainRecords]) -> None:
        """Compares a part's records, all of them plain, with its manifest.

        Errors raised while reading them propagate and leave this check unchanged, so that ``check_records`` can follow.
        """
        added = self._added.get(self._generation_of(part))
        running = added.copy() if added is not None else None
        edges_ns: list[int] = []
        id_hashes = array("q")
        for group in groups:
            id_hashes.fromlist(list(map(hash, group.ids)))
            edges_ns += group.edges_ns
            if running is not None:
                running.add(group.ids, group.lines)
        if added is not None and running is not None:
            self._added[self._generation_of(part)] = running
        self._id_hashes.extend(id_hashes)
        self._close_part(part, len(id_hashes), (min(edges_ns, default=0), max(edges_ns, default=0)))

    def check_records(self, part: Part, records: Iterable[AuditRecord]) -> None:
        """Compares a part's records with its manifest. Errors raised while reading them propagate."""
        added = self._added.get(self._generation_of(part))
        record_count, edges_ns = 0, [part.first_event_ns, part.first_event_ns]
        for group in _groups(records):
            times_ns = [record.event_ns for record in group]
            times_ns += edges_ns if record_count else []
            edges_ns = [min(times_ns), max(times_ns)]
            record_count += len(group)
            ids = [record.id for record in group]
            self._id_hashes.extend(map(hash, ids))
            if added is not None:
                added.add(ids, lines_of(group))
        self._close_part(part, record_count, (edges_ns[0], edges_ns[1]))

    def on_unreadable(self, part: Part, error: Exception) -> None:
        """Records that a part cannot be decoded although its digest matches the manifest."""
        fact = f"The part's records cannot be read ({type(error).__name__}: {error})."
        self._skip_part(part, finding(FindingKind.PART_UNREADABLE, part.key, fact))

    def finish(self) -> list[Finding]:
        """Returns all findings, including those that need every part of the window."""
        repeated_count = _repeated_count(self._id_hashes)
        if repeated_count and self._newest:
            repeated = count_of(repeated_count, "record")
            fact = f"{self._newest.manifest.window} has {repeated} with the id of another record."
            self.findings.append(finding(FindingKind.RECORD_REPEATED, self._newest.key, fact))
        current = {self._generation_of(part) for part in self.parts}
        for generation, added in self._added.items():
            # The parts of a replaced generation are removed, so none of them was read.
            if generation in current or (self._newest and generation == self._newest.manifest.generation):
                self.findings += added.findings()
        return self.findings

    def _close_part(self, part: Part, record_count: int, edges_ns: tuple[int, int]) -> None:
        self.record_count += record_count
        self.findings += _content_findings(part, record_count, edges_ns, self._window())

    def _skip_part(self, part: Part, found: Finding) -> None:
        self.findings.append(found)
        self._added.pop(self._generation_of(part), None)

    def _generation_of(self, part: Part) -> int:
        return (self._newest.added_by(part) if self._newest else None) or 0

    def _window(self) -> TimeWindow | None:
        return self._newest.manifest.window if self._newest else None


@dataclass
class _AddedRecords:
    """Running digest and id comparison of the records that one generation added."""

    generation: Generation
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    record_count: int = 0
    other_id_count: int = 0
    may_be_replaced: bool = False

    def copy(self) -> _AddedRecords:
        """Returns a comparison that goes on from here and leaves this one as it is."""
        return replace(self, digest=self.digest.copy())

    def add(self, ids: Sequence[str], lines: bytes) -> None:
        """Adds consecutive records: their ids, and their lines as ``lines_of`` gives them."""
        self.digest.update(lines)
        # The search for three bytes takes as long as the digest, that for the first of them a twentieth.
        self.may_be_replaced |= _REPLACEMENT[:1] in lines and _REPLACEMENT in lines
        expected = self.generation.manifest.added_ids[self.record_count : self.record_count + len(ids)]
        if expected and list(expected) != list(ids[: len(expected)]):
            self.other_id_count += sum(one != other for one, other in zip(expected, ids, strict=False))
        self.record_count += len(ids)

    def findings(self) -> Iterator[Finding]:
        manifest, key = self.generation.manifest, self.generation.key
        if self.other_id_count:
            fact = (
                f"{self.other_id_count} of the added ids differ from the ids of the records that the generation added."
            )
            yield finding(FindingKind.ADDED_IDS, key, fact)
        if self.digest.hexdigest() == manifest.records_sha256:
            return
        keeps_bytes = manifest.file_format == "jsonl" and not manifest.table
        if not keeps_bytes and self.may_be_replaced:
            fact = (
                "The digest of the records cannot be compared: the API sent bytes that are not valid UTF-8, and this "
                "format stores a replacement character instead."
            )
            yield finding(FindingKind.RECORDS_UNPROVABLE, key, fact)
        else:
            fact = "The digest of the records that the generation added differs from that of the records read back."
            yield finding(FindingKind.RECORDS_CHANGED, key, fact)


def part_finding(part: Part, content: bytes | None) -> Finding | None:
    """Compares the bytes of a part, None if it does not exist, with its manifest."""
    if content is None:
        return finding(FindingKind.PART_MISSING, part.key, "The manifest names the part, but it does not exist.")
    if len(content) != part.size_bytes:
        return _size_finding(part, len(content))
    if hashlib.sha256(content).hexdigest() != part.sha256:
        return finding(FindingKind.PART_CHANGED, part.key, "The part's SHA-256 differs from the one in its manifest.")
    return None


def sealed_part_finding(part: Part, content: bytes | None) -> Finding | None:
    """Compares a sealed part that no reader reads any more, None if it does not exist, with its manifest."""
    if content is None:
        fact = "A seal covers the part, but it does not exist."
        return finding(FindingKind.SEALED_PART_MISSING, part.key, fact)
    if hashlib.sha256(content).hexdigest() != part.sha256:
        fact = "A seal covers the part, but its SHA-256 differs from the one in its manifest."
        return finding(FindingKind.SEALED_PART_CHANGED, part.key, fact)
    return None


def erasure_findings(chain: Chain, stored: Container[str]) -> Iterator[Finding]:
    """Yields every erasure of a window, and each erased part that is still stored."""
    for one in chain.generations:
        erased = one.manifest.erased
        if erased:
            count = count_of(len(erased.parts), "part")
            fact = f"The generation erased {count} of earlier ones, for the reason {erased.reason!r}."
            yield finding(FindingKind.PARTS_ERASED, one.key, fact)
    for key in sorted(erased_parts(chain)):
        if key in stored:
            fact = "The part was erased according to a manifest, but it still exists."
            yield finding(FindingKind.ERASED_PART_PRESENT, key, fact)


def _size_finding(part: Part, found_bytes: int) -> Finding:
    fact = f"The part has {found_bytes} bytes, but its manifest states {part.size_bytes}."
    return finding(FindingKind.PART_SIZE, part.key, fact)


def _content_findings(
    part: Part, record_count: int, edges_ns: tuple[int, int], window: TimeWindow | None
) -> Iterator[Finding]:
    if record_count != part.record_count:
        fact = f"The part holds {count_of(record_count, 'record')}, but its manifest states {part.record_count}."
        yield finding(FindingKind.PART_RECORD_COUNT, part.key, fact)
    if record_count and edges_ns != (part.first_event_ns, part.last_event_ns):
        fact = "The first or last event time in the part differs from its manifest."
        yield finding(FindingKind.PART_EVENT_TIMES, part.key, fact)
    if window is not None and record_count and not all(map(window.contains, edges_ns)):
        yield finding(
            FindingKind.RECORD_OUTSIDE, part.key, f"The part holds records with event times outside {window}."
        )


def _groups(records: Iterable[AuditRecord]) -> Iterator[list[AuditRecord]]:
    """Yields records in groups: what is done once for a group costs little for a record."""
    remaining = iter(records)
    while group := list(islice(remaining, _GROUP_RECORDS)):
        yield group


def _repeated_count(hashes: array[int]) -> int:
    """Returns how many hashes repeat another one.

    They are Python's keyed hashes of text, with 64 bits: by the birthday bound, two of a million different ids share
    one in one of 37 million windows.
    """
    return len(hashes) - len(set(hashes))


def overlap_findings(windows: Mapping[TimeWindow, str]) -> Iterator[Finding]:
    """Yields a finding for each window that overlaps one with an earlier start; values are the keys to report."""
    last_end, last_key = None, ""
    for window in sorted(windows):
        if last_end is not None and window.start < last_end:
            fact = f"The window {window} overlaps the window of {last_key}, so records can be stored twice."
            yield finding(FindingKind.WINDOWS_OVERLAP, windows[window], fact)
        if last_end is None or window.end > last_end:
            last_end, last_key = window.end, windows[window]


def stray_findings(keys: Iterable[str], named: Iterable[str], superseded: Iterable[str]) -> Iterator[Finding]:
    """Yields a finding for each object that no manifest references.

    ``named`` are the parts of newest generations; ``superseded`` are parts of older generations that still have their
    digest.
    """
    known, old = set(named), set(superseded)
    for key in keys:
        if key in old and key not in known:
            fact = "The part was replaced by a later generation but still exists."
            yield finding(FindingKind.PART_SUPERSEDED, key, fact)
        elif key not in known:
            yield from _unreferenced(key)


def _belongs_to_no_window(key: str) -> bool:
    if is_pass_record_key(key) or manifest_index_month(key) or announced_window(key) or read_log_key(key):
        return True
    return key == DATASET_KEY or is_report_key(key) or is_detection_key(key) or is_change_key(key)


def _unreferenced(key: str) -> Iterator[Finding]:
    """Yields the finding for an object that is not a known part, according to its folder."""
    if _belongs_to_no_window(key):
        return
    if key.startswith(STAGING_FOLDER):
        yield finding(
            FindingKind.STAGING_LEFTOVER, key, "The object was staged by a run that is active, or was killed."
        )
    elif key.startswith(MANIFEST_FOLDER):
        if read_manifest_key(key) is None:
            yield finding(
                FindingKind.OBJECT_UNEXPECTED, key, "The object is stored among the manifests but is not a manifest."
            )
    elif key.startswith(SEAL_FOLDER):
        if seal_number(key) is None and seal_index_number(key) is None:
            yield finding(
                FindingKind.OBJECT_UNEXPECTED,
                key,
                "The object is stored among the seals but is not a seal, a signature or a time stamp.",
            )
    elif key.startswith((PARTITION_START, LAKE_FOLDER)):
        yield finding(
            FindingKind.OBJECT_UNEXPECTED, key, "The object is stored among the parts, but no manifest names it."
        )
    else:
        yield finding(
            FindingKind.OBJECT_FOREIGN,
            key,
            "The object is stored in the destination but does not belong to the dataset.",
        )
