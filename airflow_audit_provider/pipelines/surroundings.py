"""Looks up what a destination holds around a window before the window is pulled, in two rounds of calls.

::

    round 1   the top level, by one listing: a descriptor? staging? long windows?
              the manifests from the day before the window to its last day, by one listing
    round 2   only what round 1 showed: the descriptor unless its digest is the expected one, the newest manifest,
              the window's staging, the announcements of long windows

Invariant: nothing outside of the window's neighbourhood is listed or read, except in a destination without descriptor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.compatibility import check_no_overlap
from airflow_audit_provider.core.archive.dataset import Dataset
from airflow_audit_provider.core.archive.object_keys import (
    DATASET_KEY,
    LONG_WINDOW_FOLDER,
    MANIFEST_FOLDER,
    STAGING_FOLDER,
    WindowKeys,
    newest_manifests,
)
from airflow_audit_provider.core.archive.stitching import STITCHING_KEY
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.committed import check_distant, committed_manifest, newest_key
from airflow_audit_provider.pipelines.dataset import check_held_dataset, check_no_root, read_descriptor
from airflow_audit_provider.pipelines.pull_spec import PullSpec

TOP_LEVEL = (DATASET_KEY, LONG_WINDOW_FOLDER, MANIFEST_FOLDER, STAGING_FOLDER, STITCHING_KEY)
TopLevel = Mapping[str, str | None]


class Surroundings(NamedTuple):
    """What a destination holds around a window.

    ``descriptor`` is its dataset descriptor, ``committed`` the window's manifest in force, ``staged`` the sizes of what
    earlier attempts at the window have in staging, by key.
    """

    descriptor: bytes | None
    committed: CommittedManifest | None
    staged: Mapping[str, int]


def look_around(store: Store, spec: PullSpec) -> Surroundings:
    """Returns the surroundings of a window; raises ``CommitConflictError`` if it cannot be committed among them.

    The destination has to hold the same dataset, where an erasure may have another privacy rule, and no committed
    window may overlap this one.
    """
    keys = WindowKeys(spec.run_window.window, spec.run_window.partition_date)
    top, listed = _look_at_top(store, keys.neighbour_prefixes)
    newest = newest_key(keys, listed)
    found = _ask(store, _questions(store, keys, top, newest, spec.dataset))
    descriptor: bytes | None = found[DATASET_KEY]
    # Without a window to erase, an erasure writes a first generation, which has to be as its dataset is.
    is_erasure = spec.is_erasure and newest is not None
    check_held_dataset(store, descriptor, spec.dataset, is_erasure=is_erasure, is_empty=MANIFEST_FOLDER not in top)
    check_no_overlap(keys, listed)
    if newest is None:
        check_distant(store, keys, found.get(LONG_WINDOW_FOLDER, ()))
    committed = committed_manifest(newest, found[newest]) if newest else None
    return Surroundings(descriptor, committed, found.get(STAGING_FOLDER, {}))


class CommittedDays:
    """What a destination holds of some days, looked up once for the surroundings of all windows that start on them.

    ``days`` are the keys of whole days that follow each other, from the day before the first window on.
    """

    def __init__(self, store: Store, days: Sequence[WindowKeys]) -> None:
        self._store = store
        self._top, self._listed = _look_at_top(store, [day.manifest_prefix for day in days])
        self._folders: dict[str, list[str]] = defaultdict(list)
        for key in self._listed:
            self._folders[key[: key.rindex("/") + 1]].append(key)

    def newest(self) -> dict[TimeWindow, str]:
        """Returns the key of the newest manifest of each window."""
        return newest_manifests(self._listed)

    def read(self, manifests: Sequence[str]) -> list[CommittedManifest]:
        """Reads manifests side by side."""
        contents = self._store.gather([partial(self._store.read, key) for key in manifests])
        return [committed_manifest(key, content) for key, content in zip(manifests, contents, strict=True)]

    def around(self, specs: Sequence[tuple[PullSpec, CommittedManifest]]) -> Iterator[Surroundings]:
        """Yields the surroundings of committed windows, in order; raises as :func:`look_around` does.

        What is asked of the store is asked for all of them at the first one.
        """
        if not specs:
            return
        keys = [WindowKeys(spec.run_window.window, spec.run_window.partition_date) for spec, _ in specs]
        descriptor = held_descriptor(self._store, self._top, specs[0][0].dataset)
        staged: Sequence[Mapping[str, int]] = [{} for _ in keys]
        if STAGING_FOLDER in self._top:
            staged = self._store.gather([partial(_staged, self._store, each) for each in keys])
        for each, (spec, committed), sizes in zip(keys, specs, staged, strict=True):
            check_held_dataset(self._store, descriptor, spec.dataset)
            check_no_overlap(each, chain.from_iterable(self._folders.get(name, ()) for name in each.neighbour_prefixes))
            yield Surroundings(descriptor, committed, sizes)


def _look_at_top(store: Store, prefixes: list[str]) -> tuple[TopLevel, list[str]]:
    """Returns which of the destination's own top-level names may exist, and the keys below manifest folders."""
    calls: dict[str, Callable[[], Any]] = {
        "top": lambda: store.present(TOP_LEVEL),
        "listed": lambda: list(store.list_neighbours(prefixes)),
    }
    found = _ask(store, calls)
    return found["top"], found["listed"]


def held_descriptor(store: Store, top: TopLevel, expected: Dataset) -> bytes | None:
    """Returns the dataset descriptor, None if there is none.

    Raises ``CommitConflictError`` for the root of a stitched history, which has another descriptor.
    """
    descriptor = read_descriptor(store, top[DATASET_KEY], expected) if DATASET_KEY in top else None
    if descriptor is None and STITCHING_KEY in top:
        check_no_root(store, expected.query.version)
    return descriptor


def _questions(
    store: Store, keys: WindowKeys, top: TopLevel, newest: str | None, expected: Dataset
) -> dict[str, Callable[[], Any]]:
    """Returns the calls of the second round, by the key or folder that each is about."""
    calls: dict[str, Callable[[], Any]] = {DATASET_KEY: lambda: held_descriptor(store, top, expected)}
    if STAGING_FOLDER in top:
        calls[STAGING_FOLDER] = partial(_staged, store, keys)
    if newest is not None:
        calls[newest] = lambda: store.read(newest)
    elif LONG_WINDOW_FOLDER in top and not keys.has_distant_neighbours:
        calls[LONG_WINDOW_FOLDER] = lambda: list(store.list_keys(LONG_WINDOW_FOLDER))
    return calls


def _staged(store: Store, keys: WindowKeys) -> dict[str, int]:
    return dict(store.list_sizes(keys.all_staging))


def _ask(store: Store, calls: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    return dict(zip(calls, store.gather(list(calls.values())), strict=True))
