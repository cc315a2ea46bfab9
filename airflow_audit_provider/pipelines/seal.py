"""Seals the manifests of a day: checks them and their parts, creates a seal, then its signature and time stamp.

An index of the seals is written last, and read instead of them by the next runs; see ``core/verification/seal_index``.
The manifests that were read go into the index of manifests; see ``core/verification/manifest_index``.

Invariant: seals, signatures and time stamps are created and never rewritten; a day that fails its checks is not sealed,
and a seal that fails them is not signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable
from datetime import date, datetime
from itertools import groupby
from typing import TypedDict, Unpack

import msgspec

from airflow_audit_provider.core.archive.object_keys import (
    MANIFEST_FOLDER,
    SEAL_FOLDER,
    read_manifest_key,
    seal_number,
    signature_key,
    timestamp_key,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.envelopes import Signer
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.core.verification.replacements import AcceptedReplacement
from airflow_audit_provider.core.verification.seal_content import Seal
from airflow_audit_provider.core.verification.seals import SealChain, invalid_signatures
from airflow_audit_provider.core.verification.timestamps import Timestamper, invalid_timestamps, unstamped
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError
from airflow_audit_provider.pipelines.manifest_index import add_to_index
from airflow_audit_provider.pipelines.seal_checks import (
    NOTHING_ACCEPTED,
    Acceptance,
    check_acceptance,
    check_day,
    check_no_severe,
    manifest_keys_of,
)
from airflow_audit_provider.pipelines.seal_objects import (
    SealObjects,
    read_chain_by_index,
    read_seals,
    read_whole_chain,
    write_newer_index,
)

_MAX_ATTEMPTS = 5


class CreatedSeal(msgspec.Struct, frozen=True):
    """A created seal: its key, the SHA-256 of its bytes to keep outside of the store, and its totals.

    ``replacements`` are the replacements that it accepts.
    """

    day: date
    number: int
    key: str
    sha256: str
    manifest_count: int
    record_count: int
    replacements: tuple[AcceptedReplacement, ...] = ()


class SealReport(msgspec.Struct, frozen=True):
    """Result of a run: seals created, number of seals signed and time-stamped (older ones included), findings."""

    created: tuple[CreatedSeal, ...]
    signed_count: int
    newest_seal_sha256: str | None
    findings: tuple[Finding, ...]
    timestamped_count: int = 0


class SealOptions(TypedDict, total=False):
    """What a caller of ``seal`` may give beside the store, the day and the signer.

    ``sealed_at`` is a time that the seals state; ``acceptance`` names the replacements that the caller accepts;
    ``timestamper`` asks an authority for a time stamp of each seal; ``expected_seal_sha256`` is the digest of the
    newest seal as the run before reported it, or of an older one, kept outside of the store.
    """

    sealed_at: datetime | None
    acceptance: Acceptance
    timestamper: Timestamper | None
    expected_seal_sha256: str | None


def seal(
    store: Store, day: date | None = None, signer: Signer | None = None, **options: Unpack[SealOptions]
) -> SealReport:
    """Seals one UTC day, or every day with unsealed manifests, and signs every unsigned seal; idempotent.

    A day without new manifests gets no new seal. Raises ``VerificationError`` for a day that fails a check, after the
    other days were sealed and signed: a manifest or part is damaged, something sealed is missing or changed, or a
    generation replaces an earlier one on a sealed day and ``acceptance`` does not name it. With a ``signer``, also if a
    seal of the day is neither signed nor fit to be signed, and with a broken chain for a day that may have been sealed
    (see ``SealChain.findings_against``). Raises ``CommitConflictError`` if concurrent runs took the
    next number too often, and ``TimestampUnavailableError`` after everything is sealed and signed.

    With ``expected_seal_sha256``, it raises ``VerificationError`` and writes nothing if the chain does not contain this
    seal: somebody who cut the chain or began it anew would otherwise get a signature upon it.

    The findings of the report are what is wrong with the chain, and each stored signature or time stamp that the signer
    or the authority did not make: it stays in the place of the right one, because no object is overwritten.
    """
    acceptance = options.get("acceptance", NOTHING_ACCEPTED)
    check_acceptance(store, acceptance)
    timestamper = options.get("timestamper")
    sealed = _read_chain(store, () if day is None else (day,), signer, timestamper)
    run = _SealRun(store, sealed, acceptance, options.get("sealed_at"), signer)
    run.check_expected(options.get("expected_seal_sha256"))
    refused = run.seal_days([day] if day is not None else run.days_to_seal())
    chain = run.chain
    found = invalid_signatures(chain, signer.verifier if signer is not None else None)
    signed_count = _sign(run, chain, signer, found) if signer is not None else 0
    stamped_count = _stamp(run, chain, timestamper, found) if timestamper is not None else 0
    if not found:
        run.index_findings += write_newer_index(store, run.sealed, chain, run.added)
    if refused:
        raise refused[0]
    findings = (*chain.findings, *run.sealed.findings, *found, *run.index_findings)
    return SealReport(tuple(run.created), signed_count, chain.newest_sha256, findings, stamped_count)


def _read_chain(
    store: Store, days: Container[date], signer: Signer | None, timestamper: Timestamper | None
) -> SealObjects:
    """Returns the chain, by its index only if nothing in it looks wrong: else each object is read itself."""
    sealed = read_chain_by_index(store, days, sign=None if signer is None else lambda one: signer.sign(one).to_bytes())
    chain, verifier = sealed.chain, signer.verifier if signer is not None else None
    if sealed.index_number and (
        chain.findings
        or invalid_signatures(chain, verifier)
        or (timestamper is not None and invalid_timestamps(chain, timestamper))
    ):
        return read_whole_chain(store)
    return sealed


class _SealRun:
    """One run: the chain of stored seals, to which it adds those that it creates.

    ``added`` are the signatures and time stamps that it creates, by key.
    """

    def __init__(
        self,
        store: Store,
        sealed: SealObjects,
        acceptance: Acceptance,
        sealed_at: datetime | None,
        signer: Signer | None,
    ) -> None:
        self.store = store
        self.acceptance = acceptance
        self.sealed = sealed
        self.chain = sealed.chain
        self.added: dict[str, bytes] = {}
        self.created: list[CreatedSeal] = []
        self.index_findings: list[Finding] = []
        self._read: dict[str, bytes] = {}
        self._sealed_at = sealed_at
        self._signer = signer

    def check_expected(self, expected_sha256: str | None) -> None:
        """Raises ``VerificationError`` if the stored chain does not contain the seal with this digest."""
        if expected_sha256 and not self.chain.contains(expected_sha256):
            raise VerificationError(
                f"No seal of the destination has the expected digest {expected_sha256}, so nothing was sealed. Check "
                "that you gave the digest that you kept. If you did, seals were removed or written again: restore them "
                "from a copy, then seal again."
            )

    def days_to_seal(self) -> list[date]:
        """Returns the days with a manifest that no seal names."""
        sealed = self.chain.first_named
        parsed = (read_manifest_key(key) for key in self.store.list_keys(MANIFEST_FOLDER) if key not in sealed)
        return sorted({key.day for key in parsed if key is not None})

    def may_have_been_sealed_at(self, unsigned: Seal) -> bool:
        """Returns whether an earlier run may have stated the time of a seal, if it states one.

        A run that states no time, such as one of the operator or the command, assumes that earlier runs stated none.
        Otherwise the key would vouch for a time that anybody may have written. For the same reason, a stated time is
        neither before the end of a window that the seal names, nor before the time that an earlier seal states.
        """
        if not unsigned.sealed_at:
            return True
        if self._sealed_at is None or unsigned.sealed_at > self._sealed_at:
            return False
        named = filter(None, (read_manifest_key(one.key) for one in unsigned.manifests))
        earliest = [key.window.end for key in named]
        earliest += [one.sealed_at for one in self.chain.seals if one.sealed_at and one.number < unsigned.number]
        return unsigned.sealed_at >= max(earliest, default=unsigned.sealed_at)

    def seal_days(self, days: Iterable[date]) -> list[VerificationError]:
        """Seals every day that passes its checks; returns the errors of the others."""
        refused = []
        for _, of_month in groupby(days, key=lambda day: (day.year, day.month)):
            for day in of_month:
                try:
                    made = self._seal_day(day)
                except VerificationError as error:
                    refused.append(error)
                    continue
                self.created += [made] if made else []
            # A month is what an index holds, and what is in memory.
            self.index_findings += add_to_index(self.store, self._read)
            self._read.clear()
        return refused

    def _seal_day(self, day: date) -> CreatedSeal | None:
        """Creates the next seal of a day if it has new manifests.

        If a concurrent run took the number, reads its seal and continues with the next number.
        """
        for _ in range(_MAX_ATTEMPTS):
            chain, listed = self.chain, manifest_keys_of(self.store, day)
            checked = check_day(self.store, day, listed, chain.day_before(day), self.acceptance)
            wanted = chain.next_seal(day, checked.manifests, self._sealed_at, checked.accepted)
            if wanted is None:
                return None
            check_no_severe(day, chain.findings_against(day))
            self._check_sealed_by_owner(chain, day)
            # A generation that was committed during the checks may be about to remove the parts that it replaces.
            if manifest_keys_of(self.store, day) == listed and self._create(wanted):
                self._read.update(checked.contents)
                return _created_seal(wanted, wanted.to_bytes())
            self.chain = SealChain({**chain.objects, **read_seals(self.store)})
        raise CommitConflictError(
            f"The seal of {day} lost the race for its number {_MAX_ATTEMPTS} times to other runs. Run one seal task at "
            "a time, for example with max_active_runs=1.",
            key=SEAL_FOLDER,
        )

    def _check_sealed_by_owner(self, chain: SealChain, day: date) -> None:
        """Raises ``VerificationError`` for a seal of the day that a run with the signing key would not have made.

        What such a seal names counts as sealed and accepted, and anyone who can write to the store can add one.
        """
        if self._signer is not None:
            found = [*chain.untrusted_signatures(day, self._signer.verifier)]
            unsigned = [one for one in chain.seals_of(day) if chain.signature(one.number) is None]
            found += _unfit_seals(self, chain, unsigned)
            check_no_severe(day, found)

    def _create(self, wanted: Seal) -> bool:
        """Creates a seal; returns whether the store has its bytes."""
        content = wanted.to_bytes()
        # If the first response was lost, a retried create reports that the key exists, so the seal is read back. A
        # create that succeeded is not: the pulls of the destination have shown that it has conditional writes.
        if not self.store.create(wanted.key, content) and self.store.read(wanted.key) != content:
            return False
        self.chain = self.chain.extend(wanted, content)
        return True


def _created_seal(made: Seal, content: bytes) -> CreatedSeal:
    return CreatedSeal(
        day=made.day,
        number=made.number,
        key=made.key,
        sha256=hashlib.sha256(content).hexdigest(),
        manifest_count=len(made.manifests),
        record_count=sum(one.record_count for one in made.manifests),
        replacements=made.accepted,
    )


def _sign(run: _SealRun, chain: SealChain, signer: Signer, found: list[Finding]) -> int:
    """Signs the seals of this run, and older unsigned seals that this run would make the same way.

    Others may write to the store, so an older seal is checked like a new one: its chain, its manifests, their parts,
    and that the caller accepts the replacements in it. Adds a finding to ``found`` for each seal that is refused.
    """
    created_numbers = {made.number for made in run.created}
    unfit = _unfit_seals(run, chain, [one for one in chain.unsigned if one.number not in created_numbers])
    unfit_keys = {one.key for one in unfit}
    found += unfit
    signed_count = 0
    for one in chain.unsigned:
        if one.key in unfit_keys:
            continue
        key, content = signature_key(one.number), signer.sign(chain.contents[one.number]).to_bytes()
        if run.store.create(key, content):
            run.added[key] = content
            signed_count += 1
        elif run.store.read(key) != content:
            found.append(finding(FindingKind.SIGNATURE_INVALID, key, _OCCUPIED))
    return signed_count


_OCCUPIED = "Another object was written in its place while the seal was made."


def _unfit_seals(run: _SealRun, chain: SealChain, unsigned: Iterable[Seal]) -> list[Finding]:
    """Returns a finding for each older unsigned seal that may not be signed."""
    reasons = {one: _reason_not_to_sign(run, chain, one) for one in unsigned}
    return [
        finding(FindingKind.SIGNATURE_MISSING, one.key, f"Seal {one.number} was not signed. {reason}")
        for one, reason in reasons.items()
        if reason is not None
    ]


def _stamp(run: _SealRun, chain: SealChain, timestamper: Timestamper, found: list[Finding]) -> int:
    """Stamps every seal after the newest one with a time stamp that counts, but none with a finding; returns how many.

    Adds a finding to ``found`` for each stored time stamp that does not count.
    """
    unfit_numbers = {seal_number(one.key) for one in found}
    invalid = invalid_timestamps(chain, timestamper)
    found += invalid
    stamped_count = 0
    for one in unstamped(chain, {one.key for one in invalid}):
        # A time stamp that does not count cannot be overwritten; that of a later seal also proves this one.
        if one.number in unfit_numbers or chain.timestamp(one.number) is not None:
            continue
        key, content = timestamp_key(one.number), chain.contents[one.number]
        response = timestamper.stamp(content)
        if run.store.create(key, response):
            run.added[key] = response
            stamped_count += 1
        elif timestamper.check(content, run.store.read(key) or b"") is not None:
            found.append(finding(FindingKind.TIMESTAMP_INVALID, key, _OCCUPIED))
    return stamped_count


def _reason_not_to_sign(run: _SealRun, chain: SealChain, unsigned: Seal) -> str | None:
    """Returns why an older seal is not signed, None if it may be."""
    if chain.findings:
        return "The chain of seals is broken."
    if not run.may_have_been_sealed_at(unsigned):
        return (
            "It states a time, and this run states none; or its time is later than that of this run, or earlier than "
            "the end of a window that it names or than the time of an earlier seal."
        )
    keys = {one.key for one in unsigned.manifests}
    earlier = chain.day_before(unsigned.day, unsigned.number)
    try:
        listed = manifest_keys_of(run.store, unsigned.day)
        checked = check_day(run.store, unsigned.day, listed, earlier, run.acceptance, keys)
    except VerificationError as error:
        return error.message
    if (checked.manifests, checked.accepted) != (unsigned.manifests, unsigned.accepted):
        return "It differs from what the store holds now, or from the replacements that this run accepts."
    return None
