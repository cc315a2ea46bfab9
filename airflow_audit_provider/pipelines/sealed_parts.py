"""Protects the parts that a seal covers from every removal: what is sealed is kept.

Invariant: a part that a sealed manifest in force named is removed only if a manifest of its window lists it as erased,
and only by the run that erases it or after a seal accepted the erasure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from functools import cached_property

from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.manifest_chain import StoredManifest, read_chain
from airflow_audit_provider.core.verification.replacements import erased_parts, parts_in_force
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.pipelines.committed import read_seals


class SealedParts:
    """The parts of a destination that its seals cover; the seals are read at the first need and then kept."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def removable(self, keys: WindowKeys, parts: Collection[str], *, is_erasing: bool = False) -> list[str]:
        """Returns those of a window's replaced or orphaned parts that may be removed.

        A covered part may go only if a manifest lists it as erased, and either this run erases (``is_erasing``) or a
        seal accepts that manifest with its bytes: anyone who can write to the store can write a manifest. If a seal,
        or a manifest that a seal names, is missing, changed or cannot be read, what it covers is unknown, and nothing
        else may go.
        """
        if not parts:
            return []
        listed = [key for key in self._store.list_keys(keys.manifest_prefix) if keys.generation_of(key) is not None]
        stored = [StoredManifest(key, self._store.read(key)) for key in listed]
        chain = read_chain(stored)
        erased = erased_parts(chain, None if is_erasing else self._seals.unchanged(chain, self._seals.accepted_keys))
        if self._seals.findings or not self._are_as_sealed(keys, stored) or len(chain.generations) < len(listed):
            return sorted(set(erased).intersection(parts))
        covered = {key for key in self._seals.covered_keys if keys.generation_of(key) is not None}
        return sorted(set(parts) - set(parts_in_force(chain, covered, erased)))

    def _are_as_sealed(self, keys: WindowKeys, stored: Iterable[StoredManifest]) -> bool:
        """Returns whether the window has every manifest that a seal names of it, with the sealed bytes."""
        digests = {one.key: hashlib.sha256(one.content).hexdigest() for one in stored if one.content is not None}
        named = (one for seal in self._seals.seals for one in seal.manifests)
        return all(digests.get(one.key) == one.sha256 for one in named if keys.generation_of(one.key) is not None)

    @cached_property
    def _seals(self) -> SealChain:
        return SealChain(read_seals(self._store))
