"""The use case of sealing: what was committed on a day is written down once more, chained, and signed.

Knows: the order of the steps. Must not know: Airflow, a store's kind, a key's kind.
Its one rule: seals and signatures are only ever created; what cannot be verified is not sealed.

::

    seal     manifests of a day → judged → the next seal, created → its signature, created
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

_MOST_TRIES = 5


class CreatedSeal(msgspec.Struct, frozen=True):
    """A seal that was created: its key, the digest of its bytes to keep elsewhere, and what it names."""

    day: date
    number: int
    key: str
    sha256: str
    manifest_count: int
    record_count: int


class SealReport(msgspec.Struct, frozen=True):
    """What one sealing run did: seals created, seals signed (older ones too), and what is wrong with the chain."""

    created: tuple[CreatedSeal, ...]
    signed_count: int
    newest_seal_sha256: str | None
    findings: tuple[Finding, ...]


def seal(
    store: Store, day: date | None = None, signer: Signer | None = None, sealed_at: datetime | None = None
) -> SealReport:
    """Seal one UTC day, or every day with something new; sign every seal that is not signed yet. Idempotent.

    A day with nothing new gets no new seal. Raises ``VerificationError`` for a day whose manifests are damaged, or are
    not the ones sealed before, and ``CommitConflictError`` when other sealers are always faster.
    """
    objects = read_seals(store)
    days = [day] if day is not None else _days_to_seal(store, SealChain(objects))
    created = [made for made in (_seal_day(store, one, sealed_at, objects) for one in days) if made is not None]
    chain = SealChain(objects)
    signed_count = _sign(store, chain, signer, {made.number for made in created}) if signer is not None else 0
    return SealReport(tuple(created), signed_count, chain.newest_sha256, tuple(chain.findings))


def _days_to_seal(store: Store, chain: SealChain) -> list[date]:
    """Return the days that have a manifest no seal names."""
    sealed = {one.key for made in chain.seals for one in made.manifests}
    parsed = (read_manifest_key(key) for key in store.list_keys(MANIFEST_FOLDER) if key not in sealed)
    return sorted({key.day for key in parsed if key is not None})


def _seal_day(store: Store, day: date, sealed_at: datetime | None, objects: dict[str, bytes]) -> CreatedSeal | None:
    """Create the next seal of a day unless nothing is new; ``objects`` are the seals, which it is added to.

    A number that another sealer took is left to it, and the next one tried behind what it wrote.
    """
    for _ in range(_MOST_TRIES):
        chain = SealChain(objects)
        manifests = _judged_manifests(store, day, chain)
        wanted = chain.next_seal(day, manifests, sealed_at)
        if wanted is None:
            return None
        content = wanted.to_bytes()
        store.create(wanted.key, content)
        # Read, whatever the answer was: a store whose first answer got lost says that the seal was there before.
        if store.read(wanted.key) == content:
            objects[wanted.key] = content
            return _described(wanted, content)
        objects.update(read_seals(store))
    raise CommitConflictError(
        f"Other runs took the number of the seal of {day} {_MOST_TRIES} times. Run one sealing at a time.",
        key=SEAL_FOLDER,
    )


def _described(made: Seal, content: bytes) -> CreatedSeal:
    return CreatedSeal(
        day=made.day,
        number=made.number,
        key=made.key,
        sha256=hashlib.sha256(content).hexdigest(),
        manifest_count=len(made.manifests),
        record_count=sum(one.record_count for one in made.manifests),
    )


def _judged_manifests(store: Store, day: date, chain: SealChain) -> list[SealedManifest]:
    """Return the manifests of a day, every generation; raise when they are not fit to be sealed."""
    prefix = f"{MANIFEST_FOLDER}dt={day.isoformat()}/"
    stored = [StoredManifest(key, store.read(key)) for key in store.list_keys(prefix) if read_manifest_key(key)]
    found, manifests = _judge(stored)
    _refuse(day, [*found, *_sealed_before(chain, day, manifests)])
    return [one for one in manifests.values() if one is not None]


def _judge(stored: Iterable[StoredManifest]) -> tuple[list[Finding], dict[str, SealedManifest | None]]:
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
    """Return what earlier seals of the day object to; that something is new is what sealing is for."""
    found = sealed_findings(chain, manifests, set(manifests))
    news = {FindingKind.MANIFEST_UNSEALED, FindingKind.DAY_UNSEALED}
    ours = {one.key for one in chain.sealed_on(day)}
    return [one for one in found if one.kind not in news and one.key in ours]


def _refuse(day: date, findings: Sequence[Finding]) -> None:
    grave = severe(findings)
    if grave:
        raise VerificationError(
            f"The day {day} was not sealed, because {len(grave)} things are wrong with its manifests, first of them "
            f"{grave[0].key}: {grave[0].detail} Then verify the destination and seal again."
        )


def _sign(store: Store, chain: SealChain, signer: Signer, own_numbers: set[int]) -> int:
    """Sign what this run sealed, and what an earlier one left unsigned if everything it stands on still holds."""
    signed_count = 0
    for one in chain.unsigned:
        if one.number in own_numbers or (not chain.findings and _still_holds(store, one)):
            signature = signer.sign(chain.contents[one.number]).to_bytes()
            signed_count += store.create(signature_key(one.number), signature)
    return signed_count


def _still_holds(store: Store, sealed: Seal) -> bool:
    """Say whether the manifests a seal names are those that lie in the store: others may write there too."""
    digests = ((one.sha256, store.read(one.key)) for one in sealed.manifests)
    return all(content is not None and hashlib.sha256(content).hexdigest() == sha256 for sha256, content in digests)
