"""Seals: digest files, as AWS CloudTrail has them, that chain what was committed on each day.

::

    seal 1 (day 1) ◄── seal 2 (day 2) ◄── seal 3 (day 1 again: a late window) ◄── …
       │                  │                  │
    manifests of day 1  of day 2         all manifests of day 1

A seal names the manifests of its day, a manifest its parts, and a seal the seal before it, each by SHA-256. The digest
of the newest seal, kept elsewhere, therefore covers the whole dataset.

A seal covers the parts of the newest generation of each window that it names. What a seal covers is kept: a later
generation that replaces it is added beside it, and only a later seal that names this replacement accepts it.

Invariant: a seal is never rewritten; what is committed later is named by a later seal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import (
    misplaced_manifests,
    missing_numbers,
    read_manifest_key,
    seal_key,
    seal_number,
    signature_key,
    timestamp_key,
)
from airflow_audit_provider.core.verification.envelopes import SignatureVerifier, read_envelope
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.core.verification.manifest_chain import Chain, Generation, StoredManifest
from airflow_audit_provider.core.verification.replacements import AcceptedReplacement, erased_parts, replacing
from airflow_audit_provider.core.verification.seal_content import (
    NO_FAR_SEALS,
    FarSeals,
    Seal,
    SealedManifest,
    read_seal,
    read_seal_near,
)

_NO_SEAL = frozenset({FindingKind.SEAL_UNREADABLE, FindingKind.SEAL_MISPLACED, FindingKind.SEAL_UNCHAINED})


class SealedDay(NamedTuple):
    """What the first seals of one day name, and the keys of the manifests whose parts they cover.

    ``all_named_keys`` are the keys of the manifests that any seal of the day names.
    """

    named: frozenset[SealedManifest]
    covered_keys: frozenset[str]
    all_named_keys: frozenset[str]


class SealChain:
    """Seals, signatures and time stamps of a destination; ``objects`` maps object keys to stored bytes.

    ``findings`` are about the chain itself, from the newest seal to the first; ``seals`` are the readable seals, oldest
    first; ``contents`` maps each seal's number to its bytes. ``far`` are seals whose manifests may be left out.
    """

    def __init__(self, objects: Mapping[str, bytes], far: FarSeals = NO_FAR_SEALS) -> None:
        self._far, self._digests = far, dict[int, str]()
        self.findings: list[Finding] = []
        self.seals: list[Seal] = []
        self._objects = {key: content for key, content in objects.items() if seal_number(key) is not None}
        numbers = sorted({seal_number(key) or 0 for key in self._objects})
        self._greatest_number = max(numbers, default=0)
        # A signature or time stamp without its seal takes no number: the next seal would have no seal before it.
        self.last_number = max((number for number in numbers if self._has_seal(number)), default=0)
        for first, last in missing_numbers(numbers):
            span = f"Seal {first} is" if first == last else f"The seals {first} to {last} are"
            self.findings.append(finding(FindingKind.SEAL_MISSING, seal_key(first), f"{span} missing."))
        for number in reversed(numbers):
            self._read(number)
        self.seals.reverse()
        self.contents = {number: self._objects[seal_key(number)] for number in numbers if self._has_seal(number)}

    def extend(self, seal: Seal, content: bytes) -> SealChain:
        """Returns the chain with the seal that follows: this chain itself, extended, so that the cost is constant.

        ``seal`` is from :meth:`next_seal`, and ``content`` its bytes. An object of a later number has findings that
        depend on this seal, so the chain is then read again.
        """
        if self._greatest_number > self.last_number:
            return SealChain({**self._objects, seal.key: content})
        self._objects[seal.key] = content
        self.seals.append(seal)
        self.contents[seal.number] = content
        self.last_number = self._greatest_number = seal.number
        self._of_day.setdefault(seal.day, []).append(seal)
        for name in ("covered_keys", "first_named", "named_digests"):
            self.__dict__.pop(name, None)
        return self

    def near(self, days: Container[date]) -> SealChain:
        """Returns the chain with the manifests of these days, whichever it was read with."""
        return SealChain(self._objects, self._far._replace(near=days))

    @property
    def objects(self) -> Mapping[str, bytes]:
        """Stored bytes of the chain's objects, by key."""
        return self._objects

    @cached_property
    def _of_day(self) -> dict[date, list[Seal]]:
        found: dict[date, list[Seal]] = {}
        for seal in self.seals:
            found.setdefault(seal.day, []).append(seal)
        return found

    @property
    def days(self) -> set[date]:
        """Days that have a seal."""
        return set(self._of_day)

    def seals_of(self, day: date) -> list[Seal]:
        """Returns the readable seals of a day, oldest first."""
        return list(self._of_day.get(day, ()))

    @property
    def newest_sha256(self) -> str | None:
        """SHA-256 of the newest seal, None if there is none."""
        return self._digest_of(max(self.contents, default=0))

    @property
    def unsigned(self) -> list[Seal]:
        """Readable seals without a signature, oldest first."""
        return [seal for seal in self.seals if self.signature(seal.number) is None]

    def signature(self, number: int) -> bytes | None:
        """Returns the bytes of a seal's signature, None if it has none."""
        return self._objects.get(signature_key(number))

    def timestamp(self, number: int) -> bytes | None:
        """Returns the bytes of a seal's time stamp, None if it has none."""
        return self._objects.get(timestamp_key(number))

    def is_linked(self, seal: Seal) -> bool:
        """Returns whether a seal contains the digest of the seal before it."""
        return seal.previous_sha256 is not None and seal.previous_sha256 == self._digest_of(seal.number - 1)

    def contains(self, sha256: str) -> bool:
        """Returns whether a readable seal in its place has this digest, as it is printed or copied by a person."""
        return sha256.strip().lower() in {self._digest_of(seal.number) for seal in self.seals}

    @cached_property
    def covered_keys(self) -> frozenset[str]:
        """Keys of the manifests whose parts are sealed: each was the newest of its window when a seal was made."""
        return frozenset(key for seal in self.seals for key in seal.in_force)

    @property
    def stated_acceptances(self) -> frozenset[tuple[str, str]]:
        """Key and SHA-256 of the manifests that any seal states to accept, also a forged one."""
        return _accepted_by(self.seals)

    def acceptances(self, verifier: SignatureVerifier | None) -> frozenset[tuple[str, str]]:
        """Returns key and SHA-256 of the manifests that replace or erase, and that a seal of the owner accepts.

        The digest is the one that the accepting seal names: another seal, which anyone can write, could name the
        digest of a manifest that was changed after it was accepted.
        With a verifier, a seal is the owner's if its signature is valid. Without one, a signed chain accepts
        nothing: anyone can write a seal and a signature of the right form. In a chain without signatures nothing tells
        the owner's seals from others, so each counts.
        """
        # A signature that was not checked is a finding, too.
        unproved_numbers = {seal_number(one.key) for one in self.signature_findings(verifier)}
        proved = [seal for seal in self.seals if seal.number not in unproved_numbers]
        return _accepted_by(proved)

    @cached_property
    def first_named(self) -> dict[str, Seal]:
        """The first seal that names each manifest, by the manifest's key."""
        return {named.key: seal for seal in reversed(self.seals) for named in seal.manifests}

    @cached_property
    def named_digests(self) -> frozenset[tuple[str, str]]:
        """Key and SHA-256 of each manifest that a seal names."""
        return frozenset((one.key, one.sha256) for seal in self.seals for one in seal.manifests)

    def sealed_on(self, day: date) -> set[SealedManifest]:
        """Returns every manifest that the seals of a day name."""
        return {named for seal in self.seals_of(day) for named in seal.manifests}

    def day_before(self, day: date, number: int | None = None) -> SealedDay:
        """Returns what the seals of a day name and cover; with a number only those before it."""
        seals = [seal for seal in self.seals_of(day) if number is None or seal.number < number]
        named = frozenset(one for seal in seals for one in seal.manifests)
        covered_keys = frozenset(key for seal in seals for key in seal.in_force)
        return SealedDay(named, covered_keys, frozenset(one.key for one in self.sealed_on(day)))

    def findings_against(self, day: date) -> list[Finding]:
        """Returns the findings of the chain because of which it is unknown whether a day was sealed.

        Nothing is sealed upon an object that is no seal of this chain: it may be one whose bytes were changed. A lost
        seal only stops the days up to the newest sealed day, so that it does not leave later days unprotected.
        """
        if not self.findings:
            return []
        is_later = bool(self.seals) and day > max(self.days)
        found = [one for one in self.findings if one.kind in _NO_SEAL or not is_later]
        # The seal after a changed one is unchained; name the changed one first.
        return sorted(found, key=lambda one: one.kind is FindingKind.SEAL_UNCHAINED)

    def next_seal(
        self,
        day: date,
        manifests: Sequence[SealedManifest],
        sealed_at: datetime | None = None,
        accepted: Iterable[AcceptedReplacement] = (),
    ) -> Seal | None:
        """Returns the seal to create for a day, None if its seals already name every manifest."""
        if set(manifests) <= self.sealed_on(day):
            return None
        return Seal(
            number=self.last_number + 1,
            day=day,
            manifests=tuple(sorted(manifests)),
            previous_sha256=self._digest_of(self.last_number),
            sealed_at=sealed_at or msgspec.UNSET,
            replacements=tuple(sorted(accepted)) or msgspec.UNSET,
        )

    def acceptance_findings(self) -> Iterator[Finding]:
        """Yields a mild finding for every replacement that a seal records as accepted."""
        for seal in self.seals:
            for one in seal.accepted:
                fact = (
                    f"Seal {seal.number} records that {one.accepted_by!r} accepted the replacement of {one.replaces}: "
                    f"{one.difference}."
                )
                yield finding(FindingKind.REPLACEMENT_ACCEPTED, one.key, fact)

    def expected_seal_findings(self, expected_sha256: str) -> Iterator[Finding]:
        """Yields a finding if no seal has the digest that the auditor kept; seals after it are allowed."""
        if not self.contains(expected_sha256):
            fact = f"No seal has the digest {expected_sha256}."
            yield finding(FindingKind.SEAL_NOT_FOUND, seal_key(self.last_number or 1), fact)

    def signature_findings(self, verifier: SignatureVerifier | None) -> Iterator[Finding]:
        """Checks every signature.

        Without a verifier it checks their form, and that either every seal is signed or none.
        """
        is_signed_chain = any(self.signature(number) is not None for number in self.contents)
        for number, content in self.contents.items():
            stored = self.signature(number)
            if stored is not None:
                yield from _signature_findings(number, content, stored, verifier)
            elif verifier is not None or is_signed_chain:
                yield finding(FindingKind.SIGNATURE_MISSING, seal_key(number), f"Seal {number} is not signed.")

    def untrusted_signatures(self, day: date, verifier: SignatureVerifier) -> Iterator[Finding]:
        """Yields a finding for every signature on a day's seals that is not valid."""
        for seal in self.seals_of(day):
            stored = self.signature(seal.number)
            if stored is not None:
                yield from _signature_findings(seal.number, self.contents[seal.number], stored, verifier)

    def _read(self, number: int) -> None:
        key = seal_key(number)
        content = self._objects.get(key)
        if content is None:
            self._add_orphaned(number)
            return
        seal = read_seal_near(self._far.near, content) if key in self._far.keys else read_seal(content)
        if isinstance(seal, str):
            self.findings.append(finding(FindingKind.SEAL_UNREADABLE, key, seal))
            return
        self.findings += self._link_findings(number, seal)
        # Signatures and time stamps are found by the number, so a seal that states another one counts for nothing.
        if seal.number == number:
            self.seals.append(seal)

    def _add_orphaned(self, number: int) -> None:
        for name, key in (("signature", signature_key(number)), ("time stamp", timestamp_key(number))):
            if key in self._objects:
                fact = f"The {name} of seal {number} exists, but the seal does not."
                self.findings.append(finding(FindingKind.SIGNATURE_ORPHANED, key, fact))

    def _link_findings(self, number: int, seal: Seal) -> Iterator[Finding]:
        key = seal_key(number)
        if seal.number != number:
            yield finding(
                FindingKind.SEAL_MISPLACED, key, f"The seal states number {seal.number}, which differs from its key."
            )
        before = self._digest_of(number - 1)
        is_first_or_follows = number == 1 or before is not None
        if is_first_or_follows and seal.previous_sha256 != before:
            fact = f"The digest that seal {number} names for the seal before differs from {_before(number)}."
            yield finding(FindingKind.SEAL_UNCHAINED, key, fact)
        for misplaced in misplaced_manifests((named.key for named in seal.manifests), seal.day):
            fact = f"The seal of {seal.day} names {misplaced}, which is not a manifest of that day."
            yield finding(FindingKind.SEAL_MISPLACED, key, fact)

    def _has_seal(self, number: int) -> bool:
        return seal_key(number) in self._objects

    def _digest_of(self, number: int) -> str | None:
        content = self._objects.get(seal_key(number)) if number else None
        if content is not None and number not in self._digests:
            self._digests[number] = hashlib.sha256(content).hexdigest()
        return self._digests.get(number)


