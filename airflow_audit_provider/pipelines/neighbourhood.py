"""Lists the manifests around a range of time, so that a task about some days does not list the whole history.

::

                range
    dt=24  dt=25 [dt=26] dt=27        windows of up to a day that overlap the range are in the folders of its days
             ▲                        and of the day before; a longer one is announced in _long_windows/
             a window that reaches into the range: then the day before is listed, too

Invariant: every window that overlaps the range is listed, and so is every window that starts before such a window and
overlaps it, unless the announcement of a longer window was removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import NamedTuple

from airflow_audit_provider.core.archive.object_keys import (
    COMMIT_LOG_FOLDER,
    DETECTION_FOLDER,
    LONG_WINDOW_FOLDER,
    MANIFEST_FOLDER,
    MANIFEST_INDEX_FOLDER,
    PARTITION_START,
    REPORT_FOLDER,
    SEAL_FOLDER,
    STAGING_FOLDER,
    VERIFIED_FOLDER,
    announced_window,
    newest_manifests,
    read_manifest_key,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, TimeWindow
from airflow_audit_provider.pipelines.side_by_side import each, list_each

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
# A longer range is listed as a whole: its days would take more requests than the pages of a year of hourly windows.
_LONGEST = 62 * _DAY
_FOLDERS_AT_ONCE = 8


class Neighbourhood(NamedTuple):
    """The keys of the listed manifests, and the UTC dates whose folders were listed."""

    manifest_keys: list[str]
    days: frozenset[date]


def is_near(time_range: TimeWindow) -> bool:
    """Returns whether a range has so few days that their folders are listed one by one."""
    is_inside = time_range.start >= EARLIEST_AT + 3 * _DAY and time_range.end <= LATEST_AT - 3 * _DAY
    return is_inside and time_range.length <= _LONGEST


def manifest_keys_around(store: Store, time_range: TimeWindow) -> list[str]:
    """Returns the keys of manifests around a range; of a long range, those of all windows by one listing."""
    if is_near(time_range):
        return list_around(store, time_range).manifest_keys
    return list(store.list_keys(MANIFEST_FOLDER))


def days_of(time_range: TimeWindow) -> list[date]:
    """Returns the UTC dates of a range."""
    first, last = time_range.start.date(), (time_range.end - _TICK).date()
    return [first + number * _DAY for number in range((last - first).days + 1)]


def manifest_folder(day: date) -> str:
    """Returns the folder with the manifests of the windows that start on a UTC date."""
    return f"{MANIFEST_FOLDER}{PARTITION_START}{day}/"


def list_around(
    store: Store, time_range: TimeWindow, folder: str = "", *, has_long_windows: bool = True
) -> Neighbourhood:
    """Lists the manifests around a range of the dataset in a folder; the keys are relative to the folder.

    ``has_long_windows`` is false if a listing has shown that no window is announced.
    """
    first, *others = days_of(time_range)
    days = {first - _DAY, first, *others}
    prefixes = [folder + manifest_folder(day) for day in sorted(days)]
    calls = [lambda: list(store.list_neighbours(prefixes))]
    if has_long_windows:
        calls.append(lambda: list(store.list_keys(folder + LONG_WINDOW_FOLDER)))
    keys = [key.removeprefix(folder) for listed in store.gather(calls) for key in listed]
    announced = [window for window in map(announced_window, keys) if window is not None]
    named = [parsed.window for parsed in map(read_manifest_key, keys) if parsed is not None]
    # An announced window may never have been committed.
    known = {*named, *announced}
    reached_at = min([time_range.start, *(window.start for window in known if window.overlaps(time_range))])
    reached = TimeWindow(reached_at, time_range.end)
    reaching = [window for window in known if window.overlaps(reached) and window.start.date() < first]
    earlier = {day for window in reaching for day in (window.start.date() - _DAY, window.start.date())} - days
    keys += _list(store, folder, [manifest_folder(day) for day in sorted(earlier)])
    return Neighbourhood([key for key in keys if key.startswith(MANIFEST_FOLDER)], frozenset(days | earlier))


def _list(store: Store, folder: str, prefixes: Iterable[str]) -> list[str]:
    return [key.removeprefix(folder) for key in list_each(store, [folder + prefix for prefix in prefixes])]


def newest_windows(store: Store, folder: str, count: int) -> dict[TimeWindow, str]:
    """Returns at least ``count`` of the newest windows in a folder, with the keys of their newest manifests.

    All of them if there are fewer.
    """
    names = [name for name in store.list_folders(folder + MANIFEST_FOLDER) if name.startswith(PARTITION_START)]
    found: dict[TimeWindow, str] = {}
    while names and len(found) < count:
        names, newest = names[:-_FOLDERS_AT_ONCE], names[-_FOLDERS_AT_ONCE:]
        found |= newest_manifests(_list(store, folder, [f"{MANIFEST_FOLDER}{name}/" for name in newest]))
    return found


# A root with more folders is not walked but listed: each folder is a request, and so is a thousand keys.
_MOST_FOLDERS = 256
_OWN_FOLDERS = {
    COMMIT_LOG_FOLDER,
    DETECTION_FOLDER,
    MANIFEST_FOLDER,
    MANIFEST_INDEX_FOLDER,
    STAGING_FOLDER,
    SEAL_FOLDER,
    VERIFIED_FOLDER,
    REPORT_FOLDER,
    LONG_WINDOW_FOLDER,
}


def dataset_folders(store: Store) -> dict[str, bool]:
    """Returns the folders that have a folder of manifests, sorted, and whether they have an index of manifests.

    They are "" for the root, others end in a slash. The folders of a dataset's own data are not searched.
    """
    found: dict[str, bool] = {}
    level, walked_count = [""], 0
    while level:
        walked_count += len(level)
        if walked_count > _MOST_FOLDERS:
            keys = list(store.list_keys(""))
            indexed = set(_folders_in(keys, MANIFEST_INDEX_FOLDER))
            return {folder: folder in indexed for folder in sorted(set(_folders_in(keys, MANIFEST_FOLDER)))}
        below: list[str] = []
        for folder, names in zip(level, each(store, store.list_folders, level), strict=True):
            is_dataset = MANIFEST_FOLDER.rstrip("/") in names
            found |= {folder: MANIFEST_INDEX_FOLDER.rstrip("/") in names} if is_dataset else {}
            below += [f"{folder}{name}/" for name in names if not (is_dataset and _is_own(name))]
        level = below
    return dict(sorted(found.items()))


def _is_own(name: str) -> bool:
    return name.startswith(PARTITION_START) or f"{name}/" in _OWN_FOLDERS


def _folders_in(keys: Iterable[str], name: str) -> Iterator[str]:
    for key in keys:
        folder, separator, _ = key.rpartition(name)
        if separator and (not folder or folder.endswith("/")):
            yield folder
