"""Reads the objects among the seals: each one itself, or the older ones from their index.

Invariant: a seal that comes from an index has its digest in a seal that was read itself, or in a chain up to it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from datetime import date
from typing import NamedTuple

from airflow_audit_provider.core.archive.object_keys import (
    SEAL_FOLDER,
    SIGNATURE_ENDING,
    seal_index_key,
    seal_index_number,
    seal_key,
    seal_number,
)
from airflow_audit_provider.core.ports import ListedObject, Store
from airflow_audit_provider.core.verification.findings import Finding
from airflow_audit_provider.core.verification.manifest_index import md5_of
from airflow_audit_provider.core.verification.seal_content import NO_FAR_SEALS, FarSeals
from airflow_audit_provider.core.verification.seal_index import (
    UsableIndex,
    differing_copies,
    is_worth_writing,
    newer_index,
    newest_index,
    oversized_index,
    proved_index,
    read_index,
    refused_index,
    removable_indexes,
    unwritten,
    write_index,
)
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.exceptions import ReadLimitExceededError, StorageError
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
    key, newer = newest_index(sizes), newer_index(sizes)
    if key is None:
        return SealObjects(SealChain(objects), sizes, newer)
    proving = _proving_seal(key, sizes)
    try:
        found = oversized_index(key, sizes) or read_index(key, store.read(key), sizes)
    except StorageError as error:
        found = _refused(error, key)
    index = proved_index(found, key, objects.get(proving.key), is_copied=proving.is_copied)
    findings = index.findings or differing_copies(index.copies, key, objects)
    return SealObjects(SealChain(objects), sizes, (*newer, *findings))


def read_chain_by_index(
    store: Store,
    days: Container[date] = (),
    near: Container[date] | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> SealObjects:
    """Returns the chain from its index and the objects after it; without a usable index, each object is read itself.

    The objects of seals of these ``days`` are compared with their copies. So is each object whose digest the listing
    does not state, if it states the digest of another object. If one differs, every object is read.
    With ``near``, copied seals that have nothing to do with these days name no manifest. ``sign`` returns the signature
    that the caller would store for a seal: one that is listed with the digest of that is not read.
    """
    listed = {one.key: one for one in store.list_objects(SEAL_FOLDER)}
    sizes = {key: one.size_bytes for key, one in listed.items()}
    key, newer = newest_index(sizes), newer_index(sizes)
    if key is None:
        return SealObjects(SealChain(read_seals(store, sizes)), sizes, newer)
    proving = _proving_seal(key, sizes)
    try:
        index, newest = _read_index(store, key, proving, listed)
    except StorageError as error:
        index, newest = _refused(error, key), None
    known = {**index.copies, **({} if newest is None else {proving.key: newest})}
    far = NO_FAR_SEALS if near is None else FarSeals({*index.copies} - {proving.key}, near)
    chain = SealChain(known | _read_others(store, known, listed, sign), far)
    numbers = {seal.number for seal in chain.seals if seal.day in days}
    # The seal that proves the index was read, or its digest is stated.
    copies = {one: copy for one, copy in index.copies.items() if one != proving.key}
    doubtful = _doubtful_copies(copies, chain, listed, numbers)
    differing = differing_copies(doubtful, key, read_seals(store, doubtful))
    if differing:
        return SealObjects(SealChain(read_seals(store, sizes)), sizes, (*newer, *differing))
    return SealObjects(chain, sizes, (*newer, *index.findings), index.number)


def _read_index(
    store: Store, key: str, proving: _ProvingSeal, listed: Mapping[str, ListedObject]
) -> tuple[UsableIndex, bytes | None]:
    """Returns an index and the bytes of the seal that proves it, None if the index is too large to be read.

    That seal is not read if it is copied and the listing states the digest of the copy: then its bytes are those.
    """
    sizes = {one: each.size_bytes for one, each in listed.items()}
    oversized = oversized_index(key, sizes)
    if oversized is not None:
        return oversized, None
    # The newest copied seal may be gone: then the index is ignored.
    stated = listed.get(proving.key) if proving.is_copied else None
    if stated is None or stated.md5 is None:
        read = dict(read_each(store, [key, proving.key]))
        index, newest = read_index(key, read[key], sizes), read[proving.key]
    else:
        index = read_index(key, store.read(key), sizes)
        copy = index.copies.get(proving.key)
        newest = copy if copy is not None and _is_stated(copy, stated) else store.read(proving.key)
    return proved_index(index, key, newest, is_copied=proving.is_copied), newest


def _refused(error: StorageError, key: str) -> UsableIndex:
    """Returns the finding about an index that the store refuses to read; raises any other error.

    Anyone who can write to an S3 bucket can write the index with SSE-C, or with SSE-KMS and a key that the run may not
    use. A store that does not respond does not respond to reads of each seal either.
    """
    if error.key != key or error.retryable or isinstance(error, ReadLimitExceededError):
        raise error
    return refused_index(key, error.own_words())


def _doubtful_copies(
    copies: Mapping[str, bytes], chain: SealChain, listed: Mapping[str, ListedObject], numbers: Container[int]
) -> dict[str, bytes]:
    """Returns those of some copies that have to be compared with their objects.

    If the listing states the digest of any object, these are all copies whose digest it does not state: somebody who
    changes an object can also write it with SSE-KMS or SSE-C. If it states none, these are only the copies of some
    seals, by their ``numbers``, and the newest one, which shows whether the stated texts are no digests.
    """
    stated = {key for key, content in chain.objects.items() if key in listed and _is_stated(content, listed[key])}
    unproved = {key: copy for key, copy in copies.items() if key not in stated}
    if stated:
        return unproved
    newest = [key for key in sorted(unproved)[-1:] if listed[key].md5 is not None]
    return {key: copy for key, copy in unproved.items() if key in newest or seal_number(key) in numbers}


def _read_others(
    store: Store,
    known: Mapping[str, bytes],
    listed: Mapping[str, ListedObject],
    sign: Callable[[bytes], bytes] | None,
) -> dict[str, bytes]:
    """Returns the listed objects that are not known yet."""
    others = [key for key in listed if key not in known]
    may_be_stated = {key for key in others if sign and key.endswith(SIGNATURE_ENDING) and listed[key].md5 is not None}
    found = read_seals(store, [key for key in others if key not in may_be_stated])
    for key in sorted(may_be_stated):
        content = {**known, **found}.get(seal_key(seal_number(key) or 0))
        made = sign(content) if sign is not None and content is not None else b""
        found |= {key: made} if _is_stated(made, listed[key]) else read_seals(store, [key])
    return found


def _is_stated(copy: bytes, listed: ListedObject) -> bool:
    """Returns whether the listing states the digest of a copy; S3 states another text for SSE-KMS and SSE-C."""
    return listed.md5 is not None and md5_of(copy) == listed.md5


def write_newer_index(
    store: Store, sealed: SealObjects, chain: SealChain, added: Mapping[str, bytes]
) -> tuple[Finding, ...]:
    """Writes an index of a chain without findings if it has seals that are not in the one that was read.

    ``added`` are signatures and time stamps that are not in the chain's objects yet. Removes older indexes if they are
    many. Returns a finding if the store refuses the index: everything that counts is stored already.
    """
    read_bytes = sealed.sizes.get(seal_index_key(sealed.index_number), 0)
    if chain.findings or not is_worth_writing(chain.last_number - sealed.index_number, read_bytes):
        return ()
    key = seal_index_key(chain.last_number)
    try:
        store.create(key, write_index({**chain.objects, **added}))
    except StorageError as error:
        return unwritten(key, error)
    removable = removable_indexes(sealed.sizes)
    # An older index that may not be removed costs space only: readers use the newest one. If the first is refused, the
    # others are not tried: they would be more with each run.
    with suppress(StorageError):
        store.remove(removable[:1])
        store.remove(removable[1:])
    return ()


class _ProvingSeal(NamedTuple):
    """The seal that proves an index: the first one after it, or the newest one in it (``is_copied``)."""

    key: str
    is_copied: bool


def _proving_seal(index_key: str, sizes: Container[str]) -> _ProvingSeal:
    number = seal_index_number(index_key) or 0
    has_next = seal_key(number + 1) in sizes
    return _ProvingSeal(seal_key(number + has_next), is_copied=not has_next)
