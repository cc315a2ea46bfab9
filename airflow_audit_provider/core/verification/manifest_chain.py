"""The manifests of one window, judged: by its key, by its own sums and by the one before it.

Knows: how generations are chained, and what an addendum and a replacement must keep.
Must not know: the bytes of parts, seals, stores.
Its one rule: bad bytes become a finding, never an error; what can still be read is judged further.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from airflow_audit_provider.core.archive.manifest import Manifest, Part, read_manifest
from airflow_audit_provider.core.archive.object_keys import ManifestKey, WindowKeys, missing_numbers, read_manifest_key
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.exceptions import VerificationError


class StoredManifest(NamedTuple):
    """One generation as it lies in the store; ``content`` is None when it was listed and is gone."""

    key: str
    content: bytes | None


class Generation(NamedTuple):
    """A readable manifest under its key, with the digest of its bytes."""

    key: str
    sha256: str
    manifest: Manifest

    @property
    def keys(self) -> WindowKeys:
        """Where the window's objects lie."""
        return WindowKeys(self.manifest.window, self.manifest.partition_date)

    @property
    def added_parts(self) -> tuple[Part, ...]:
        """The parts this generation brought, by their own keys."""
        return tuple(part for part in self.manifest.parts if self.added_by(part) == self.manifest.generation)

    @property
    def kept_parts(self) -> tuple[Part, ...]:
        """The parts this generation took over from the one before."""
        return tuple(part for part in self.manifest.parts if self.added_by(part) != self.manifest.generation)

    def added_by(self, part: Part) -> int | None:
        """Return the generation a part's key names, None for a key that is none of this window's."""
        generation = self.keys.part_generation(part.key)
        return generation if f"-{part.sha256[:16]}." in part.key else None


class Chain(NamedTuple):
    """The readable generations of one window, oldest first, and what is wrong with them."""

    generations: tuple[Generation, ...]
    findings: tuple[Finding, ...]


def read_chain(stored: Sequence[StoredManifest]) -> Chain:
    """Judge the manifests of one window, whose keys are manifests' keys; any order."""
    findings: list[Finding] = []
    generations: list[Generation] = []
    for one, key in sorted(((one, _named(one)) for one in stored), key=lambda pair: pair[1].generation):
        read = _read_generation(one, key)
        if isinstance(read, Finding):
            findings.append(read)
        else:
            generations.append(read)
            findings += _self_findings(read, one, key)
    findings += _missing_generations(stored)
    for index, generation in enumerate(generations):
        findings += _step_findings(generations[index - 1] if index else None, generation)
    return Chain(tuple(generations), tuple(findings))


def _named(stored: StoredManifest) -> ManifestKey:
    key = read_manifest_key(stored.key)
    if key is None:
        raise ValueError(f"{stored.key} is not the key of a manifest; sort such keys out before.")
    return key


def _read_generation(stored: StoredManifest, key: ManifestKey) -> Generation | Finding:
    if stored.content is None:
        return finding(FindingKind.GENERATION_MISSING, stored.key, "The manifest was listed and could not be read.")
    try:
        manifest = read_manifest(stored.key, stored.content)
    except VerificationError as error:
        return finding(FindingKind.MANIFEST_UNREADABLE, stored.key, error.message)
    if (manifest.window, manifest.generation) != (key.window, key.generation):
        said = f"The manifest says it is generation {manifest.generation} of {manifest.window}, unlike its key."
        return finding(FindingKind.MANIFEST_MISPLACED, stored.key, said)
    return Generation(stored.key, hashlib.sha256(stored.content).hexdigest(), manifest)


def _self_findings(generation: Generation, stored: StoredManifest, key: ManifestKey) -> Iterator[Finding]:
    """What one manifest says of itself."""
    manifest = generation.manifest
    if manifest.to_bytes() != stored.content:
        fact = "The manifest's bytes are not the ones this provider writes for what it says."
        yield finding(FindingKind.MANIFEST_NOT_CANONICAL, stored.key, fact)
    if abs((manifest.partition_date - key.day).days) > 1:
        fact = f"The manifest files its parts under dt={manifest.partition_date}, and its window starts on {key.day}."
        yield finding(FindingKind.MANIFEST_MISPLACED, stored.key, fact)
    for part in manifest.parts:
        if generation.added_by(part) not in range(1, manifest.generation + 1):
            fact = f"The manifest names {part.key}, which is not how a part of it is called."
            yield finding(FindingKind.MANIFEST_MISPLACED, stored.key, fact)
    if len({part.key for part in manifest.parts}) != len(manifest.parts):
        yield finding(FindingKind.MANIFEST_COUNTS, stored.key, "The manifest names a part twice.")
    yield from _sums(generation)


