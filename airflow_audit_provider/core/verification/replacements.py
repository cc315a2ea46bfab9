"""Replacements: generations that take the place of an earlier one instead of adding to it.

A replacement on a sealed day cannot be distinguished from a forged one by its content. It is therefore sealed only if
a caller names it, and the seal records who accepted it and how many records differ.

Invariant: comparing two generations keeps 16 bytes of digests a record, never the records.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.api.records import AuditRecord, content_digest, id_digest
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.verification.manifest_chain import Chain, Generation
from airflow_audit_provider.core.windows.window import count_of


class AcceptedReplacement(msgspec.Struct, frozen=True, order=True):
    """An accepted replacement as a seal records it.

    ``key`` is the new manifest, and the field ``replaces`` has the one that was in force before it. The counts are of
    record ids that only the old or only the new generation has, and of ids whose record has other bytes; None if the
    replaced parts are gone.
    """

    key: str
    replaces: str
    accepted_by: str
    removed_count: int | None = None
    added_count: int | None = None
    changed_count: int | None = None

    @property
    def difference(self) -> str:
        """The counts as a phrase."""
        if self.removed_count is None:
            return "the records cannot be compared, because the replaced parts are gone or a later replacement followed"
        removed = count_of(self.removed_count, "record")
        return f"{removed} removed, {self.added_count} added, {self.changed_count} changed"


class RecordDifference(NamedTuple):
    """How many record ids only one of two generations has, and how many have another content."""

    removed_count: int
    added_count: int
    changed_count: int


def compare_records(old: Iterable[AuditRecord], new: Iterable[AuditRecord]) -> RecordDifference:
    """Compares the records of two generations by id and content; ``old`` is read whole before ``new``."""
    contents = {id_digest(record.id): content_digest(record.raw) for record in old}
    added_count = changed_count = 0
    for record in new:
        before = contents.pop(id_digest(record.id), None)
        if before is None:
            added_count += 1
        elif before != content_digest(record.raw):
            changed_count += 1
    return RecordDifference(len(contents), added_count, changed_count)


def replacing(chain: Chain) -> list[Generation]:
    """Returns the generations of a window that do not keep every part of the one before or erase, oldest first.

    A generation whose predecessor is missing or unreadable is left out; that is a severe finding of its own.
    """
    return [
        after
        for before, after in pairwise(chain.generations)
        if before.manifest.generation + 1 == after.manifest.generation
        and (after.manifest.erased or after.manifest.parts[: len(before.manifest.parts)] != before.manifest.parts)
    ]


def erased_parts(chain: Chain, erased_by: Container[str] | None = None) -> dict[str, Part]:
    """Returns the parts that erasures of a window list as removed, by key.

    ``erased_by`` limits them to the erasures in these manifests.
    """
    erasures = [one for one in chain.generations if one.manifest.erased]
    counted = [one for one in erasures if erased_by is None or one.key in erased_by]
    return {part.key: part for one in counted if one.manifest.erased for part in one.manifest.erased.parts}


def parts_in_force(chain: Chain, sealed_keys: Container[str], erased: Mapping[str, Part]) -> dict[str, Part]:
    """Returns the parts of the generations with these manifest keys, by part key, without the ``erased`` ones.

    ``sealed_keys`` may be those of the whole history.
    """
    named = [part for one in chain.generations if one.key in sealed_keys for part in one.manifest.parts]
    return {part.key: part for part in named if erased.get(part.key) != part}
