"""Reads, checks and writes the index of a dataset's manifests; see ``core/verification/manifest_index``.

The index is read before the manifests are listed: what it copies was committed before, so the listing has to show it.

Invariant: an index is written from manifests that were read themselves, and from copies that nothing contradicts.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from airflow_audit_provider.core.archive.object_keys import (
    MANIFEST_INDEX_FOLDER,
    manifest_index_key,
    manifest_index_month,
    month_of,
)
from airflow_audit_provider.core.ports import ListedObject, Store
from airflow_audit_provider.core.verification.findings import Finding
from airflow_audit_provider.core.verification.manifest_index import (
    MOST_UNINDEXED,
    Copies,
    differing,
    ignored,
    md5_of,
    newest,
    problem_with,
    read_index,
    unproved,
    unwritten,
    write_index,
)
from airflow_audit_provider.core.verification.seal_content import SealedManifest
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.pipelines.side_by_side import read_each

# Four years of windows of five minutes have less. With the bound of each index alone, those of many months could fill
# the memory.
_MOST_BYTES = 512 << 20


class IndexMemory:
    """Bytes that decoded indexes may take together; readers of one process can share one.

    A few kilobytes of gzip can hold more than a hundred megabytes, and anyone who can write to a store can put them
    there. So one index is decoded at a time, and the rest of the bytes is its bound.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._lock = threading.Lock()
        self._left = most_bytes

    def decode(self, key: str, content: bytes) -> tuple[Copies | None, int]:
        """Returns the copies in an index and how many bytes they take; None if there is no room for them."""
        with self._lock:
            if self._left <= 0:
                return None, 0
            found = read_index(key, content, self._left)
            size_bytes = sum(map(len, found.contents.values()))
            self._left -= size_bytes
        return found, size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Makes room for others."""
        with self._lock:
            self._left += size_bytes


class ManifestIndex:
    """Copies of the manifests of the dataset in a folder, by month; keys are relative to the folder.

    Call :meth:`compare` with the listed manifests before any copy is used. ``findings`` are about what was ignored, or
    could not be written; ``errors`` are those of the store behind them, with the texts of its library. ``memory`` is
    that of all readers together; call :meth:`close` when the copies are not needed any more.
    """

    def __init__(self, store: Store, folder: str = "", memory: IndexMemory | None = None) -> None:
        self.findings: list[Finding] = []
        self.errors: list[StorageError] = []
        self._store = store
        self._folder = folder
        self._months: dict[str, Mapping[str, bytes]] = {}
        self._confirmed: set[str] = set()
        self._memory = memory or IndexMemory(_MOST_BYTES)
        self._size_bytes = 0

    def close(self) -> None:
        """Forgets the copies."""
        self._months = {}
        self._memory.give_back(self._size_bytes)
        self._size_bytes = 0

    def read(self, start: datetime | None, end: datetime | None) -> None:
        """Reads the index of each month of a range; a bound that is None is open."""
        first = "" if start is None else start.isoformat()[: len("2026-11")]
        last = "9999-99" if end is None else end.isoformat()[: len("2026-11")]
        listed = (key.removeprefix(self._folder) for key in self._store.list_keys(self._folder + MANIFEST_INDEX_FOLDER))
        keys = [key for key in listed if first <= (manifest_index_month(key) or "") <= last]
        self.read_months([key for key in keys if manifest_index_month(key)])

    def read_months(self, keys: Sequence[str]) -> None:
        """Reads indexes by their keys; one that is gone is none, and one that the store refuses is ignored."""
        try:
            contents = list(read_each(self._store, [self._folder + key for key in keys]))
        except StorageError as error:
            self.errors.append(error)
            self.findings += [ignored(key, f"it cannot be read. {error.own_words()}") for key in keys]
            return
        for (_, content), key in zip(contents, keys, strict=True):
            if content is not None:
                self._add(key, content)

    def _add(self, key: str, content: bytes) -> None:
        found, size_bytes = self._memory.decode(key, content)
        if found is None:
            self.findings.append(
                ignored(key, "the indexes of other months are too large to keep it in memory as well.")
            )
            return
        self._months[manifest_index_month(key) or ""] = found.contents
        self._size_bytes += size_bytes
        self.findings += [ignored(key, found.problem)] if found.problem else []

    def compare(self, listed: Mapping[str, ListedObject]) -> None:
        """Ignores each index that disagrees with the listed manifests."""
        for month, copies in self._months.items():
            problem = problem_with(copies, listed)
            if problem is not None:
                self._ignore(month, problem)
        doubtful = sorted(key for copies in self._months.values() for key in unproved(copies, listed))
        if not doubtful:
            return
        # If the store states something else than MD5 digests, one manifest that equals its copy shows it.
        if self._store.read(self._folder + doubtful[-1]) != self.copy(doubtful[-1]):
            for key in doubtful:
                self.ignore_index_of(key, differing(key))
        elif len(doubtful) < sum(listed[key].md5 is not None for copies in self._months.values() for key in copies):
            # It states them for other manifests, so the sample shows nothing about the rest.
            self._forget(doubtful)

    def copy(self, key: str) -> bytes | None:
        """Returns the copy of a manifest, None without one."""
        return self._months.get(month_of(key), {}).get(key)

    def is_confirmed(self, key: str) -> bool:
        """Returns whether a copy equals its manifest, which is read for the first one of a month; ignores it if not.

        Call it before a copy is reported: it may be from the index of another dataset with the same windows.
        """
        month = month_of(key)
        if month not in self._confirmed:
            if self._store.read(self._folder + key) != self.copy(key):
                self.ignore_index_of(key, differing(key))
                return False
            self._confirmed.add(month)
        return True

    def ignore_index_of(self, key: str, problem: str) -> None:
        """Ignores the index that has the copy of a manifest."""
        if self.copy(key) is not None:
            self._ignore(month_of(key), problem)

    def forget_unproved(self, listed: Mapping[str, ListedObject]) -> None:
        """Forgets each copy whose digest the listing does not confirm, so that its manifest is read itself."""
        copies = ((key, content) for months in self._months.values() for key, content in months.items())
        self._forget([key for key, content in copies if listed[key].md5 != md5_of(content)])

    def _forget(self, keys: Iterable[str]) -> None:
        """Removes copies, so that their manifests are read themselves."""
        forgotten = set(keys)
        for month, copies in self._months.items():
            self._months[month] = {key: content for key, content in copies.items() if key not in forgotten}

    def _ignore(self, month: str, problem: str) -> None:
        self._months[month] = {}
        self.findings.append(ignored(manifest_index_key(month), problem))

    def write(self, read: Mapping[str, bytes]) -> None:
        """Adds manifests that were read themselves to the index of each month with so many that it is worth it.

        An ignored index is replaced. The last of several writers wins: each one writes copies of what is committed.
        """
        ignored_keys = {one.key for one in self.findings}
        for month, contents in _by_month(read):
            key = manifest_index_key(month)
            if len(contents) >= MOST_UNINDEXED or key in ignored_keys:
                self._put(key, write_index({**self._months.get(month, {}), **contents}))

    def _put(self, key: str, content: bytes | None) -> None:
        try:
            if content is not None:
                self._store.put(self._folder + key, content)
        except StorageError as error:
            self.findings.append(unwritten(key, error))


def _by_month(contents: Mapping[str, bytes]) -> list[tuple[str, dict[str, bytes]]]:
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for key, content in contents.items():
        found[month_of(key)][key] = content
    return sorted(found.items())


def add_to_index(store: Store, read: Mapping[str, bytes]) -> list[Finding]:
    """Adds manifests that were read themselves to the index of each month with so many that it is worth it.

    Returns findings about an index that cannot be read, which stays as it is, or that the store did not take.
    """
    wanted = newest(read)
    months = [month for month, keys in _by_month({key: read[key] for key in wanted}) if len(keys) >= MOST_UNINDEXED]
    index = ManifestIndex(store)
    index.read_months([manifest_index_key(month) for month in months])
    usable = set(months) - {manifest_index_month(one.key) for one in index.findings}
    index.write({key: read[key] for key in wanted if month_of(key) in usable})
    return index.findings


class IndexCheck:
    """Compares indexes of manifests with the manifests that a verification reads.

    The indexes are read when it is made, before the manifests are listed; only digests of the copies stay in memory.
    """

    def __init__(self, store: Store, keys: Iterable[str]) -> None:
        self._problems: dict[str, str] = {}
        self._digests: dict[str, dict[str, str]] = {}
        for key, content in read_each(store, [key for key in keys if manifest_index_month(key)]):
            found = read_index(key, content) if content is not None else None
            if found is not None and found.problem:
                self._problems[key] = found.problem
            elif found is not None:
                copies = found.contents.items()
                self._digests[key] = {copied: hashlib.sha256(copy).hexdigest() for copied, copy in copies}

    def findings(self, listed: Container[str], read: Mapping[str, SealedManifest | None]) -> Iterator[Finding]:
        """Yields a finding for each index that cannot be read or disagrees.

        ``listed`` are the keys of all manifests; ``read`` are those that were read, with their digests.
        """
        for key, problem in self._problems.items():
            yield ignored(key, problem)
        for key, digests in self._digests.items():
            differences = list(islice(_differences(digests, listed, read), 1))
            yield from [ignored(key, difference) for difference in differences]


def _differences(
    digests: Mapping[str, str], listed: Container[str], read: Mapping[str, SealedManifest | None]
) -> Iterator[str]:
    for key, digest in digests.items():
        if key not in listed:
            yield f"it has a copy of {key}, which does not exist."
        named = read.get(key)
        if named is not None and named.sha256 != digest:
            yield differing(key)
