"""Findings of verification: every kind, its severity and its remedy.

Invariant: one kind has one severity and one remedy, so that a program can decide by the kind alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec


class Severity(StrEnum):
    """Severity of a finding.

    ``severe``: what is committed or sealed cannot be proved complete and unchanged, or an erasure is not finished.
    ``mild``: informative, no harm.
    """

    SEVERE = "severe"
    MILD = "mild"


class FindingKind(StrEnum):
    """Name of a finding; stable, used in reports and metrics."""

    MANIFEST_UNREADABLE = "manifest_unreadable"
    MANIFEST_NOT_CANONICAL = "manifest_not_canonical"
    MANIFEST_MISPLACED = "manifest_misplaced"
    MANIFEST_COUNTS = "manifest_counts"
    GENERATION_MISSING = "generation_missing"
    GENERATION_UNCHAINED = "generation_unchained"
    GENERATION_OTHER_DATASET = "generation_other_dataset"
    GENERATION_OTHER_FORM = "generation_other_form"
    PARTS_NOT_KEPT = "parts_not_kept"
    PART_MISSING = "part_missing"
    PART_SIZE = "part_size"
    PART_CHANGED = "part_changed"
    PART_UNREADABLE = "part_unreadable"
    PART_RECORD_COUNT = "part_record_count"
    PART_EVENT_TIMES = "part_event_times"
    RECORD_OUTSIDE = "record_outside"
    RECORD_REPEATED = "record_repeated"
    RECORDS_CHANGED = "records_changed"
    RECORDS_UNPROVABLE = "records_unprovable"
    ADDED_IDS = "added_ids"
    WINDOWS_OVERLAP = "windows_overlap"
    WINDOW_FOREIGN = "window_foreign"
    DATASET_MISSING = "dataset_missing"
    DATASET_UNREADABLE = "dataset_unreadable"
    NOTHING_COMMITTED = "nothing_committed"
    OBJECT_UNEXPECTED = "object_unexpected"
    OBJECT_FOREIGN = "object_foreign"
    PART_SUPERSEDED = "part_superseded"
    STAGING_LEFTOVER = "staging_leftover"
    OBJECT_UNLOCKED = "object_unlocked"
    SEAL_MISSING = "seal_missing"
    SEAL_UNREADABLE = "seal_unreadable"
    SEAL_MISPLACED = "seal_misplaced"
    SEAL_UNCHAINED = "seal_unchained"
    SEAL_NOT_FOUND = "seal_not_found"
    SEAL_INDEX_IGNORED = "seal_index_ignored"
    SEAL_INDEX_UNWRITTEN = "seal_index_unwritten"
    MANIFEST_INDEX_IGNORED = "manifest_index_ignored"
    MANIFEST_INDEX_UNWRITTEN = "manifest_index_unwritten"
    SEALED_MANIFEST_MISSING = "sealed_manifest_missing"
    SEALED_MANIFEST_CHANGED = "sealed_manifest_changed"
    MANIFEST_UNSEALED = "manifest_unsealed"
    DAY_UNSEALED = "day_unsealed"
    SEALED_PART_MISSING = "sealed_part_missing"
    SEALED_PART_CHANGED = "sealed_part_changed"
    REPLACEMENT_NOT_ACCEPTED = "replacement_not_accepted"
    REPLACEMENT_ACCEPTED = "replacement_accepted"
    PARTS_ERASED = "parts_erased"
    ERASURE_INCONSISTENT = "erasure_inconsistent"
    ERASED_PART_PRESENT = "erased_part_present"
    NOTHING_SEALED = "nothing_sealed"
    SIGNATURE_INVALID = "signature_invalid"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_ORPHANED = "signature_orphaned"
    SIGNATURE_UNCHECKED = "signature_unchecked"
    TIMESTAMP_INVALID = "timestamp_invalid"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_UNCHECKED = "timestamp_unchecked"
    SEALED_AT_CONTRADICTED = "sealed_at_contradicted"
    SEALED_LATE = "sealed_late"
    SEALED_EARLY = "sealed_early"


class _Meaning(NamedTuple):
    severity: Severity
    remedy: str


_RESTORE = "Restore it from a copy, and find out who changed the store."
# For facts that end in a remedy of their own.
_IF_CHANGED = "If someone changed it, find out who."
_RESTORE_SEAL = (
    "Restore it from a copy, or move it elsewhere if there is none, and find out who changed the store. Until then no "
    "day is sealed."
)
_LAND_AGAIN = "Restore it from a copy, or run the window with replace=True while the API still has its records."
_INVESTIGATE = "Find out who wrote it, and keep the store's access log."
_REPORT = "Report it with the manifest to the maintainers; the objects are as they were written."

_MEANINGS: dict[FindingKind, _Meaning] = {
    FindingKind.MANIFEST_UNREADABLE: _Meaning(Severity.SEVERE, _IF_CHANGED),
    FindingKind.MANIFEST_NOT_CANONICAL: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.MANIFEST_MISPLACED: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.MANIFEST_COUNTS: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.GENERATION_MISSING: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.GENERATION_UNCHAINED: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.GENERATION_OTHER_DATASET: _Meaning(Severity.SEVERE, _INVESTIGATE),
    FindingKind.GENERATION_OTHER_FORM: _Meaning(Severity.SEVERE, _INVESTIGATE),
    FindingKind.PARTS_NOT_KEPT: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.PART_MISSING: _Meaning(Severity.SEVERE, _LAND_AGAIN),
    FindingKind.PART_SIZE: _Meaning(Severity.SEVERE, _LAND_AGAIN),
    FindingKind.PART_CHANGED: _Meaning(Severity.SEVERE, _LAND_AGAIN),
    FindingKind.PART_UNREADABLE: _Meaning(
        Severity.SEVERE,
        "Install the library of its format if it is missing; otherwise report the part to the maintainers.",
    ),
    FindingKind.PART_RECORD_COUNT: _Meaning(Severity.SEVERE, _REPORT),
    FindingKind.PART_EVENT_TIMES: _Meaning(Severity.SEVERE, _REPORT),
    FindingKind.RECORD_OUTSIDE: _Meaning(Severity.SEVERE, _REPORT),
    FindingKind.RECORD_REPEATED: _Meaning(Severity.SEVERE, _REPORT),
    FindingKind.RECORDS_CHANGED: _Meaning(Severity.SEVERE, _REPORT),
    FindingKind.RECORDS_UNPROVABLE: _Meaning(
        Severity.MILD, "No action needed: the digest of the part still matches. Use JSON Lines to keep such bytes."
    ),
    FindingKind.ADDED_IDS: _Meaning(Severity.SEVERE, _REPORT),
    FindingKind.WINDOWS_OVERLAP: _Meaning(
        Severity.SEVERE, "Count the shared records once, and give each window length a destination of its own."
    ),
    FindingKind.WINDOW_FOREIGN: _Meaning(
        Severity.SEVERE,
        "Land the window again with the dataset's own arguments: with replace=True if only its format, schema or "
        "privacy rule differs, otherwise after moving its manifests and parts elsewhere.",
    ),
    FindingKind.DATASET_MISSING: _Meaning(
        Severity.SEVERE,
        "If airflow-audit-provider before 1.0.0rc1 landed the windows, run the newest window again, which creates it; "
        "otherwise restore it from a copy, and find out who removed it.",
    ),
    FindingKind.DATASET_UNREADABLE: _Meaning(Severity.SEVERE, _IF_CHANGED),
    FindingKind.NOTHING_COMMITTED: _Meaning(
        Severity.SEVERE,
        "Check the destination and the range. If both are right, everything was removed or never landed.",
    ),
    FindingKind.OBJECT_UNEXPECTED: _Meaning(
        Severity.SEVERE,
        "If a run of its window was killed while publishing, run the window again, then sweep; otherwise find out who "
        "wrote it.",
    ),
    FindingKind.OBJECT_FOREIGN: _Meaning(Severity.MILD, "Move it elsewhere: it is not part of the dataset."),
    FindingKind.PART_SUPERSEDED: _Meaning(
        Severity.MILD, "Run its window again, which removes it. Readers of manifests never see it."
    ),
    FindingKind.STAGING_LEFTOVER: _Meaning(
        Severity.MILD,
        "Leave it while a run is active; otherwise remove it with the sweep command. No reader looks there.",
    ),
    FindingKind.OBJECT_UNLOCKED: _Meaning(
        Severity.SEVERE,
        "Set the object's retention in the store, and the bucket's default retention for new objects. If no object "
        "shows a lock, check first that the connection has the permission s3:GetObjectRetention.",
    ),
    FindingKind.SEAL_MISSING: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.SEAL_UNREADABLE: _Meaning(Severity.SEVERE, _RESTORE_SEAL),
    FindingKind.SEAL_MISPLACED: _Meaning(Severity.SEVERE, _RESTORE_SEAL),
    FindingKind.SEAL_UNCHAINED: _Meaning(
        Severity.SEVERE,
        "Restore it or the seal before it, whichever was changed, from a copy, and find out who changed the store. "
        "Until then no day is sealed.",
    ),
    FindingKind.SEAL_NOT_FOUND: _Meaning(
        Severity.SEVERE,
        "Check that you gave the digest that you kept. If you did, seals were removed or rewritten: restore them "
        "from a copy.",
    ),
    FindingKind.SEAL_INDEX_IGNORED: _Meaning(
        Severity.MILD,
        "Remove it: nothing depends on it, and a later seal run writes a new one. If no other finding explains it, "
        "find out who wrote it.",
    ),
    FindingKind.SEAL_INDEX_UNWRITTEN: _Meaning(
        Severity.MILD,
        "Allow this connection to write below _seals/index/, or ignore it: the index only saves requests.",
    ),
    FindingKind.MANIFEST_INDEX_IGNORED: _Meaning(
        Severity.MILD,
        "Remove it: nothing depends on it, and a later seal run or coverage with --write-index writes a new one. If no "
        "manifest was moved or removed on purpose, find out who wrote it.",
    ),
    FindingKind.MANIFEST_INDEX_UNWRITTEN: _Meaning(
        Severity.MILD,
        "Allow this connection to write below _manifest_index/, or ignore it: the index only saves requests.",
    ),
    FindingKind.SEALED_MANIFEST_MISSING: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.SEALED_MANIFEST_CHANGED: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.MANIFEST_UNSEALED: _Meaning(
        Severity.SEVERE, "If a late run of this provider wrote it, seal its day again; otherwise find out who wrote it."
    ),
    FindingKind.DAY_UNSEALED: _Meaning(Severity.MILD, "Seal the day."),
    FindingKind.SEALED_PART_MISSING: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.SEALED_PART_CHANGED: _Meaning(Severity.SEVERE, _RESTORE),
    FindingKind.REPLACEMENT_NOT_ACCEPTED: _Meaning(
        Severity.SEVERE,
        "If you replaced the window, seal its day with accept_replaced=[this key and each other one with this finding] "
        "and accepted_by; otherwise find out who wrote it, and remove it after you have kept a copy.",
    ),
    FindingKind.REPLACEMENT_ACCEPTED: _Meaning(
        Severity.MILD, "Compare it with your own records of that change; it stays in every report."
    ),
    FindingKind.PARTS_ERASED: _Meaning(
        Severity.MILD, "Compare it with your own records of that erasure; it stays in every report."
    ),
    FindingKind.ERASURE_INCONSISTENT: _Meaning(Severity.SEVERE, _INVESTIGATE),
    FindingKind.ERASED_PART_PRESENT: _Meaning(
        Severity.SEVERE,
        "Run the task that erased it again, or seal its day with accept_replaced=[the manifest that lists it] and then "
        "run the sweep command, with --public-key if the seals are signed; both remove it.",
    ),
    FindingKind.NOTHING_SEALED: _Meaning(
        Severity.SEVERE,
        "If the dataset was sealed before, restore the seals from a copy and find out who removed them; otherwise seal "
        "it, or verify without a public key or certificate.",
    ),
    FindingKind.SIGNATURE_INVALID: _Meaning(
        Severity.SEVERE,
        "Check that the public key is the right one, and that earlier keys are given after a change of keys. If so, "
        "restore the seal and its signature from a copy. If there is no copy, move the signature elsewhere and run "
        "seal again, which signs a seal that it can check.",
    ),
    FindingKind.SIGNATURE_MISSING: _Meaning(
        Severity.SEVERE,
        "Run seal again with the signing key, which signs every unsigned seal, or restore the signature from a copy.",
    ),
    FindingKind.SIGNATURE_ORPHANED: _Meaning(Severity.SEVERE, "Restore the seal that it belongs to from a copy."),
    FindingKind.SIGNATURE_UNCHECKED: _Meaning(Severity.MILD, "Verify again with the public key to check signatures."),
    FindingKind.TIMESTAMP_INVALID: _Meaning(
        Severity.SEVERE,
        "Check that the certificate is that of the authority which made it. If it is, restore the time stamp from a "
        "copy. If there is no copy, move it elsewhere and run seal again, which proves the seal from then on.",
    ),
    FindingKind.TIMESTAMP_MISSING: _Meaning(
        Severity.SEVERE,
        "Restore the time stamp from a copy, or run seal again with the authority's connection, which proves the seal "
        "from then on.",
    ),
    FindingKind.TIMESTAMP_UNCHECKED: _Meaning(
        Severity.MILD, "Verify again with the authority's certificate to check time stamps."
    ),
    FindingKind.SEALED_AT_CONTRADICTED: _Meaning(
        Severity.SEVERE, "Believe the time stamp, and find out why the sealer stated another time."
    ),
    FindingKind.SEALED_LATE: _Meaning(
        Severity.SEVERE,
        "If it was landed or sealed late on purpose, as in a backfill, compare it with your own records; otherwise it "
        "was written after that day: compare it with a copy.",
    ),
    FindingKind.SEALED_EARLY: _Meaning(
        Severity.SEVERE,
        "No run seals a window before its end. Find out who made the seal, and compare the window with the API.",
    ),
}


class Finding(msgspec.Struct, frozen=True):
    """One finding.

    Its kind, the object's key relative to the destination, a description with the remedy, the severity.
    """

    kind: FindingKind
    key: str
    detail: str
    severity: Severity


def finding(kind: FindingKind, key: str, fact: str) -> Finding:
    """Returns a finding; ``fact`` is a complete sentence, to which the kind's remedy is appended."""
    meaning = _MEANINGS[kind]
    return Finding(kind, key, f"{fact} {meaning.remedy}", meaning.severity)


def severe(findings: Iterable[Finding]) -> list[Finding]:
    """Returns the severe findings."""
    return [found for found in findings if found.severity is Severity.SEVERE]


def printable(text: str) -> str:
    """Returns a text in one line, with a Unicode escape for each character that is not visible.

    Anyone who can write to the store can name an object so that a terminal or log would hide what stands before it.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as aligned, printable text columns; the first row is the heading, the last column is not padded."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    lines = ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


def findings_table(findings: Iterable[Finding]) -> str:
    """Returns the findings as a text table, severe ones first."""
    ordered = sorted(findings, key=lambda found: (found.severity is Severity.MILD, found.key, found.kind))
    return as_table([("severity", "kind", "key", "detail"), *[(f.severity, f.kind, f.key, f.detail) for f in ordered]])
