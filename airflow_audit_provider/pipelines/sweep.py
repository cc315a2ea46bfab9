"""Removes orphaned files of abandoned attempts, and old days of the commit log.

Invariant: it never removes parts in a current manifest, parts that a seal covers, files of an active attempt, or files
that this provider did not write.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.checkpoint import read_checkpoint
from airflow_audit_provider.core.archive.commit_log import LEAST_ACTIVE, active_windows, expired_entries, log_entries
from airflow_audit_provider.core.archive.object_keys import (
    COMMIT_LOG_FOLDER,
    DATASET_KEY,
    MANIFEST_FOLDER,
    PARTITION_START,
    STAGING_FOLDER,
    UNFINISHED_FOLDER,
    WindowKeys,
    newest_manifests,
    unfinished_since,
    window_in,
)
from airflow_audit_provider.core.archive.part_names import part_digest
from airflow_audit_provider.core.archive.security_lake import SecurityLake
from airflow_audit_provider.core.ports import ObjectLock, ObjectLockReader, Store
from airflow_audit_provider.core.verification.envelopes import SignatureVerifier
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, StorageError, StorageUnavailableError
from airflow_audit_provider.pipelines.committed import read_committed
from airflow_audit_provider.pipelines.dataset import lake_in
from airflow_audit_provider.pipelines.detection_ledger import orphaned_states
from airflow_audit_provider.pipelines.observer import KeptPart
from airflow_audit_provider.pipelines.sealed_parts import SealedParts
from airflow_audit_provider.pipelines.staging_area import HELD_BYTES, AttemptMarker

DEFAULT_AGE = timedelta(days=1)
_Sizes = dict[TimeWindow, dict[str, int]]
_NEVER_AT = datetime.min.replace(tzinfo=UTC)


class RetainedFile(NamedTuple):
    """An orphaned file that the store keeps until a time, or until a legal hold is removed (``until`` is None)."""

    key: str
    size_bytes: int
    until: datetime | None


class SweepReport(NamedTuple):
    """Orphaned files that were found, sorted by key, and removed unless it was a dry run.

    ``keys`` and ``size_bytes`` are those that the store lets go. ``retained`` are those under an object lock: they are
    hidden from every listing, but their bytes stay and are billed. ``kept`` are parts that no manifest in force names,
    but that the seals may still protect.
    """

    keys: tuple[str, ...]
    size_bytes: int
    retained: tuple[RetainedFile, ...] = ()
    kept: tuple[KeptPart, ...] = ()


def sweep(
    store: Store,
    now: datetime,
    older_than: timedelta = DEFAULT_AGE,
    dry_run: bool = False,
    locks: ObjectLockReader | None = None,
    verifier: SignatureVerifier | None = None,
) -> SweepReport:
    """Removes staged files, incomplete files and unreferenced parts of abandoned attempts, and old log entries.

    Also the states of detections that no commit can name any more.

    Idempotent. An attempt is abandoned if its last activity is longer ago than ``older_than``, where an entry in the
    commit log without a manifest counts as active for at least an hour. Windows with an active attempt are skipped.
    ``locks`` tells which files the store does not let go. ``verifier`` verifies the seals: of the parts that they
    cover, only those go whose erasure a seal of the owner accepts (see ``SealChain.acceptances``). Raises
    ``ConfigurationError`` if ``older_than`` is not positive, and ``VerificationError`` for a manifest that cannot be
    read, before anything is removed.
    """
    _check_age(older_than)
    # Parts are listed first, then attempts, then manifests. A listed part was published by an attempt whose marker
    # existed before the part and remains until after its manifest, unless it has one part only. An attempt that
    # publishes and commits meanwhile is therefore active in the second listing, or its manifest is in the third; in
    # another order its parts could look unreferenced. The commit log may be listed at any time: what it does not show
    # yet, it shows after the removal.
    lake = lake_in(store.read(DATASET_KEY))
    sizes_by_key = dict(store.list_sizes("")) | _in_lake(store, lake)
    published = _published(sizes_by_key, lake)
    staged = _staged(store)
    active = {window for window, sizes in staged.items() if now - _last_activity_at(store, sizes) <= older_than}
    newest = newest_manifests(store.list_keys(MANIFEST_FOLDER))
    active |= active_windows(log_entries(sizes_by_key), newest, now - max(older_than, LEAST_ACTIVE))
    named = {part.key for key in newest.values() for part in read_committed(store, key).manifest.parts}
    removal = _Removal(store, now, dry_run, locks)
    removal.remove(_unfinished(store, now - older_than))
    removal.remove({key: sizes_by_key[key] for key in expired_entries(sizes_by_key, now)})
    removal.remove({key: sizes_by_key[key] for key in orphaned_states(store, sizes_by_key)})
    sealed = SealedParts(store, verifier)
    for window in sorted({*published, *staged} - active):
        sizes = published.get(window, {})
        parts = sealed.removable(_keys(window), [key for key in sizes if key not in named])
        orphaned = {key: sizes[key] for key in parts} | staged.get(window, {})
        if dry_run:
            removal.remove(orphaned)
        elif _has_no_new_activity(store, window, staged.get(window, {}), newest.get(window)):
            small = {key: store.read(key) for key in parts if sizes[key] <= HELD_BYTES}
            # What is gone now may be published again before it is removed here, and could not be put back.
            gone = {key for key, content in small.items() if content is None}
            try:
                removal.remove({key: size_bytes for key, size_bytes in orphaned.items() if key not in gone})
            finally:
                removal.put_back(_needed_parts(store, window, small, newest.get(window), sizes_by_key))
    return removal.report()._replace(kept=tuple(sealed.kept))


class _Removal:
    """Removes orphaned files, none in a dry run, and remembers which of them the store keeps."""

    def __init__(self, store: Store, now: datetime, dry_run: bool, locks: ObjectLockReader | None) -> None:
        self._store = store
        self._now = now
        self._is_dry_run = dry_run
        self._locks = locks
        self._removed: dict[str, int] = {}
        self._retained: dict[str, RetainedFile] = {}

    def remove(self, sizes: Mapping[str, int]) -> None:
        """Removes files. The locks are read first: behind a delete marker, they cannot be read any more."""
        locks = self._active_locks(sorted(sizes))
        if not self._is_dry_run:
            for key in sorted(sizes):
                self._remove(key, is_locked=key in locks)
        self._retained.update({key: RetainedFile(key, sizes[key], lock.until) for key, lock in locks.items()})
        self._removed.update({key: size_bytes for key, size_bytes in sizes.items() if key not in locks})

    def put_back(self, contents: Mapping[str, bytes]) -> None:
        """Writes removed parts again."""
        for key, content in contents.items():
            self._store.put(key, content)
            self._removed.pop(key, None)

    def report(self) -> SweepReport:
        """Returns what was removed and what the store keeps."""
        retained = tuple(self._retained[key] for key in sorted(self._retained))
        return SweepReport(tuple(sorted(self._removed)), sum(self._removed.values()), retained)

    def _remove(self, key: str, is_locked: bool) -> None:
        try:
            self._store.remove([key])
        except StorageUnavailableError:
            raise
        except StorageError:
            # S3 hides a locked object behind a delete marker; a server may refuse the deletion instead.
            if not is_locked:
                raise

    def _active_locks(self, keys: list[str]) -> dict[str, ObjectLock]:
        if self._locks is None or not keys:
            return {}
        if not self._locks.is_enabled():
            self._locks = None
            return {}
        return {key: lock for key, lock in self._locks.read(keys) if lock.is_active(self._now)}


def _check_age(older_than: object) -> None:
    if not isinstance(older_than, timedelta) or older_than <= timedelta(0):
        raise ConfigurationError(
            f"older_than is {older_than!r}, which is not a positive timedelta. Give a timedelta longer than the "
            "longest task, such as one day: an attempt that was active within this time counts as active."
        )


def _in_lake(store: Store, lake: SecurityLake | None) -> dict[str, int]:
    """Returns the sizes of the objects in the dataset's folders in Security Lake."""
    folders = lake.folders() if lake is not None else ()
    return {key: size_bytes for folder in folders for key, size_bytes in store.list_sizes(folder)}


