"""Checks the manifests of one window: each against its key, its own sums and the generation before it.

Invariant: unreadable or inconsistent bytes become a finding, never an exception; every manifest that can still be read
and belongs under its key is checked further. The others are left out, so that nobody reads an object that they name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from airflow_audit_provider.core.archive.manifest import Manifest, Part, is_canonical, misplacements, read_manifest
from airflow_audit_provider.core.archive.object_keys import ManifestKey, WindowKeys, missing_numbers, read_manifest_key
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import VerificationError


class StoredManifest(NamedTuple):
    """Bytes of one manifest as stored; ``content`` is None if the key was listed but could not be read."""

    key: str
    content: bytes | None


class Generation(NamedTuple):
    """A readable manifest with its key and the SHA-256 of its bytes."""

    key: str
    sha256: str
    manifest: Manifest

    @property
    def keys(self) -> WindowKeys:
        """Object keys of the window."""
        return self.manifest.keys

    @property
    def added_parts(self) -> tuple[Part, ...]:
        """Parts that this generation added, according to their keys."""
        return tuple(part for part in self.manifest.parts if self.added_by(part) == self.manifest.generation)

    @property
    def kept_parts(self) -> tuple[Part, ...]:
        """Parts taken over from the generation before."""
        return tuple(part for part in self.manifest.parts if self.added_by(part) != self.manifest.generation)

    def added_by(self, part: Part) -> int | None:
        """Returns the generation in a part's key, or None if the key does not belong to this window."""
        return self.manifest.added_by(part)


class Chain(NamedTuple):
    """Readable generations of one window, oldest first, and the findings about them."""

    generations: tuple[Generation, ...]
    findings: tuple[Finding, ...]


def read_chain(stored: Sequence[StoredManifest]) -> Chain:
    """Checks the manifests of one window, given in any order; every key must be the key of a manifest."""
    findings: list[Finding] = []
    generations: list[Generation] = []
    for one in sorted(stored, key=lambda each: _named(each).generation):
        read = _read_generation(one)
        if isinstance(read, Generation):
            generations.append(read)
            findings += _self_findings(read, one)
        else:
            findings += read
    findings += _missing_generations(stored)
    for index, generation in enumerate(generations):
        findings += _step_findings(generations[index - 1] if index else None, generation)
        findings += _erasure_findings(generations[:index], generation)
    return Chain(tuple(generations), tuple(findings))


def _named(stored: StoredManifest) -> ManifestKey:
    key = read_manifest_key(stored.key)
    if key is None:
        raise ValueError(f"{stored.key} is not the key of a manifest. Filter such keys before the call.")
    return key


def _read_generation(stored: StoredManifest) -> Generation | list[Finding]:
    if stored.content is None:
        return [finding(FindingKind.GENERATION_MISSING, stored.key, "The manifest was listed but could not be read.")]
    try:
        manifest = read_manifest(stored.key, stored.content)
    except VerificationError as error:
        return [finding(FindingKind.MANIFEST_UNREADABLE, stored.key, error.message)]
    misplaced = [
        finding(FindingKind.MANIFEST_MISPLACED, stored.key, fact) for fact in misplacements(stored.key, manifest)
    ]
    return misplaced or Generation(stored.key, hashlib.sha256(stored.content).hexdigest(), manifest)


def _self_findings(generation: Generation, stored: StoredManifest) -> Iterator[Finding]:
    """Checks a manifest against its own bytes and sums."""
    manifest = generation.manifest
    if not is_canonical(manifest, stored.content or b""):
        fact = "The manifest's bytes differ from the canonical bytes of its content."
        yield finding(FindingKind.MANIFEST_NOT_CANONICAL, stored.key, fact)
    if len({part.key for part in manifest.parts}) != len(manifest.parts):
        yield finding(FindingKind.MANIFEST_COUNTS, stored.key, "The manifest names a part twice.")
    yield from _sums(generation)


