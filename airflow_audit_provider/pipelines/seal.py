"""Seals the manifests of a day: checks them, creates the next seal of the chain, then its signature.

Invariant: seals and signatures are created and never rewritten; manifests that fail their checks are not sealed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime

import msgspec

from airflow_audit_provider.core.archive.object_keys import (
    MANIFEST_FOLDER,
    SEAL_FOLDER,
    read_manifest_key,
    signature_key,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, severe
from airflow_audit_provider.core.verification.manifest_chain import StoredManifest, read_chain
from airflow_audit_provider.core.verification.seals import (
    Seal,
    SealChain,
    SealedManifest,
    Signer,
    as_sealed,
    sealed_findings,
)
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError
from airflow_audit_provider.pipelines.committed import read_seals

_MAX_ATTEMPTS = 5


class CreatedSeal(msgspec.Struct, frozen=True):
    """A created seal: its key, the SHA-256 of its bytes to keep outside of the store, and its totals."""

    day: date
    number: int
    key: str
    sha256: str
    manifest_count: int
    record_count: int


class SealReport(msgspec.Struct, frozen=True):
    """Result of a run: seals created, number of seals signed (older ones included), findings about the chain."""

    created: tuple[CreatedSeal, ...]
    signed_count: int
    newest_seal_sha256: str | None
    findings: tuple[Finding, ...]


def seal(
    store: Store, day: date | None = None, signer: Signer | None = None, sealed_at: datetime | None = None
) -> SealReport:
    """Seals one UTC day, or every day with unsealed manifests, and signs every unsigned seal; idempotent.

    A day without new manifests gets no new seal. Raises ``VerificationError`` for a day whose manifests are damaged or
    differ from those sealed before, and ``CommitConflictError`` if concurrent runs took the next number too often.
    """
    objects = read_seals(store)
    days = [day] if day is not None else _days_to_seal(store, SealChain(objects))
    created = [made for made in (_seal_day(store, one, sealed_at, objects) for one in days) if made is not None]
    chain = SealChain(objects)
    signed_count = _sign(store, chain, signer, {made.number for made in created}) if signer is not None else 0
    return SealReport(tuple(created), signed_count, chain.newest_sha256, tuple(chain.findings))


def _days_to_seal(store: Store, chain: SealChain) -> list[date]:
    """Returns the days with a manifest that no seal names."""
    sealed = {one.key for made in chain.seals for one in made.manifests}
    parsed = (read_manifest_key(key) for key in store.list_keys(MANIFEST_FOLDER) if key not in sealed)
    return sorted({key.day for key in parsed if key is not None})


def _seal_day(store: Store, day: date, sealed_at: datetime | None, objects: dict[str, bytes]) -> CreatedSeal | None:
    """Creates the next seal of a day if it has new manifests; adds it to ``objects``, the stored seals.

    If a concurrent run took the number, reads its seal and continues with the next number.
    """
    for _ in range(_MAX_ATTEMPTS):
        chain = SealChain(objects)
        manifests = _checked_manifests(store, day, chain)
        wanted = chain.next_seal(day, manifests, sealed_at)
        if wanted is None:
            return None
        content = wanted.to_bytes()
        store.create(wanted.key, content)
        # Read back regardless of the result: if the first response was lost, a retried create reports that the key
        # exists.
        if store.read(wanted.key) == content:
            objects[wanted.key] = content
            return _created_seal(wanted, content)
        objects.update(read_seals(store))
    raise CommitConflictError(
        f"The seal of {day} lost the race for its number {_MAX_ATTEMPTS} times to other runs. Run one seal task at a "
        "time, for example with max_active_runs=1.",
        key=SEAL_FOLDER,
    )


def _created_seal(made: Seal, content: bytes) -> CreatedSeal:
    return CreatedSeal(
        day=made.day,
        number=made.number,
        key=made.key,
        sha256=hashlib.sha256(content).hexdigest(),
        manifest_count=len(made.manifests),
        record_count=sum(one.record_count for one in made.manifests),
    )


def _checked_manifests(store: Store, day: date, chain: SealChain) -> list[SealedManifest]:
    """Returns the manifests of a day, every generation; raises ``VerificationError`` if one fails its checks."""
    prefix = f"{MANIFEST_FOLDER}dt={day.isoformat()}/"
    stored = [StoredManifest(key, store.read(key)) for key in store.list_keys(prefix) if read_manifest_key(key)]
    found, manifests = _check(stored)
    _check_no_severe(day, [*found, *_sealed_before(chain, day, manifests)])
    return [one for one in manifests.values() if one is not None]


def _check(stored: Iterable[StoredManifest]) -> tuple[list[Finding], dict[str, SealedManifest | None]]:
    by_window: dict[str, list[StoredManifest]] = defaultdict(list)
    for one in stored:
        by_window[one.key.rsplit(".g", 1)[0]].append(one)
    findings: list[Finding] = []
    manifests: dict[str, SealedManifest | None] = {}
    for of_one in by_window.values():
        chain = read_chain(of_one)
        findings += chain.findings
        manifests.update(as_sealed(of_one, chain))
    return findings, manifests


def _sealed_before(chain: SealChain, day: date, manifests: dict[str, SealedManifest | None]) -> list[Finding]:
    """Returns findings about manifests that earlier seals of the day name; unsealed manifests are expected here."""
    found = sealed_findings(chain, manifests, set(manifests))
    unsealed = {FindingKind.MANIFEST_UNSEALED, FindingKind.DAY_UNSEALED}
    sealed_keys = {one.key for one in chain.sealed_on(day)}
    return [one for one in found if one.kind not in unsealed and one.key in sealed_keys]


def _check_no_severe(day: date, findings: Sequence[Finding]) -> None:
    severe_findings = severe(findings)
    if severe_findings:
        first = severe_findings[0]
        raise VerificationError(
            f"The day {day} was not sealed: its manifests have {len(severe_findings)} severe findings. The first is "
            f"{first.kind} at {first.key}: {first.detail} Then verify the destination and seal again."
        )


def _sign(store: Store, chain: SealChain, signer: Signer, created_numbers: set[int]) -> int:
    """Signs the seals of this run, and older unsigned seals whose chain and manifests are unchanged."""
    signed_count = 0
    for one in chain.unsigned:
        if one.number in created_numbers or (not chain.findings and _is_unchanged(store, one)):
            signature = signer.sign(chain.contents[one.number]).to_bytes()
            signed_count += store.create(signature_key(one.number), signature)
    return signed_count


def _is_unchanged(store: Store, sealed: Seal) -> bool:
    """Say whether the manifests a seal names are those that lie in the store: others may write there too."""
    digests = ((one.sha256, store.read(one.key)) for one in sealed.manifests)
    return all(content is not None and hashlib.sha256(content).hexdigest() == sha256 for sha256, content in digests)