def invalid_signatures(chain: SealChain, verifier: SignatureVerifier | None) -> list[Finding]:
    """Returns a finding for each stored signature that is not valid; without a verifier, for its form alone."""
    return [one for one in chain.signature_findings(verifier) if one.kind is FindingKind.SIGNATURE_INVALID]


def _signature_findings(
    number: int, content: bytes, stored: bytes, verifier: SignatureVerifier | None
) -> Iterator[Finding]:
    """Checks one signature; without a verifier only its form and that it is about this seal."""
    envelope = read_envelope(stored, content)
    if isinstance(envelope, str):
        yield finding(FindingKind.SIGNATURE_INVALID, signature_key(number), envelope)
    elif verifier is None:
        fact = "The signature was not checked."
        yield finding(FindingKind.SIGNATURE_UNCHECKED, signature_key(number), fact)
    elif reason := verifier.verify(content, envelope):
        yield finding(FindingKind.SIGNATURE_INVALID, signature_key(number), reason)


def _before(number: int) -> str:
    return "none, although it is the first seal" if number == 1 else f"that of {seal_key(number - 1)}"


def as_sealed(stored: Iterable[StoredManifest], chain: Chain) -> dict[str, SealedManifest | None]:
    """Returns the manifests of a window as a seal names them; None for a manifest that was listed but not readable."""
    counts = {one.key: one.manifest.record_count for one in chain.generations}
    return {
        one.key: None
        if one.content is None
        else SealedManifest(one.key, hashlib.sha256(one.content).hexdigest(), counts.get(one.key, 0))
        for one in stored
    }