def _published(sizes_by_key: Mapping[str, int], lake: SecurityLake | None) -> _Sizes:
    """Returns the parts by window; objects whose key is not a part key are skipped."""
    found: _Sizes = defaultdict(dict)
    for key, size_bytes in sizes_by_key.items():
        window = _window_of_part(key, lake)
        if window is not None:
            found[window][key] = size_bytes
    return found


def _window_of_part(key: str, lake: SecurityLake | None) -> TimeWindow | None:
    if lake is not None:
        window = window_in(key)
        is_own = window is not None and WindowKeys(window, window.start.date(), lake).part_generation(key) is not None
        return window if is_own else None
    day, _, rest = key.removeprefix(PARTITION_START).partition("/")
    window = window_in(rest)
    try:
        is_part = window is not None and WindowKeys(window, date.fromisoformat(day)).part_generation(key) is not None
    except ValueError:
        return None
    return window if is_part else None


def _staged(store: Store) -> _Sizes:
    """Returns the staged files by window; objects elsewhere in the staging folder are skipped."""
    found: _Sizes = defaultdict(dict)
    for key, size_bytes in store.list_sizes(STAGING_FOLDER):
        window = window_in(key)
        if window is not None and key.startswith(_keys(window).all_staging):
            found[window][key] = size_bytes
    return found