def _sums(generation: Generation) -> Iterator[Finding]:
    manifest = generation.manifest
    added_count = sum(part.record_count for part in generation.added_parts)
    record_count = sum(part.record_count for part in manifest.parts)
    if (manifest.record_count, manifest.added_count) != (record_count, added_count):
        fact = (
            f"The manifest counts {count_of(manifest.record_count, 'record')}, {manifest.added_count} of them added; "
            f"its parts hold {record_count} and {added_count}."
        )
        yield finding(FindingKind.MANIFEST_COUNTS, generation.key, fact)
    if len(manifest.added_ids) not in _possible_id_counts(generation):
        added, named = count_of(manifest.added_count, "record"), count_of(len(manifest.added_ids), "added id")
        fact = f"The manifest adds {added} but names {named}."
        yield finding(FindingKind.ADDED_IDS, generation.key, fact)


def _possible_id_counts(generation: Generation) -> set[int]:
    """Returns the valid numbers of added ids.

    The first generation names none, an addendum names each; a generation that keeps no part can be a replacement.
    """
    manifest = generation.manifest
    if manifest.generation == 1:
        return {0}
    return {manifest.added_count} if generation.kept_parts else {0, manifest.added_count}


def _missing_generations(stored: Sequence[StoredManifest]) -> Iterator[Finding]:
    named = [_named(one) for one in stored]
    for first, last in missing_numbers(key.generation for key in named):
        window, day, _ = named[0]
        span = f"Generation {first}" if first == last else f"Every generation from {first} to {last}"
        fact = f"{span} of {window} is missing, but a later one exists."
        yield finding(FindingKind.GENERATION_MISSING, WindowKeys(window, day).manifest(first), fact)


def _step_findings(before: Generation | None, generation: Generation) -> Iterator[Finding]:
    """Checks a manifest against the generation before it."""
    manifest = generation.manifest
    if manifest.generation == 1:
        if manifest.previous_sha256 is not None:
            fact = "The first generation names a generation before it."
            yield finding(FindingKind.GENERATION_UNCHAINED, generation.key, fact)
        return
    if before is None or before.manifest.generation != manifest.generation - 1:
        # The missing or unreadable generation before is already a finding.
        return
    if manifest.previous_sha256 != before.sha256:
        fact = f"The digest that the manifest names for the generation before differs from that of {before.key}."
        yield finding(FindingKind.GENERATION_UNCHAINED, generation.key, fact)
    if manifest.query != before.manifest.query:
        fact = f"The manifest describes a different audit log or filter than {before.key}."
        yield finding(FindingKind.GENERATION_OTHER_DATASET, generation.key, fact)
    if generation.kept_parts and _form(manifest) != _form(before.manifest):
        fact = f"The manifest adds to {before.key} in a different format or schema, or under a different privacy rule."
        yield finding(FindingKind.GENERATION_OTHER_FORM, generation.key, fact)
    yield from _kept_findings(before, generation)


def _form(manifest: Manifest) -> tuple[object, ...]:
    """Returns what all parts of a window must have in common, whichever generation added them."""
    schema = (manifest.table.schema, manifest.table.version) if manifest.table else None
    return manifest.file_format, manifest.compression, schema, manifest.privacy


def _kept_findings(before: Generation, generation: Generation) -> Iterator[Finding]:
    """Checks that an addendum keeps every part in order, and that a replacement keeps none and has no fewer records."""
    kept = generation.kept_parts
    if kept and kept != before.manifest.parts:
        fact = f"The manifest keeps some parts of {before.key}, but not all of them unchanged."
        yield finding(FindingKind.PARTS_NOT_KEPT, generation.key, fact)
    if not kept and generation.manifest.record_count < before.manifest.record_count:
        fact = f"The manifest replaces {before.key} but holds fewer records."
        yield finding(FindingKind.PARTS_NOT_KEPT, generation.key, fact)


def _erasure_findings(earlier: Sequence[Generation], generation: Generation) -> Iterator[Finding]:
    """Checks that a generation which erases replaces, and lists only parts that earlier generations name."""
    erased = generation.manifest.erased
    if not erased:
        return
    if generation.manifest.generation == 1 or generation.kept_parts:
        fact = "The manifest lists erased parts, but it does not replace an earlier generation."
        yield finding(FindingKind.ERASURE_INCONSISTENT, generation.key, fact)
    named = {part for one in earlier for part in one.manifest.parts}
    foreign_count = sum(part not in named for part in erased.parts)
    if foreign_count and len(earlier) == generation.manifest.generation - 1:
        count = count_of(foreign_count, "erased part")
        fact = f"The manifest lists {count} that no earlier generation of its window names."
        yield finding(FindingKind.ERASURE_INCONSISTENT, generation.key, fact)