def sealed_findings(
    chain: SealChain,
    stored: Mapping[str, SealedManifest | None],
    listed: set[str],
    is_listed: Callable[[str], bool] = lambda _: True,
) -> Iterator[Finding]:
    """Compares the manifests that seals name with those in the store.

    ``stored`` maps the key of every manifest that was read to its sealed form, None if it vanished meanwhile;
    ``listed`` are the keys of all manifests, or of those in the folders that ``is_listed`` tells. A manifest that is
    listed but was not read is assumed to be unchanged, and so is one whose folder was not listed.
    """
    named = {one for seal in chain.seals for one in seal.manifests if is_listed(one.key)}
    yield from sealed_manifest_findings(named, stored, listed)
    if chain.last_number:
        yield from _unsealed_findings(chain, set(stored) - {one.key for one in named})


def sealed_manifest_findings(
    named: Iterable[SealedManifest], stored: Mapping[str, SealedManifest | None], listed: Container[str]
) -> Iterator[Finding]:
    """Compares the manifests that seals name with those in the store, as :func:`sealed_findings` does."""
    for one in sorted(named):
        if one.key not in listed or (one.key in stored and stored[one.key] is None):
            fact = "The manifest was sealed, but it does not exist."
            yield finding(FindingKind.SEALED_MANIFEST_MISSING, one.key, fact)
        elif stored.get(one.key, one) != one:
            fact = "The manifest differs from the one that was sealed."
            yield finding(FindingKind.SEALED_MANIFEST_CHANGED, one.key, fact)


