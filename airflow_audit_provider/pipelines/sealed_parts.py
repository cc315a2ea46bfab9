"""Protects the parts that a seal covers from every removal: what is sealed is kept.

Invariant: a part that a sealed manifest in force named is removed only if a manifest of its window lists it as erased,
and only by the run that erases it or after a seal of the owner accepted the erasure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from functools import cached_property

from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.envelopes import SignatureVerifier
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.core.verification.manifest_chain import Chain, StoredManifest, read_chain
from airflow_audit_provider.core.verification.replacements import erased_parts, parts_in_force
from airflow_audit_provider.core.verification.seals import SealChain, unchanged_keys
from airflow_audit_provider.pipelines.observer import KeptPart, KeptReason
from airflow_audit_provider.pipelines.seal_objects import read_seals


class SealedParts:
    """The parts of a destination that its seals cover; the seals are read at the first need and then kept.

    ``verifier`` verifies their signatures. ``kept`` are the parts that no manifest in force names, and that are kept
    because of the seals.
    """

    def __init__(self, store: Store, verifier: SignatureVerifier | None = None) -> None:
        self.kept: list[KeptPart] = []
        self._store = store
        self._verifier = verifier

    def removable(self, keys: WindowKeys, parts: Collection[str], *, is_erasing: bool = False) -> list[str]:
        """Returns those of a window's replaced or orphaned parts that may be removed.

        A covered part may go only if a manifest lists it as erased, and either this run erases (``is_erasing``) or a
        seal of the owner accepts that manifest with its bytes (see ``SealChain.acceptances``): anyone who can write
        to the store can write a manifest, and a seal. If a seal, or a manifest that a seal names, is missing, changed
        or cannot be read, or a seal is not signed as it should be, or there is no seal for the verifier, what the seals
        cover is unknown, and nothing else may go.
        """
        if not parts:
            return []
        listed = [key for key in self._store.list_keys(keys.manifest_prefix) if keys.generation_of(key) is not None]
        stored = [StoredManifest(key, self._store.read(key)) for key in listed]
        chain = read_chain(stored)
        erased = erased_parts(chain, None if is_erasing else unchanged_keys(chain, self._acceptances))
        if self._is_broken or not self._are_as_sealed(keys, stored) or len(chain.generations) < len(listed):
            # A part that another generation names with the key of an erased one is not the erased one.
            named = parts_in_force(chain, [one.key for one in chain.generations], erased)
            unknown = set(parts) - (set(erased) - set(named))
            self._note(unknown, self._unknown_reason)
            return sorted(set(parts) - unknown)
        covered = {key for key in self._seals.covered_keys if keys.generation_of(key) is not None}
        protected = set(parts_in_force(chain, covered, erased)).intersection(parts)
        self._note(protected.intersection(self._unproved_erasures(chain)), KeptReason.NO_PUBLIC_KEY)
        return sorted(set(parts) - protected)

    def _note(self, kept: Collection[str], reason: KeptReason) -> None:
        self.kept += [KeptPart(key, reason) for key in sorted(kept)]

    def _unproved_erasures(self, chain: Chain) -> Collection[str]:
        """Returns the parts of a window whose erasure any seal accepts, also a forged one."""
        return erased_parts(chain, unchanged_keys(chain, self._seals.stated_acceptances))

    def _are_as_sealed(self, keys: WindowKeys, stored: Iterable[StoredManifest]) -> bool:
        """Returns whether the window has every manifest that a seal names of it, with the sealed bytes."""
        digests = {one.key: hashlib.sha256(one.content).hexdigest() for one in stored if one.content is not None}
        named = (one for seal in self._seals.seals for one in seal.manifests)
        return all(digests.get(one.key) == one.sha256 for one in named if keys.generation_of(one.key) is not None)

    @cached_property
    def _seals(self) -> SealChain:
        return SealChain(read_seals(self._store))

    @cached_property
    def _is_broken(self) -> bool:
        """Whether a seal is missing, cannot be read, or is not signed as the others or the verifier's key require.

        With a verifier there has to be a seal: without one, it looks as if nothing was ever sealed.
        """
        is_gone = self._verifier is not None and not self._seals.contents
        return is_gone or bool(self._seals.findings or severe(self._seals.signature_findings(self._verifier)))

    @cached_property
    def _acceptances(self) -> frozenset[tuple[str, str]]:
        return self._seals.acceptances(self._verifier)

    @property
    def _unknown_reason(self) -> KeptReason:
        is_sealed = self._verifier is None or bool(self._seals.contents)
        return KeptReason.UNKNOWN_SEALS if is_sealed else KeptReason.NO_SEAL
