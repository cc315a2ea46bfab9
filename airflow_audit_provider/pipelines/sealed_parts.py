"""Protects the parts that a seal covers from every removal: what is sealed is kept.

Invariant: a part that a sealed manifest in force named is removed only if a manifest of its window lists it as erased,
and only by the run that erases it or after a seal accepted the erasure.
"""

from __future__ import annotations

from collections.abc import Collection
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
        seal accepts that manifest: anyone who can write to the store can write a manifest. Reads the seals only if a
        manifest names one of the parts. If a seal or a sealed manifest cannot be read, what it covers is unknown.
        """
        if not parts:
            return []
        listed = [key for key in self._store.list_keys(keys.manifest_prefix) if keys.generation_of(key) is not None]
        chain = read_chain([StoredManifest(key, self._store.read(key)) for key in listed])
        named = {part.key for one in chain.generations for part in one.manifest.parts}
        is_readable = len(chain.generations) == len(listed) > 0
        if is_readable and named.isdisjoint(parts):
            return sorted(parts)
        erased = erased_parts(chain, None if is_erasing else self._seals.accepted_keys)
        covered = {key for key in self._seals.covered_keys if keys.generation_of(key) is not None}
        if self._seals.findings or not covered <= {one.key for one in chain.generations}:
            return sorted(set(erased).intersection(parts))
        return sorted(set(parts) - set(parts_in_force(chain, covered, erased)))

    @cached_property
    def _seals(self) -> SealChain:
        return SealChain(read_seals(self._store))
