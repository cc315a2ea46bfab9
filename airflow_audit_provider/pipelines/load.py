"""Loads committed windows into a warehouse, each window in a transaction of its own.

::

    plan     list manifests, read the load ledger: generations that are not loaded yet
    verify   the manifest by its key, parts by digest, records by count
    load     claim the window, delete its rows, add the new rows, count them
    commit   rows and ledger entry together

Invariant: a window's rows and its ledger entry become visible in one transaction, and only if parts, records and the
table's own row count match the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.load_plan import (
    LoadPlan,
    PlannedLoad,
    check_manifest_placement,
    check_nothing_missing,
    check_part_record_count,
    check_records_in_window,
    check_row_count,
    plan_loads,
)
from airflow_audit_provider.core.warehouse.port import LoadClaim, Warehouse
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError, WarehouseBusyError
from airflow_audit_provider.formats.part_format import PartFormat, committed_format
from airflow_audit_provider.formats.warehouse_rows import arrow_rows, table_columns
from airflow_audit_provider.pipelines.committed import read_committed, read_part

# How often a window is planned again after another loader was first; after that the task itself is retried.
_MAX_ATTEMPTS = 5
# Size of one Arrow table: this many records, or fewer if their text reaches this many bytes.
_GROUP_RECORDS = 2_000
_GROUP_BYTES = 4 << 20


class LoadSpec(NamedTuple):
    """Specification of a load: the committed windows that overlap a requested one, or all if ``requested`` is None.

    ``dataset`` names the destination in the table; windows of two datasets never replace each other. With ``is_exact``
    each requested window must be committed as such; otherwise every instant of it must be committed.
    """

    dataset: str
    requested: tuple[TimeWindow, ...] | None = None
    is_exact: bool = False


class LoadedWindow(NamedTuple):
    """A loaded window; ``replaced_generation`` is 0 if no generation of it was loaded before."""

    window: TimeWindow
    generation: int
    replaced_generation: int
    record_count: int


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
    """Loads every requested generation that is committed and not loaded yet; idempotent.

    A newer generation replaces its window's rows. All loadable windows are loaded before the error of another window is
    raised: the first ``VerificationError`` for parts or counts that differ from the manifest, otherwise
    ``NotCommittedError`` if part of the request was never committed. Raises ``WarehouseBusyError`` at once if other
    loaders were first too often.
    """
    warehouse.prepare(table_columns())
    plan = _plan(spec, store, warehouse)
    loaded, errors = [], []
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
    return LoadOutcome(tuple(loaded), plan.unchanged_count + len(plan.loads) - len(loaded))


def _plan(spec: LoadSpec, store: Store, warehouse: Warehouse) -> LoadPlan:
    """Returns the plan.

    The ledger is read before the manifests are listed, so that it is never ahead of the listing.
    """
    ledger = warehouse.loaded(spec.dataset)
    return plan_loads(store.list_keys(MANIFEST_FOLDER), ledger, spec.requested, is_exact=spec.is_exact)


def _load(spec: LoadSpec, planned: PlannedLoad, store: Store, warehouse: Warehouse) -> LoadedWindow | None:
    """Loads the newest generation of one window; returns None if another loader has loaded it already."""
    for _ in range(_MAX_ATTEMPTS - 1):
        try:
            return _load_once(spec.dataset, planned, store, warehouse)
        except (WarehouseBusyError, VerificationError) as error:
            replanned = _plan(spec._replace(requested=(planned.window,)), store, warehouse).loads
            # A replacement removes the parts of the generation before it, possibly while they are being read here.
            if isinstance(error, VerificationError) and replanned == (planned,):
                raise
        if not replanned:
            return None
        (planned,) = replanned
    return _load_once(spec.dataset, planned, store, warehouse)


def _load_once(dataset: str, planned: PlannedLoad, store: Store, warehouse: Warehouse) -> LoadedWindow:
    committed = read_committed(store, planned.manifest_key)
    check_manifest_placement(planned, committed.manifest)
    claim = planned.claim(dataset, committed.manifest, committed.sha256)
    with warehouse.replacing(claim) as rows:
        for group in _groups(claim, committed, store):
            rows.add(group)
        check_row_count(claim, rows.count())
    return LoadedWindow(planned.window, planned.generation, planned.loaded_generation, claim.newest.record_count)


def _groups(claim: LoadClaim, committed: CommittedManifest, store: Store) -> Iterator[Any]:
    """Yields the rows of every part, verified, in Arrow tables of bounded size."""
    part_format = committed_format(committed.manifest)
    for part in committed.manifest.parts:
        yield from _part_groups(claim, committed, part, store, part_format)


def _part_groups(
    claim: LoadClaim, committed: CommittedManifest, part: Part, store: Store, part_format: PartFormat
) -> Iterator[Any]:
    version, found_count = committed.manifest.query.version, 0
    records = read_part(store, part, part_format, version)
    for group in _grouped(records):
        found_count += len(group)
        check_records_in_window(part, claim.window, group)
        yield arrow_rows(version, group, claim)
    check_part_record_count(part, found_count)


def _grouped(records: Iterable[AuditRecord]) -> Iterator[list[AuditRecord]]:
    group: list[AuditRecord] = []
    size = 0
    for record in records:
        group.append(record)
        size += len(record.raw)
        if len(group) >= _GROUP_RECORDS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
