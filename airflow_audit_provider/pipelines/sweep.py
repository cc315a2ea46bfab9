"""The use case of the janitor: remove what dead tries left.

Knows: where tries stage and publish, what a sign of life is. Must not know: Airflow, the API, what is in a part.
Its one rule: what a newest manifest names, what a living try may still need, and what is nobody's are never touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.checkpoint import read_checkpoint
from airflow_audit_provider.core.archive.object_keys import (
    MANIFEST_FOLDER,
    PARTITION_START,
    STAGING_FOLDER,
    UNFINISHED_FOLDER,
    WindowKeys,
    newest_manifests,
    unfinished_since,
    window_in,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.pipelines.committed import read_committed
from airflow_audit_provider.pipelines.staging_area import AttemptMarker

DEFAULT_AGE = timedelta(days=1)
_Sizes = dict[TimeWindow, dict[str, int]]
_NEVER_AT = datetime.min.replace(tzinfo=UTC)


class SweepReport(NamedTuple):
    """The debris that was found, and removed unless it was a dry run: keys, sorted, and their size together."""

    keys: tuple[str, ...]
    size_bytes: int


def sweep(store: Store, now: datetime, older_than: timedelta = DEFAULT_AGE, dry_run: bool = False) -> SweepReport:
    """Remove what dead tries left: their staging, half-written files, and parts that no newest manifest names.

    A try is dead when its newest sign of life is longer ago than ``older_than``. A window with a living try is left
    alone. Idempotent. Raises ``ConfigurationError`` for an age that is nothing or less, and ``VerificationError``,
    before anything is removed, for a manifest that cannot be read.
    """
    _refuse_age(older_than)
    # Parts first, then tries, then manifests. A part that is listed was published by a try whose marker was there
    # before it and stays until after its manifest. So a try that publishes and commits meanwhile is seen alive in the
    # second listing, or its manifest in the third; in any other order its parts could look like nobody's.
    published = _published(store)
    staged = _staged(store)
    living = {window for window, sizes in staged.items() if now - _seen_alive_at(store, sizes) <= older_than}
    newest = newest_manifests(store.list_keys(MANIFEST_FOLDER))
    named = {part.key for key in newest.values() for part in read_committed(store, key).manifest.parts}
    swept = _unfinished(store, now - older_than)
    if not dry_run:
        store.remove(sorted(swept))
    for window in sorted({*published, *staged} - living):
        parts = {key: size for key, size in published.get(window, {}).items() if key not in named}
        debris = parts | staged.get(window, {})
        if dry_run or _is_left_alone(store, window, staged.get(window, {}), newest.get(window)):
            swept |= debris
            if not dry_run:
                store.remove(sorted(debris))
    return SweepReport(tuple(sorted(swept)), sum(swept.values()))


def _refuse_age(older_than: object) -> None:
    if not isinstance(older_than, timedelta) or older_than <= timedelta(0):
        raise ConfigurationError(
            f"older_than is {older_than!r}. Give a timedelta longer than any try goes without a checkpoint, such as a "
            "day: a try that is younger is taken to be alive."
        )


def _published(store: Store) -> _Sizes:
    """Return the parts by window; what is not called like a part is nobody's and left out."""
    found: _Sizes = defaultdict(dict)
    for key, size_bytes in store.list_sizes(""):
        window = _window_of_part(key)
        if window is not None:
            found[window][key] = size_bytes
    return found


def _window_of_part(key: str) -> TimeWindow | None:
    day, _, rest = key.removeprefix(PARTITION_START).partition("/")
    window = window_in(rest)
    try:
        is_part = window is not None and WindowKeys(window, date.fromisoformat(day)).part_generation(key) is not None
    except ValueError:
        return None
    return window if is_part else None


def _staged(store: Store) -> _Sizes:
    """Return what tries have staged by window; what lies elsewhere in staging is nobody's and left out."""
    found: _Sizes = defaultdict(dict)
    for key, size_bytes in store.list_sizes(STAGING_FOLDER):
        window = window_in(key)
        if window is not None and key.startswith(_keys(window).all_staging):
            found[window][key] = size_bytes
    return found


def _unfinished(store: Store, before: datetime) -> dict[str, int]:
    """Return the objects whose writing began so long ago that nobody can still be writing them."""
    listed = ((key, size_bytes, unfinished_since(key)) for key, size_bytes in store.list_sizes(UNFINISHED_FOLDER))
    return {key: size_bytes for key, size_bytes, since in listed if since is not None and since < before}


def _seen_alive_at(store: Store, staged: Mapping[str, int]) -> datetime:
    """Return the newest sign of life of any try of a window.

    One living try keeps the staging of all: it may have taken over parts that lie in the folder of a dead one.
    """
    checkpoints = {_folder(key): key for key in sorted(staged) if "/checkpoint-" in key}
    markers = [key for key in staged if key.endswith("/attempt.json")]
    return max((_sign_of_life(store, key) for key in [*markers, *checkpoints.values()]), default=_NEVER_AT)


def _sign_of_life(store: Store, key: str) -> datetime:
    """Return what a marker or a checkpoint says; what cannot be read, or has no zone, is no sign of life."""
    content = store.read(key) or b""
    if "/checkpoint-" in key:
        checkpoint = read_checkpoint(content)
        said = checkpoint.saved_at if checkpoint else _NEVER_AT
    else:
        said = _begun_at(content)
    return said if said.tzinfo else _NEVER_AT


def _begun_at(marker: bytes) -> datetime:
    try:
        return msgspec.json.decode(marker, type=AttemptMarker).began_at
    except (msgspec.DecodeError, ValueError):
        return _NEVER_AT


def _is_left_alone(store: Store, window: TimeWindow, staged: Mapping[str, int], newest: str | None) -> bool:
    """Say whether no try of a window began or committed since it was looked at.

    A dead try's part and a new try's have the same key when they are the same bytes. What no listing can show is a run
    that does everything, from its first request to its manifest, between these two, or begins after them and publishes
    before the window's few keys are removed.
    """
    keys = _keys(window)
    if newest_manifests(store.list_keys(keys.manifest_prefix)).get(window) != newest:
        return False
    return set(store.list_keys(keys.all_staging)) <= set(staged)


def _keys(window: TimeWindow) -> WindowKeys:
    return WindowKeys(window, window.start.date())


def _folder(key: str) -> str:
    return key.rpartition("/")[0]