def _unfinished(store: Store, before: datetime) -> dict[str, int]:
    """Returns incomplete files whose writing began before ``before``, by key."""
    listed = ((key, size_bytes, unfinished_since(key)) for key, size_bytes in store.list_sizes(UNFINISHED_FOLDER))
    return {key: size_bytes for key, size_bytes, since in listed if since is not None and since < before}


def _last_activity_at(store: Store, staged: Mapping[str, int]) -> datetime:
    """Returns the time of the last activity of any attempt of a window.

    One active attempt keeps the staged files of all: it can have adopted parts from the folder of an abandoned one.
    """
    checkpoints = {_folder(key): key for key in sorted(staged) if "/checkpoint-" in key}
    markers = [key for key in staged if key.endswith("/attempt.json")]
    return max((_activity_in(store, key) for key in [*markers, *checkpoints.values()]), default=_NEVER_AT)


def _activity_in(store: Store, key: str) -> datetime:
    """Returns the time in a marker or checkpoint; unreadable content, or a time without zone, counts as no activity."""
    content = store.read(key) or b""
    if "/checkpoint-" in key:
        checkpoint = read_checkpoint(content)
        active_at = checkpoint.saved_at if checkpoint else _NEVER_AT
    else:
        active_at = _opened_at(content)
    return active_at if active_at.tzinfo else _NEVER_AT


def _opened_at(marker: bytes) -> datetime:
    try:
        return msgspec.json.decode(marker, type=AttemptMarker).began_at
    except (msgspec.DecodeError, ValueError):
        return _NEVER_AT


def _has_no_new_activity(store: Store, window: TimeWindow, staged: Mapping[str, int], newest: str | None) -> bool:
    """Returns whether no attempt of a window started or committed since the window was listed.

    Identical parts of an abandoned and of a new attempt have the same key. Two listings cannot show a run that starts
    and commits between them, one that starts after them and publishes before the window's keys are removed, or an
    attempt of one part, which stages nothing. :func:`_needed_parts` finds them; only a part of more than 4 MiB is then
    lost, and verify reports it.
    """
    if _newest_manifest(store, window) != newest:
        return False
    return set(store.list_keys(_keys(window).all_staging)) <= set(staged)


def _needed_parts(
    store: Store,
    window: TimeWindow,
    removed: Mapping[str, bytes | None],
    newest: str | None,
    before: Collection[str],
) -> dict[str, bytes]:
    """Returns the removed parts to put back, because a run has committed them meanwhile or is about to.

    A run writes its entry in the commit log, then its part, then its manifest. A part that was removed after the run
    wrote it was therefore removed after the entry, so that the log shows it here, whatever the clock of the run says.
    ``before`` are the keys that were listed at first. A run whose entry was among them needs no help: either its
    attempt was active, so that nothing was removed, or its entry was so old that the run lists its parts itself after
    it has created its manifest. If the manifest is not listed here, the run lists its parts after the removal.
    """
    if not removed:
        return {}
    logged = set(store.list_keys(COMMIT_LOG_FOLDER)).difference(before)
    current = _newest_manifest(store, window)
    # After its commit, or that of a later generation, a run needs only what the manifest names.
    is_active = window in active_windows(log_entries(logged), {window: current} if current else {}, _NEVER_AT)
    is_newer = current is not None and current != newest
    named = {part.key for part in read_committed(store, current).manifest.parts} if current and is_newer else set()
    # An orphaned part may be damaged, and the run may have written it again since.
    return {
        key: content
        for key, content in removed.items()
        if content is not None and (is_active or key in named) and _is_whole(key, content)
    }


def _is_whole(key: str, content: bytes) -> bool:
    return part_digest(key) == hashlib.sha256(content).hexdigest()[:16]


def _newest_manifest(store: Store, window: TimeWindow) -> str | None:
    return newest_manifests(store.list_keys(_keys(window).manifest_prefix)).get(window)


def _keys(window: TimeWindow) -> WindowKeys:
    return WindowKeys(window, window.start.date())


def _folder(key: str) -> str:
    return key.rpartition("/")[0]
