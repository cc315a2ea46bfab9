"""Seals: what was committed on a day, chained, so that nobody can change the past unseen.

Knows: what a seal says, how seals are chained, and what breaks the chain. Must not know: stores, keys of signers, the
clock (``sealed_at`` is a parameter).
Its one rule: a seal is never rewritten; what came later is said by a later seal.

::

    seal 1 (day 1) ◄── seal 2 (day 2) ◄── seal 3 (day 1 again: a late window) ◄── …
       │                  │                  │
    manifests of day 1  of day 2         all manifests of day 1

A seal names the manifests of its day by digest, a manifest its parts by digest, a seal the seal before by digest: who
keeps the digest of the newest seal holds all of it. The model is AWS CloudTrail's digest files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

import msgspec

from airflow_audit_provider.core.archive.object_keys import (
    missing_numbers,
    read_manifest_key,
    seal_key,
    seal_number,
    signature_key,
)
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.core.verification.manifest_chain import Chain, StoredManifest


class Signature(msgspec.Struct, frozen=True):
    """A detached signature; ``key_id`` is the SHA-256 of the public key, ``signature`` is base64 in the JSON."""

    algorithm: str
    key_id: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: JSON, sorted keys, two-space indent, one line feed at the end."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=2) + b"\n"


class Signer(Protocol):
    """Signs with a private key."""

    def sign(self, content: bytes) -> Signature:
        """Return the signature over these bytes."""
        ...


class SignatureVerifier(Protocol):
    """Knows public keys."""

    def verify(self, content: bytes, signature: Signature) -> str | None:
        """Return a sentence saying why the signature over these bytes does not hold, None when it does."""
        ...


def read_signature(content: bytes) -> Signature | None:
    """Return a signature from its bytes, None when they are not the canonical bytes of one."""
    try:
        signature = msgspec.json.decode(content, type=Signature)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return signature if signature.to_bytes() == content else None


SEAL_VERSION = 1


class SealedManifest(msgspec.Struct, frozen=True, order=True):
    """A manifest as it lay in the store: key, digest of its bytes, records it counts."""

    key: str
    sha256: str
    record_count: int


class Seal(msgspec.Struct, frozen=True):
    """All manifests, every generation, whose window starts on a UTC date, sorted by key, and the seal before.

    ``number`` counts from 1 over the whole destination; ``previous_sha256`` is the digest of the bytes of the seal
    before, None for the first.
    """

    number: int
    day: date
    manifests: tuple[SealedManifest, ...]
    previous_sha256: str | None
    sealed_at: datetime | msgspec.UnsetType = msgspec.UNSET
    seal_version: int = SEAL_VERSION

    @property
    def key(self) -> str:
        """Where the seal lies."""
        return seal_key(self.number)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: JSON, sorted keys, two-space indent, one line feed at the end."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=2) + b"\n"


class SealChain:
    """The seals of a destination as they are stored, and their signatures; ``objects`` maps keys to bytes.

    ``findings`` says what is wrong with the chain itself, walked from the newest seal back to the first; ``seals`` are
    the readable ones, oldest first; ``contents`` are the bytes of every one, by number.
    """

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.findings: list[Finding] = []
        self.seals: list[Seal] = []
        self._objects = {key: content for key, content in objects.items() if seal_number(key) is not None}
        numbers = sorted({seal_number(key) or 0 for key in self._objects})
        self.last_number = numbers[-1] if numbers else 0
        for first, last in missing_numbers(numbers):
            span = f"Seal {first} is" if first == last else f"The seals {first} to {last} are"
            self.findings.append(finding(FindingKind.SEAL_MISSING, seal_key(first), f"{span} missing."))
        for number in reversed(numbers):
            self._walk(number)
        self.seals.reverse()
        self.contents = {number: self._objects[seal_key(number)] for number in numbers if self._has_seal(number)}

    @property
    def days(self) -> set[date]:
        """The days that have a seal."""
        return {seal.day for seal in self.seals}

    @property
    def newest_sha256(self) -> str | None:
        """The digest of the newest seal, None when there is none."""
        return self._digest_of(max(self.contents, default=0))

    @property
    def unsigned(self) -> list[Seal]:
        """The readable seals without a signature, oldest first."""
        return [seal for seal in self.seals if self.signature(seal.number) is None]

    def signature(self, number: int) -> bytes | None:
        """Return the bytes of a seal's signature, None when it has none."""
        return self._objects.get(signature_key(number))

    def sealed_on(self, day: date) -> set[SealedManifest]:
        """Return everything that seals of a day name."""
        return {named for seal in self.seals if seal.day == day for named in seal.manifests}

    def next_seal(
        self, day: date, manifests: Sequence[SealedManifest], sealed_at: datetime | None = None
    ) -> Seal | None:
        """Return the seal to create for a day, None when nothing is new on it since it was sealed last."""
        if set(manifests) <= self.sealed_on(day):
            return None
        return Seal(
            number=self.last_number + 1,
            day=day,
            manifests=tuple(sorted(manifests)),
            previous_sha256=self._digest_of(self.last_number),
            sealed_at=sealed_at or msgspec.UNSET,
        )

    def expected_seal_findings(self, expected_sha256: str) -> Iterator[Finding]:
        """Look for the seal whose digest was kept elsewhere; seals after it are fine."""
        if expected_sha256.lower() not in {hashlib.sha256(content).hexdigest() for content in self.contents.values()}:
            fact = f"No seal has the digest {expected_sha256}."
            yield finding(FindingKind.SEAL_NOT_FOUND, seal_key(self.last_number or 1), fact)

    def signature_findings(self, verifier: SignatureVerifier | None) -> Iterator[Finding]:
        """Check every signature; without a verifier only their shape, and that they are not a few of many."""
        for number, content in self.contents.items():
            stored = self.signature(number)
            if stored is None:
                yield from self._unsigned(number, verifier)
                continue
            signature = read_signature(stored)
            if signature is None:
                fact = "The bytes are not those of a signature this provider writes."
                yield finding(FindingKind.SIGNATURE_INVALID, signature_key(number), fact)
            elif verifier is None:
                fact = "The signature was not checked."
                yield finding(FindingKind.SIGNATURE_UNCHECKED, signature_key(number), fact)
            elif objection := verifier.verify(content, signature):
                yield finding(FindingKind.SIGNATURE_INVALID, signature_key(number), objection)

    def _unsigned(self, number: int, verifier: SignatureVerifier | None) -> Iterator[Finding]:
        others_are_signed = any(self.signature(other) is not None for other in self.contents)
        if verifier is not None or others_are_signed:
            yield finding(FindingKind.SIGNATURE_MISSING, seal_key(number), f"Seal {number} is not signed.")

    def _walk(self, number: int) -> None:
        key = seal_key(number)
        content = self._objects.get(key)
        if content is None:
            fact = f"The signature of seal {number} is there and the seal is not."
            self.findings.append(finding(FindingKind.SIGNATURE_ORPHANED, signature_key(number), fact))
            return
        seal = _read_seal(content)
        if isinstance(seal, str):
            self.findings.append(finding(FindingKind.SEAL_UNREADABLE, key, seal))
            return
        self.seals.append(seal)
        self.findings += self._link_findings(number, seal)

    def _link_findings(self, number: int, seal: Seal) -> Iterator[Finding]:
        key = seal_key(number)
        if seal.number != number:
            yield finding(
                FindingKind.SEAL_MISPLACED, key, f"The seal says it has number {seal.number}, unlike its key."
            )
        before = self._digest_of(number - 1)
        is_first_or_follows = number == 1 or before is not None
        if is_first_or_follows and seal.previous_sha256 != before:
            fact = f"Seal {number} names a seal before it with other bytes than {_before(number)}."
            yield finding(FindingKind.SEAL_UNCHAINED, key, fact)
        for named in seal.manifests:
            parsed = read_manifest_key(named.key)
            if parsed is None or parsed.day != seal.day:
                fact = f"The seal of {seal.day} names {named.key}, which is no manifest of that day."
                yield finding(FindingKind.SEAL_MISPLACED, key, fact)

    def _has_seal(self, number: int) -> bool:
        return seal_key(number) in self._objects

    def _digest_of(self, number: int) -> str | None:
        content = self._objects.get(seal_key(number)) if number else None
        return None if content is None else hashlib.sha256(content).hexdigest()