def replacement_findings(chain: Chain, seals: SealChain) -> Iterator[Finding]:
    """Yields the generations of a window on a sealed day that replace or erase, and that no seal accepts.

    The first seal of a day takes the day as it is. Every later seal, and what is not sealed yet, may only add to it, or
    accept each such generation by name: who accepts the newest one may not know of another below it.
    """
    numbers = [seal.number for seal in seals.seals_of(_day_of(chain))] if chain.generations else []
    for one in replacing(chain) if numbers else ():
        seal = seals.first_named.get(one.key)
        is_as_found = seal is not None and seal.number == min(numbers)
        if not is_as_found and (seal is None or one.key not in {accepted.key for accepted in seal.accepted}):
            yield not_accepted(one)


def believed_erasures(chain: Chain, seals: SealChain) -> dict[str, Part]:
    """Returns the erased parts of a window by key, as manifests list them that a seal names with these bytes.

    Anyone who can write to the store can write such a list. On a day without a seal nothing is kept, so each counts.
    """
    is_sealed = bool(chain.generations and seals.seals_of(_day_of(chain)))
    return erased_parts(chain, unchanged_keys(chain, seals.named_digests) if is_sealed else None)


def not_accepted(generation: Generation) -> Finding:
    """Returns the finding for a replacement on a sealed day that nobody accepted."""
    fact = f"The generation replaces an earlier one, although its day {_start_day(generation)} is sealed."
    return finding(FindingKind.REPLACEMENT_NOT_ACCEPTED, generation.key, fact)


