"""Loads committed windows into a warehouse, each window in a transaction of its own.

::

    plan     read the load ledger, find by the commit log which windows may have changed, or list all manifests, and
             compare digests: manifests that are not loaded yet
    verify   the manifest by its key, parts by digest, records by count
    load     claim the window, delete its rows, add the new rows, count them
    commit   rows and ledger entry together

Invariant: a window's rows and its ledger entry become visible in one transaction, and only if parts, records and the
table's own row count match the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import NamedTuple

from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.load_plan import (
    CommittedWindows,
    LoadPlan,
    PlannedLoad,
    check_nothing_missing,
    check_part_record_count,
    check_records_in_window,
    check_row_count,
    check_times_in_window,
    keys_to_compare,
    plan_loads,
)
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadClaim, RowSink, Warehouse
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError, WarehouseBusyError
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.formats.warehouse_rows import arrow_rows, landed_table, table_columns
from airflow_audit_provider.pipelines.committed import grouped, read_committed, read_part_content, read_sha256
from airflow_audit_provider.pipelines.pending_windows import Pending, PendingWindows

# How often a window is planned again after another loader was first; after that the task itself is retried.
_MAX_ATTEMPTS = 5
# A read of a small object from S3 takes some 30 ms, so a year of hourly windows takes a quarter of a minute.
_CONCURRENT_READS = 16


class LoadSpec(NamedTuple):
    """Specification of a load: the committed windows that overlap a requested one, or all if ``requested`` is None.

    ``now`` lets a load of all windows continue where the last one ended in the commit log; without it, the load looks
    at all manifests.
    ``dataset`` names the destination in the table; windows of two datasets never replace each other. ``destination`` is
    the destination's own URI, which the ledger records. With ``is_exact`` each requested window must be committed as
    such; otherwise every instant of it must be committed.
    """

    dataset: str
    destination: str
    requested: tuple[TimeWindow, ...] | None = None
    is_exact: bool = False
    now: datetime | None = None


class LoadedWindow(NamedTuple):
    """A loaded window; ``replaced_generation`` is 0 if no generation of it was loaded before.

    ``is_landed_anew`` if the replaced generation is not an earlier one of the same manifests.
    """

    window: TimeWindow
    generation: int
    replaced_generation: int
    record_count: int
    is_landed_anew: bool = False


class LoadOutcome(NamedTuple):
    """Loaded windows, oldest first, and the number of requested windows that were loaded before."""

    loaded: tuple[LoadedWindow, ...]
    unchanged_count: int

    @property
    def record_count(self) -> int:
        """Number of rows written."""
        return sum(one.record_count for one in self.loaded)

    def summary(self) -> dict[str, int | str | None]:
        """Returns the summary for XComs and asset events."""
        return {
            "loaded_count": len(self.loaded),
            "replaced_count": sum(one.replaced_generation > 0 for one in self.loaded),
            "unchanged_count": self.unchanged_count,
            "record_count": self.record_count,
            "window_start": self.loaded[0].window.start.isoformat() if self.loaded else None,
            "window_end": max(one.window.end for one in self.loaded).isoformat() if self.loaded else None,
        }


LoadCallback = Callable[[LoadedWindow], None]


def load_committed(spec: LoadSpec, store: Store, warehouse: Warehouse, on_loaded: LoadCallback) -> LoadOutcome:
    """Loads every requested manifest that is committed and not loaded yet; idempotent.

    A newer generation replaces its window's rows, and so does a window that was landed anew. All loadable windows are
    loaded before the error of another window is raised: the first ``VerificationError`` for windows that the
    destination has lost, and parts or counts that differ from the manifest, otherwise ``NotCommittedError`` if part of
    the request was never committed. Raises ``WarehouseBusyError`` at once if other loaders were first too often, and
    ``ConfigurationError``, before anything is loaded, if the dataset was loaded from another destination.
    """
    warehouse.prepare(table_columns())
    pending = PendingWindows(spec.dataset, spec.destination, store, warehouse, partial(_plan_upon, spec, store))
    if spec.requested is None and spec.now is not None:
        found = pending.find(spec.now)
    else:
        found = Pending(_plan(spec, store, warehouse), None)
    plan = found.plan
    loaded, errors = [], list(plan.errors)
    for planned in plan.loads:
        try:
            done = _load(spec, planned, store, warehouse)
        except VerificationError as error:
            errors.append(error)
            continue
        if done is not None:
            on_loaded(done)
            loaded.append(done)
    if errors:
        raise errors[0]
    check_nothing_missing(plan, spec.requested)
    pending.remember(found)
    return LoadOutcome(tuple(loaded), plan.unchanged_count + len(plan.loads) - len(loaded))


def _plan(spec: LoadSpec, store: Store, warehouse: Warehouse) -> LoadPlan:
    """Returns the plan.

    The ledger is read before the manifests are listed, so that it is never ahead of the listing.
    """
    ledger = warehouse.loaded(spec.dataset)
    return _plan_upon(spec, store, tuple(store.list_keys(MANIFEST_FOLDER)), ledger)


def _plan_upon(spec: LoadSpec, store: Store, manifest_keys: tuple[str, ...], ledger: Sequence[LedgerEntry]) -> LoadPlan:
    """Returns the plan that compares listed manifests with ledger entries."""
    sha256_by_key = _read_digests(store, keys_to_compare(manifest_keys, ledger, spec.requested))
    committed = CommittedWindows(spec.destination, manifest_keys, sha256_by_key)
    return plan_loads(committed, ledger, spec.requested, is_exact=spec.is_exact)


def _read_digests(store: Store, keys: Sequence[str]) -> dict[str, str]:
    """Returns the SHA-256 of each object that exists; reads several at a time, because there may be thousands."""
    with ThreadPoolExecutor(_CONCURRENT_READS, thread_name_prefix="audit-log-manifest") as pool:
        digests = pool.map(partial(read_sha256, store), keys)
        return {key: sha256 for key, sha256 in zip(keys, digests, strict=True) if sha256 is not None}


def _load(spec: LoadSpec, planned: PlannedLoad, store: Store, warehouse: Warehouse) -> LoadedWindow | None:
    """Loads the newest generation of one window; returns None if another loader has loaded it already."""
    for _ in range(_MAX_ATTEMPTS - 1):
        try:
            return _load_once(spec, planned, store, warehouse)
        except (WarehouseBusyError, VerificationError) as error:
            replanned = _plan(spec._replace(requested=(planned.window,)), store, warehouse)
            # A replacement removes the parts of the generation before it, possibly while they are being read here.
            if isinstance(error, VerificationError) and replanned.loads == (planned,):
                raise
        if replanned.errors:
            raise replanned.errors[0]
        if not replanned.loads:
            return None
        (planned,) = replanned.loads
    return _load_once(spec, planned, store, warehouse)


def _load_once(spec: LoadSpec, planned: PlannedLoad, store: Store, warehouse: Warehouse) -> LoadedWindow:
    committed = read_committed(store, planned.manifest_key)
    first_sha256 = committed.sha256 if planned.generation == 1 else read_sha256(store, planned.first_key)
    claim = planned.claim(spec.dataset, spec.destination, committed, first_sha256)
    with warehouse.replacing(claim) as rows:
        for part in committed.manifest.parts:
            _add_part(rows, claim, committed, part, store)
        check_row_count(claim, rows.count())
    is_landed_anew = planned.replaced is not None and planned.replaced.first_sha256 != first_sha256
    record_count = claim.entry.record_count
    return LoadedWindow(planned.window, planned.generation, planned.loaded_generation, record_count, is_landed_anew)


def _add_part(rows: RowSink, claim: LoadClaim, committed: CommittedManifest, part: Part, store: Store) -> None:
    """Adds the rows of a part, verified: as the file it is if it has the table's columns, otherwise from its records.

    The warehouse gets the bytes whose digest was compared; nothing is read from the store a second time.
    """
    part_format, version = committed_format(committed.manifest), committed.manifest.query.version
    content = read_part_content(store, part)
    table = landed_table(content, part_format, claim)
    if table is not None:
        check_part_record_count(part, table.record_count)
        check_times_in_window(part, claim.window, *table.event_bounds_ns())
        return rows.add_part(table)
    found_count = 0
    for group in grouped(part_format.read(version, content, part.first_event_ns)):
        found_count += len(group)
        check_records_in_window(part, claim.window, group)
        rows.add(arrow_rows(version, group, claim))
    check_part_record_count(part, found_count)
    return None
