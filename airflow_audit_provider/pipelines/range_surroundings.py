"""Looks up what a destination holds around many windows at once, in two rounds of calls for all of them.

It is what ``surroundings`` looks up for one window: the descriptor, the manifests, what is staged, and the long windows
that may overlap. The number of calls does not grow with the number of windows, except for one listing for each of up to
62 days where the store cannot list a range.

Invariant: a window is read as committed, or as not committed, as of the moment of the listing. A commit that is made
meanwhile is found when the window is committed, which creates its manifest only if there is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.compatibility import check_no_overlap
from airflow_audit_provider.core.archive.object_keys import (
    LONG_WINDOW_FOLDER,
    MANIFEST_FOLDER,
    STAGING_FOLDER,
    WindowKeys,
    newest_manifests,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.committed import check_distant, committed_manifest
from airflow_audit_provider.pipelines.dataset import check_held_dataset
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.surroundings import TOP_LEVEL, Surroundings, held_descriptor

# The folders of more days are listed as a whole.
_MOST_FOLDERS = 62
# How many manifests are read at once, and are in memory.
_AT_ONCE = 64


class RangeSurroundings:
    """What a destination holds around windows that follow each other.

    Raises ``CommitConflictError`` if it holds another dataset, or if a committed window overlaps one of them without
    being one of them.
    """

    def __init__(self, store: Store, spec: PullSpec, windows: Sequence[RunWindow]) -> None:
        self._store = store
        self._dataset = spec.dataset
        keys = [WindowKeys(each.window, each.partition_date) for each in windows]
        prefixes = sorted(set(chain.from_iterable(each.neighbour_prefixes for each in keys)))
        first_round: list[Callable[[], Any]] = [
            lambda: store.present(TOP_LEVEL),
            partial(_list_manifests, store, prefixes),
        ]
        top, listed = store.gather(first_round)
        calls: dict[str, Callable[[], Any]] = {"descriptor": lambda: held_descriptor(store, top, spec.dataset)}
        if STAGING_FOLDER in top:
            calls[STAGING_FOLDER] = lambda: list(store.list_sizes(STAGING_FOLDER))
        if LONG_WINDOW_FOLDER in top:
            calls[LONG_WINDOW_FOLDER] = lambda: list(store.list_keys(LONG_WINDOW_FOLDER))
        found = dict(zip(calls, store.gather(list(calls.values())), strict=True))
        self._descriptor: bytes | None = found["descriptor"]
        self._staged: dict[str, dict[str, int]] = defaultdict(dict)
        for key, size_bytes in found.get(STAGING_FOLDER, ()):
            folder = key.removeprefix(STAGING_FOLDER).split("/")[0]
            self._staged[f"{STAGING_FOLDER}{folder}/"][key] = size_bytes
        check_held_dataset(store, self._descriptor, spec.dataset, is_empty=MANIFEST_FOLDER not in top)
        self._newest = newest_manifests(listed)
        self._check_no_overlaps(keys, listed, found.get(LONG_WINDOW_FOLDER, ()))

    def is_committed(self, window: TimeWindow) -> bool:
        """Returns whether a window was committed."""
        return window in self._newest

    def staged(self, keys: WindowKeys) -> Mapping[str, int]:
        """Returns the sizes of what earlier attempts at a window have in staging, by key."""
        return self._staged.get(keys.all_staging, {})

    def committed(self, windows: Sequence[RunWindow]) -> Iterator[CommittedManifest]:
        """Yields the newest manifests of those windows that are committed, read side by side."""
        keys = [self._newest[each.window] for each in windows if each.window in self._newest]
        for first in range(0, len(keys), _AT_ONCE):
            chosen = keys[first : first + _AT_ONCE]
            contents = self._store.gather([partial(self._store.read, key) for key in chosen])
            yield from map(committed_manifest, chosen, contents)

    def around(self, run_window: RunWindow) -> Surroundings:
        """Returns the surroundings of one of the windows."""
        committed = next(self.committed([run_window]), None)
        staged = self.staged(WindowKeys(run_window.window, run_window.partition_date))
        return Surroundings(self._descriptor, committed, staged)

    def note_claimed(self) -> None:
        """Notes that the dataset is claimed, because one of the windows is committed."""
        self._descriptor = self._dataset.to_bytes()

    def _check_no_overlaps(self, keys: Sequence[WindowKeys], listed: Sequence[str], announced: Sequence[str]) -> None:
        folders: dict[str, list[str]] = defaultdict(list)
        for key in listed:
            folders[key[: key.rindex("/") + 1]].append(key)
        for each in keys:
            check_no_overlap(each, chain.from_iterable(folders.get(name, ()) for name in each.neighbour_prefixes))
            if each.window not in self._newest:
                check_distant(self._store, each, announced)


def _list_manifests(store: Store, prefixes: Sequence[str]) -> list[str]:
    if len(prefixes) > _MOST_FOLDERS:
        return list(store.list_keys(MANIFEST_FOLDER))
    return list(store.list_neighbours(prefixes))