def _before(number: int) -> str:
    return "none, though it is the first" if number == 1 else f"{seal_key(number - 1)} has"


def _read_seal(content: bytes) -> Seal | str:
    """Return a seal from its bytes, or the sentence that says why it is none."""
    try:
        seal = msgspec.json.decode(content, type=Seal)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return f"The seal cannot be read ({error})."
    if seal.seal_version != SEAL_VERSION:
        return f"The seal has version {seal.seal_version}, which this version of the provider does not know."
    if [one.key for one in seal.manifests] != sorted({one.key for one in seal.manifests}):
        return "The seal does not name each of its manifests once and in order."
    return seal if seal.to_bytes() == content else "The seal's bytes are not the ones this provider writes."


def as_sealed(stored: Iterable[StoredManifest], chain: Chain) -> dict[str, SealedManifest | None]:
    """Return the manifests of a window as a seal names them; None for one that was listed and is gone."""
    counts = {one.key: one.manifest.record_count for one in chain.generations}
    return {
        one.key: None
        if one.content is None
        else SealedManifest(one.key, hashlib.sha256(one.content).hexdigest(), counts.get(one.key, 0))
        for one in stored
    }


def sealed_findings(
    chain: SealChain, stored: Mapping[str, SealedManifest | None], listed: set[str]
) -> Iterator[Finding]:
    """Compare what seals name with the manifests.

    ``stored`` has, as a seal would name it, every manifest that was read (None: gone while reading); ``listed`` are
    the keys of all. A manifest that is listed and was not read is taken to be as it was sealed.
    """
    named = {one for seal in chain.seals for one in seal.manifests}
    for one in sorted(named):
        if one.key not in listed or (one.key in stored and stored[one.key] is None):
            fact = "The manifest was sealed and is not there."
            yield finding(FindingKind.SEALED_MANIFEST_MISSING, one.key, fact)
        elif stored.get(one.key, one) != one:
            fact = "The manifest is not the one that was sealed."
            yield finding(FindingKind.SEALED_MANIFEST_CHANGED, one.key, fact)
    if chain.last_number:
        yield from _unsealed_findings(chain, set(stored) - {one.key for one in named})


def _unsealed_findings(chain: SealChain, keys: Iterable[str]) -> Iterator[Finding]:
    """Where there are seals, name what came after them: new days mildly, news on a sealed day severely."""
    for key in sorted(keys):
        parsed = read_manifest_key(key)
        if parsed is None:
            continue
        if parsed.day in chain.days:
            fact = f"The manifest is in no seal, and {parsed.day} was sealed."
            yield finding(FindingKind.MANIFEST_UNSEALED, key, fact)
        else:
            yield finding(FindingKind.DAY_UNSEALED, key, f"The manifest is in no seal; {parsed.day} was never sealed.")