def _day_of(chain: Chain) -> date:
    return _start_day(chain.generations[0])


def _start_day(generation: Generation) -> date:
    return generation.manifest.window.start.date()


def _unsealed_findings(chain: SealChain, keys: Iterable[str]) -> Iterator[Finding]:
    """Yields manifests that no seal names: mild for a day without a seal, severe for a sealed day."""
    days = chain.days
    for key in sorted(keys):
        parsed = read_manifest_key(key)
        if parsed is None:
            continue
        if parsed.day in days:
            fact = f"No seal names the manifest, but {parsed.day} is sealed."
            yield finding(FindingKind.MANIFEST_UNSEALED, key, fact)
        else:
            yield finding(FindingKind.DAY_UNSEALED, key, f"No seal names the manifest; {parsed.day} was never sealed.")


def unchanged_keys(chain: Chain, digests: Container[tuple[str, str]]) -> set[str]:
    """Returns the keys of a window's manifests that are in ``digests`` with the SHA-256 that they have."""
    return {one.key for one in chain.generations if (one.key, one.sha256) in digests}


def _accepted_by(seals: Iterable[Seal]) -> frozenset[tuple[str, str]]:
    """Returns key and SHA-256 of each manifest that a seal accepts and names."""
    accepted = ((seal, {one.key for one in seal.accepted}) for seal in seals)
    return frozenset(
        (named.key, named.sha256) for seal, keys in accepted for named in seal.manifests if named.key in keys
    )
