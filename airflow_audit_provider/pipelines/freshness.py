"""Reads how fresh a destination is, and how late its records came.

::

    newest windows   until when it is landed, and when the newest record was
    commit log       when the reading of each commit began, for the last 30 days if sweeps run
    manifests        of the windows in the log: the newest of each, or its copy in the index

Invariant: it reads no part, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain

import msgspec

from airflow_audit_provider.core.archive.commit_log import log_entries
from airflow_audit_provider.core.archive.dataset import dataset_of
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import (
    COMMIT_LOG_FOLDER,
    MANIFEST_FOLDER,
    LogEntry,
    newest_manifests,
)
from airflow_audit_provider.core.limits import DEFAULT_SETTLE_DELAY, check_lookback, check_settle_delay
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.lateness import (
    Lateness,
    ReadAt,
    WindowReadings,
    lateness_of,
    readings_of,
    undecided_generation,
)
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, from_seconds, second_of, to_ns
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.committed import committed_manifest, placed_manifest, read_committed
from airflow_audit_provider.pipelines.manifest_index import ManifestIndex
from airflow_audit_provider.pipelines.neighbourhood import list_around, newest_windows
from airflow_audit_provider.pipelines.side_by_side import read_each
from airflow_audit_provider.pipelines.stitching import check_one_version

# How many of the newest windows are looked at for the newest record; if all of them are empty, the others are, too.
_RECENT_COUNT = 7


class Freshness(msgspec.Struct, frozen=True):
    """How fresh a destination is at ``now``; the other fields are None if nothing, or no record, is committed.

    ``landed_until_at`` is the end of the newest committed window, and ``landed_lag_seconds`` the time since then.
    ``last_event_at`` is the event time of the newest committed record, and ``last_event_age_seconds`` the time since
    then, which also grows while nothing happens in the account.
    """

    now: datetime
    landed_until_at: datetime | None = None
    landed_lag_seconds: float | None = None
    last_event_at: datetime | None = None
    last_event_age_seconds: float | None = None


class FreshnessReport(msgspec.Struct, frozen=True):
    """What ``freshness --json`` prints; docs/reference/freshness.schema.json is its schema."""

    dataset: str
    freshness: Freshness
    lateness: Lateness


def freshness(store: Store, now: datetime) -> Freshness:
    """Returns how fresh the dataset at the store's root is, by its newest windows: a few listings and reads.

    Raises ``VerificationError`` for a newest manifest that cannot be read.
    """
    newest = newest_windows(store, "", _RECENT_COUNT)
    if not newest:
        check_one_version(store)
    last_ns = _last_event_ns(store, newest)
    if newest and last_ns is None:
        last_ns = _last_event_ns(store, newest_manifests(store.list_keys(MANIFEST_FOLDER)))
    return _freshness(now, newest, last_ns)


def last_event_in(store: Store, span: TimeWindow) -> datetime | None:
    """Returns the event time of the newest committed record in a span, None if no record in it is committed.

    Of a part that reaches beyond the span only the first and the last event time are known.
    """
    newest = newest_manifests(list_around(store, span, "").manifest_keys)
    keys = [key for window, key in newest.items() if window.overlaps(span)]
    manifests = [committed_manifest(key, content).manifest for key, content in read_each(store, keys)]
    parts = chain.from_iterable(manifest.parts for manifest in manifests)
    times = [at for part in parts for at in (part.first_event_ns, part.last_event_ns) if span.contains(at)]
    return _instant(max(times)) if times else None


def _instant(instant_ns: int) -> datetime:
    """Returns an instant in UTC, without the fraction of its second."""
    return from_seconds(second_of(instant_ns))


def freshness_report(
    store: Store, now: datetime, settle_delay: timedelta = DEFAULT_SETTLE_DELAY, lookback: timedelta | None = None
) -> FreshnessReport:
    """Returns the freshness, the lateness that the commits show, and proposals beside the current settings.

    Raises ``VerificationError`` if nothing is committed, or for a manifest that cannot be read.
    """
    check_settle_delay(settle_delay)
    check_lookback(lookback)
    check_one_version(store)
    read_at = _read_at(log_entries(store.list_keys(COMMIT_LOG_FOLDER)))
    listed = {one.key: one for one in store.list_objects(MANIFEST_FOLDER)}
    newest = newest_manifests(listed)
    if not newest:
        raise VerificationError(
            "The destination holds no committed window. Check its spelling: it is the folder that contains _manifests/."
        )
    index = ManifestIndex(store)
    logged = {window: newest[window] for window in sorted(newest) if window in read_at}
    if logged:
        # The index of a month is read whole, so months without a window in the log are left out.
        index.read(min(logged).start, max(logged).start)
        index.compare(listed)
    readings = list(_readings(store, index, logged, read_at))
    unknown = [WindowReadings(window, None, 0, ()) for window in newest if window not in logged]
    found = lateness_of([*readings, *unknown], now, settle_delay, lookback)
    dataset = dataset_of(read_committed(store, newest[max(newest)]).manifest)
    return FreshnessReport(str(dataset), _freshness(now, newest, _last_event_ns(store, newest)), found)


def _freshness(now: datetime, newest: Iterable[TimeWindow], last_ns: int | None) -> Freshness:
    landed_until_at = max((window.end for window in newest), default=None)
    last_event_at = None if last_ns is None else _instant(last_ns)
    return Freshness(
        now=now,
        landed_until_at=landed_until_at,
        landed_lag_seconds=None if landed_until_at is None else max(0.0, (now - landed_until_at).total_seconds()),
        last_event_at=last_event_at,
        last_event_age_seconds=None if last_ns is None else max(0.0, (to_ns(now) - last_ns) / SECOND_NS),
    )


def _last_event_ns(store: Store, newest: Mapping[TimeWindow, str]) -> int | None:
    """Returns the newest event time in some windows; reads manifests from the newest on, until one has records."""
    keys = [newest[window] for window in sorted(newest, reverse=True)]
    # The first one nearly always has records, so that the others need not be read side by side.
    for key, content in chain.from_iterable(read_each(store, some) for some in (keys[:1], keys[1:])):
        parts = committed_manifest(key, content).manifest.parts
        if parts:
            return max(part.last_event_ns for part in parts)
    return None


def _read_at(entries: Iterable[LogEntry]) -> dict[TimeWindow, dict[int, ReadAt]]:
    """Returns when the readings of each generation began, by window."""
    found: dict[TimeWindow, dict[int, ReadAt]] = {}
    for entry in entries:
        generations = found.setdefault(entry.window, {})
        before = generations.get(entry.generation, ReadAt(entry.at, entry.at))
        generations[entry.generation] = ReadAt(min(before.first_at, entry.at), max(before.last_at, entry.at))
    return found


def _readings(
    store: Store,
    index: ManifestIndex,
    logged: Mapping[TimeWindow, str],
    read_at: Mapping[TimeWindow, Mapping[int, ReadAt]],
) -> Iterator[WindowReadings]:
    """Yields what each window shows, with the manifest of another generation where only that one decides."""
    for manifest in _manifests(store, index, list(logged.values())):
        number = undecided_generation(manifest)
        other = None if number is None else read_committed(store, manifest.keys.manifest(number)).manifest
        yield readings_of(manifest, read_at[manifest.window], other)


def _manifests(store: Store, index: ManifestIndex, keys: list[str]) -> Iterator[Manifest]:
    """Yields manifests: those that the index has, then the others."""
    rest = []
    for key in keys:
        copied = _copied(index, key)
        if copied is None:
            rest.append(key)
        else:
            yield copied
    for key, content in read_each(store, rest):
        yield committed_manifest(key, content).manifest


def _copied(index: ManifestIndex, key: str) -> Manifest | None:
    """Returns the manifest in the index, None if it is not there or cannot be used."""
    content = index.copy(key)
    try:
        return None if content is None else placed_manifest(key, content)
    except VerificationError:
        return None
