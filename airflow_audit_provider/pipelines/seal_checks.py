"""Checks the manifests and parts of a day before they are sealed or a seal is signed.

::

    manifests      consistent, and those that earlier seals of the day name are unchanged
    parts          those that earlier seals cover exist with their size; all others match their digest
    replacements   on a sealed day, each is accepted by name, and the records of the newest are compared with the sealed
                   ones; a list of erased parts counts only if its manifest is sealed or accepted

Invariant: nothing is sealed or signed that fails a check.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, read_manifest_key
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import Finding, printable, severe
from airflow_audit_provider.core.verification.manifest_chain import Chain, Generation, StoredManifest, read_chain
from airflow_audit_provider.core.verification.part_checks import part_finding, sealed_part_finding
from airflow_audit_provider.core.verification.replacements import (
    AcceptedReplacement,
    compare_records,
    erased_parts,
    parts_in_force,
    replacing,
)
from airflow_audit_provider.core.verification.seal_content import SealedManifest
from airflow_audit_provider.core.verification.seals import (
    SealedDay,
    as_sealed,
    not_accepted,
    sealed_manifest_findings,
)
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.pipelines.committed import read_part


class Acceptance(NamedTuple):
    """Manifest keys of the replacements that a caller accepts, and who accepts them."""

    keys: frozenset[str] = frozenset()
    accepted_by: str = ""


_MOST_NAMED = 20
NOTHING_ACCEPTED = Acceptance()


class SealableDay(NamedTuple):
    """What a seal of a day states: its manifests and the replacements that are accepted, both sorted.

    ``contents`` are the bytes of the manifests that were read, by key.
    """

    manifests: tuple[SealedManifest, ...]
    accepted: tuple[AcceptedReplacement, ...]
    contents: Mapping[str, bytes]


def check_acceptance(store: Store, acceptance: Acceptance) -> None:
    """Raises ``ConfigurationError`` if nobody is named, or if a key is not that of a stored manifest."""
    if acceptance.keys and not acceptance.accepted_by.strip():
        raise ConfigurationError(
            "accept_replaced is given without accepted_by. Name who accepts the replacement: the seal records it."
        )
    for key in sorted(acceptance.keys):
        if read_manifest_key(key) is None or store.read(key) is None:
            raise ConfigurationError(
                f"accept_replaced names {key!r}, which is not a manifest of the destination. Copy the key from the "
                "error of the seal task or from the verify report, such as _manifests/dt=2026-11-01/….g0002.json."
            )


def manifest_keys_of(store: Store, day: date) -> list[str]:
    """Returns the keys of every manifest of a day."""
    return [key for key in store.list_keys(f"{MANIFEST_FOLDER}dt={day.isoformat()}/") if read_manifest_key(key)]


def check_day(
    store: Store,
    day: date,
    listed: Iterable[str],
    sealed: SealedDay,
    acceptance: Acceptance,
    keys: Container[str] | None = None,
) -> SealableDay:
    """Returns what a seal after those in ``sealed`` states about a day; raises ``VerificationError`` for a finding.

    ``listed`` are the keys of the day's manifests. ``keys`` limits the seal to some of them; by default it names every
    one.
    """
    stored = [StoredManifest(key, store.read(key)) for key in listed]
    # On a day without a seal nothing is kept, so every list of erased parts counts.
    believed = sealed.all_named_keys | acceptance.keys if sealed.all_named_keys else None
    windows = [_WindowToSeal(of_one, keys, believed) for of_one in _by_window(stored)]
    manifests = {key: one for window in windows for key, one in window.manifests.items()}
    found = [*sealed_manifest_findings(sealed.named, manifests, manifests)]
    replaced = [made for window in windows for made in window.unsealed_replacements(sealed)]
    found += [not_accepted(one) for _, one in replaced if one.key not in acceptance.keys]
    found += [problem for window in windows for problem in window.findings(store, sealed)]
    check_no_severe(day, found)
    accepted = sorted(window.accept(store, one, sealed, acceptance.accepted_by) for window, one in replaced)
    contents = {one.key: one.content for one in stored if one.content is not None}
    return SealableDay(tuple(sorted(one for one in manifests.values() if one is not None)), tuple(accepted), contents)


class _WindowToSeal:
    """One window of the day: its generations that the seal names, and the erasures in any ``believed`` generation."""

    def __init__(
        self, stored: Sequence[StoredManifest], keys: Container[str] | None, believed: Container[str] | None
    ) -> None:
        named = [one for one in stored if keys is None or one.key in keys]
        self.chain: Chain = read_chain(named)
        self.manifests = as_sealed(named, self.chain)
        self._erased = erased_parts(self.chain if named == list(stored) else read_chain(stored), believed)

    def findings(self, store: Store, sealed: SealedDay) -> Iterator[Finding]:
        """Yields findings about the manifests and their parts; reads the parts that no seal covers yet."""
        yield from self.chain.findings
        covered = parts_in_force(self.chain, sealed.covered_keys, {})
        folders = {key.rpartition("/")[0] + "/" for key in covered}
        sizes = dict(item for folder in sorted(folders) for item in store.list_sizes(folder))
        for key, part in covered.items():
            if self._erased.get(key) != part and sizes.get(key) != part.size_bytes:
                found = sealed_part_finding(part, store.read(key))
                yield from [found] if found else []
        for part in self.chain.generations[-1].manifest.parts if self.chain.generations else ():
            if part.key not in covered and self._erased.get(part.key) != part:
                found = part_finding(part, store.read(part.key))
                yield from [found] if found else []

    def unsealed_replacements(self, sealed: SealedDay) -> list[tuple[_WindowToSeal, Generation]]:
        """Returns the replacements that no seal of the day names; none before the day's first seal."""
        sealed_keys = {one.key for one in sealed.named}
        unsealed = [one for one in replacing(self.chain) if one.key not in sealed_keys] if sealed_keys else []
        return [(self, one) for one in unsealed]

    def accept(self, store: Store, new: Generation, sealed: SealedDay, accepted_by: str) -> AcceptedReplacement:
        """Returns the entry of an accepted replacement; that of the newest has the difference to the sealed records.

        The parts of one below it may be gone, with the run that replaced it or with a later sweep.
        """
        older = [one for one in self.chain.generations if one.manifest.generation < new.manifest.generation]
        covered = [one for one in older if one.key in sealed.covered_keys]
        old = (covered or older)[-1]
        is_gone = not covered or any(self._erased.get(part.key) == part for part in old.manifest.parts)
        if is_gone or new != replacing(self.chain)[-1]:
            return AcceptedReplacement(new.key, old.key, accepted_by)
        difference = compare_records(_records(store, old), _records(store, new))
        return AcceptedReplacement(new.key, old.key, accepted_by, *difference)


def _by_window(stored: Iterable[StoredManifest]) -> list[list[StoredManifest]]:
    found: dict[str, list[StoredManifest]] = defaultdict(list)
    for one in stored:
        found[one.key.rpartition(".g")[0]].append(one)
    return list(found.values())


def _records(store: Store, generation: Generation) -> Iterator[AuditRecord]:
    manifest = generation.manifest
    for part in manifest.parts:
        yield from read_part(store, part, committed_format(manifest), manifest.query.version)


def check_no_severe(day: date, findings: Sequence[Finding]) -> None:
    """Raises ``VerificationError`` with the first severe finding and the names of others, if there is one."""
    severe_findings = severe(findings)
    if severe_findings:
        first, *others = severe_findings
        detail = printable(first.detail)
        further = "; ".join(f"{one.kind} at {printable(one.key)}" for one in others[:_MOST_NAMED]) or "none"
        raise VerificationError(
            f"The day {day} was not sealed: it has {count_of(len(severe_findings), 'severe finding')}. The first is "
            f"{first.kind} at {printable(first.key)}: {detail} Further findings: {further}. Follow the "
            "remedy of each finding, verify the destination, then seal again."
        )