def _sums(generation: Generation) -> Iterator[Finding]:
    manifest = generation.manifest
    added_count = sum(part.record_count for part in generation.added_parts)
    record_count = sum(part.record_count for part in manifest.parts)
    if (manifest.record_count, manifest.added_count) != (record_count, added_count):
        fact = (
            f"The manifest counts {manifest.record_count} records, {manifest.added_count} of them added; its parts "
            f"have {record_count} and {added_count}."
        )
        yield finding(FindingKind.MANIFEST_COUNTS, generation.key, fact)
    if len(manifest.added_ids) not in _possible_id_counts(generation):
        fact = f"The manifest adds {manifest.added_count} records and names {len(manifest.added_ids)} added ids."
        yield finding(FindingKind.ADDED_IDS, generation.key, fact)


def _possible_id_counts(generation: Generation) -> set[int]:
    """A first generation names no id, an addendum each one; a generation that keeps nothing may have replaced all."""
    manifest = generation.manifest
    if manifest.generation == 1:
        return {0}
    return {manifest.added_count} if generation.kept_parts else {0, manifest.added_count}


def _missing_generations(stored: Sequence[StoredManifest]) -> Iterator[Finding]:
    named = [_named(one) for one in stored]
    for first, last in missing_numbers(key.generation for key in named):
        window, day, _ = named[0]
        span = f"Generation {first}" if first == last else f"Every generation from {first} to {last}"
        fact = f"{span} of {window} is missing, and a later one is there."
        yield finding(FindingKind.GENERATION_MISSING, WindowKeys(window, day).manifest(first), fact)


def _step_findings(before: Generation | None, generation: Generation) -> Iterator[Finding]:
    """What a manifest says of the one before it."""
    manifest = generation.manifest
    if manifest.generation == 1:
        if manifest.previous_sha256 is not None:
            fact = "The first generation names one before it."
            yield finding(FindingKind.GENERATION_UNCHAINED, generation.key, fact)
        return
    if before is None or before.manifest.generation != manifest.generation - 1:
        # That the one before is missing or unreadable is a finding already.
        return
    if manifest.previous_sha256 != before.sha256:
        fact = f"The manifest names a generation before it with other bytes than {before.key} has."
        yield finding(FindingKind.GENERATION_UNCHAINED, generation.key, fact)
    if manifest.query != before.manifest.query:
        fact = f"The manifest is of another audit log than {before.key}."
        yield finding(FindingKind.GENERATION_OTHER_DATASET, generation.key, fact)
    if generation.kept_parts and _form(manifest) != _form(before.manifest):
        fact = f"The manifest adds to {before.key} in another format or schema, or under another privacy rule."
        yield finding(FindingKind.GENERATION_OTHER_FORM, generation.key, fact)
    yield from _kept_findings(before, generation)


def _form(manifest: Manifest) -> tuple[object, ...]:
    """Return what all parts of a window have in common, whichever generation brought them."""
    schema = (manifest.table.schema, manifest.table.version) if manifest.table else None
    return manifest.file_format, manifest.compression, schema, manifest.privacy


def _kept_findings(before: Generation, generation: Generation) -> Iterator[Finding]:
    """An addendum keeps every part in order; a replacement keeps none and has no fewer records."""
    kept = generation.kept_parts
    if kept and kept != before.manifest.parts:
        fact = f"The manifest keeps some parts of {before.key} and not all of them as they were."
        yield finding(FindingKind.PARTS_NOT_KEPT, generation.key, fact)
    if not kept and generation.manifest.record_count < before.manifest.record_count:
        fact = f"The manifest replaces {before.key} and holds fewer records."
        yield finding(FindingKind.PARTS_NOT_KEPT, generation.key, fact)
