"""Reads the objects among the seals: each one itself, or the older ones from their index.

Invariant: a seal that comes from an index has its digest in a seal that was read itself, or in a chain up to it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from datetime import date
from typing import NamedTuple

from airflow_audit_provider.core.archive.object_keys import (
    SEAL_FOLDER,
    seal_index_key,
    seal_index_number,
    seal_key,
    seal_number,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import Finding
from airflow_audit_provider.core.verification.seal_content import NO_FAR_SEALS, FarSeals
from airflow_audit_provider.core.verification.seal_index import (
    MOST_UNINDEXED,
    differing_copies,
    newest_index,
    usable_index,
    write_index,
)
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.pipelines.side_by_side import read_each


class SealObjects(NamedTuple):
    """Chain of the stored seals, the sizes of the objects listed among them, and findings about an index.

    ``index_number`` is the newest seal that came from an index, 0 without one.
    """

    chain: SealChain
    sizes: Mapping[str, int]
    findings: tuple[Finding, ...] = ()
    index_number: int = 0


def read_seals(store: Store, listed: Iterable[str] | None = None) -> dict[str, bytes]:
    """Returns every seal, signature and time stamp, by key, each read itself; other objects are not read.

    ``listed`` are the keys of their folder, if they were listed already.
    """
    keys = store.list_keys(SEAL_FOLDER) if listed is None else listed
    contents = read_each(store, [key for key in keys if seal_number(key) is not None])
    return {key: content for key, content in contents if content is not None}


def read_whole_chain(store: Store) -> SealObjects:
    """Returns the chain with each object read itself, and compares the newest index with it."""
    sizes = dict(store.list_sizes(SEAL_FOLDER))
    objects = read_seals(store, sizes)
    key = newest_index(sizes)
    if key is None:
        return SealObjects(SealChain(objects), sizes)
    index = usable_index(key, store.read(key), sizes, objects.get(_proving_key(key, sizes)))
    findings = index.findings or differing_copies(index.copies, key, objects)
    return SealObjects(SealChain(objects), sizes, findings)


def read_chain_by_index(store: Store, days: Container[date] = (), near: Container[date] | None = None) -> SealObjects:
    """Returns the chain from its index and the objects after it; without a usable index, each object is read itself.

    The objects of seals of these ``days`` are read themselves, too; if one differs from its copy, every object is.
    With ``near``, copied seals that have nothing to do with these days name no manifest.
    """
    sizes = dict(store.list_sizes(SEAL_FOLDER))
    key = newest_index(sizes)
    if key is None:
        return SealObjects(SealChain(read_seals(store, sizes)), sizes)
    proving = _proving_key(key, sizes)
    (_, content), (_, newest) = read_each(store, [key, proving])
    index = usable_index(key, content, sizes, newest)
    known = {**index.copies, **({} if newest is None else {proving: newest})}
    far = NO_FAR_SEALS if near is None else FarSeals({*index.copies} - {proving}, near)
    chain = SealChain(known | read_seals(store, [one for one in sizes if one not in known]), far)
    numbers = {seal.number for seal in chain.seals if seal.day in days}
    asked = [copied for copied in index.copies if seal_number(copied) in numbers and copied != proving]
    differing = differing_copies({one: index.copies[one] for one in asked}, key, read_seals(store, asked))
    if differing:
        return SealObjects(SealChain(read_seals(store, sizes)), sizes, differing)
    return SealObjects(chain, sizes, index.findings, index.number)


def write_newer_index(store: Store, sealed: SealObjects, chain: SealChain, added: Mapping[str, bytes]) -> None:
    """Writes an index of a chain without findings if several seals are not in the one that was read.

    ``added`` are signatures and time stamps that are not in the chain's objects yet. Removes older indexes.
    """
    if chain.findings or chain.last_number - sealed.index_number < MOST_UNINDEXED:
        return
    store.create(seal_index_key(chain.last_number), write_index({**chain.objects, **added}))
    # An older index that may not be removed costs space only: readers use the newest one.
    with suppress(StorageError):
        store.remove([key for key in sealed.sizes if seal_index_number(key) is not None])


def _proving_key(index_key: str, sizes: Mapping[str, int]) -> str:
    """Returns the key of the seal that proves an index: the first one after it, or the newest one in it."""
    number = seal_index_number(index_key) or 0
    return seal_key(number + 1) if seal_key(number + 1) in sizes else seal_key(number)
