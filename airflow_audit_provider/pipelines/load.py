"""The use case of a warehouse: load what is committed and not loaded, each window in a transaction of its own.

Knows: the order of the steps. Must not know: Airflow, a database, a store's kind.
Its one rule: a window's rows and its ledger entry are one transaction, and nothing is committed that its manifest does
not vouch for: parts by digest, records by count, and the table's own count in the end.

::

    plan     list manifests, read the ledger → generations not loaded yet
    verify   manifest by its key, parts by digest, records by count
    load     claim, empty the window, add its rows, count them
    commit   rows and ledger entry together
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

# How often a window is planned anew because another loader was first, before the task's own retry has its turn.
_MOST_ATTEMPTS = 5
# What becomes one Arrow table at a time: so many records, or fewer when their text is so large.
_GROUP_RECORDS = 2_000
_GROUP_BYTES = 4 << 20


class LoadSpec(NamedTuple):
    """What one load is to do: the windows that share an instant with one asked for, all when None.

    ``dataset`` names the destination inside the table; windows of two datasets never replace each other. With
    ``is_exact`` each window asked for has to be committed as it is, else every instant of it.
    """

    dataset: str
    asked: tuple[TimeWindow, ...] | None = None
    is_exact: bool = False


class LoadedWindow(NamedTuple):
    """One window that was loaded; ``replaced_generation`` is 0 when none of it was loaded before."""

    window: TimeWindow
    generation: int
    replaced_generation: int
    record_count: int


class LoadOutcome(NamedTuple):
    """What was loaded, oldest window first, and how many of the asked windows were loaded before."""

    loaded: tuple[LoadedWindow, ...]
    unchanged_count: int

    @property
    def record_count(self) -> int:
        """How many rows were written."""
        return sum(one.record_count for one in self.loaded)

    def summary(self) -> dict[str, int | str | None]:
        """Return the small summary that travels in XComs and asset events."""
        return {
            "loaded_count": len(self.loaded),
            "replaced_count": sum(one.replaced_generation > 0 for one in self.loaded),
            "unchanged_count": self.unchanged_count,
            "record_count": self.record_count,
            "window_start": self.loaded[0].window.start.isoformat() if self.loaded else None,
            "window_end": max(one.window.end for one in self.loaded).isoformat() if self.loaded else None,
        }


LoadCallback = Callable[[LoadedWindow], None]


def load_committed(order: LoadSpec, store: Store, warehouse: Warehouse, observe: LoadCallback) -> LoadOutcome:
    """Load every asked generation that is committed and not loaded; idempotent.

    A newer generation replaces its window's rows. What can be loaded is loaded before an error of another window is
    raised: the first ``VerificationError`` for parts or counts that are not what the manifest says, else
    ``NotCommittedError`` when a part of what is asked was never committed. Raises ``WarehouseBusyError`` at once when
    other loaders were first too often.
    """
    warehouse.prepare(table_columns())
    plan = _plan(order, store, warehouse)
    loaded, damages = [], []
    for planned in plan.loads:
        try:
            done = _load(order, planned, store, warehouse)
        except VerificationError as error:
            damages.append(error)
            continue
        if done is not None:
            observe(done)
            loaded.append(done)
    if damages:
        raise damages[0]
    check_nothing_missing(plan, order.asked)
    return LoadOutcome(tuple(loaded), plan.unchanged_count + len(plan.loads) - len(loaded))


def _plan(order: LoadSpec, store: Store, warehouse: Warehouse) -> LoadPlan:
    """Read the ledger first: what is committed meanwhile is then new, and never ahead of what was listed."""
    ledger = warehouse.loaded(order.dataset)
    return plan_loads(store.list_keys(MANIFEST_FOLDER), ledger, order.asked, is_exact=order.is_exact)


def _load(order: LoadSpec, planned: PlannedLoad, store: Store, warehouse: Warehouse) -> LoadedWindow | None:
    """Load one window, whichever generation is the newest by then; return None when another loader had done so."""
    for _ in range(_MOST_ATTEMPTS - 1):
        try:
            return _load_once(order.dataset, planned, store, warehouse)
        except (WarehouseBusyError, VerificationError) as error:
            again = _plan(order._replace(asked=(planned.window,)), store, warehouse).loads
            # A replacement removes the parts of the generation before it, perhaps while they were being read here.
            if isinstance(error, VerificationError) and again == (planned,):
                raise
        if not again:
            return None
        (planned,) = again
    return _load_once(order.dataset, planned, store, warehouse)


def _load_once(dataset: str, planned: PlannedLoad, store: Store, warehouse: Warehouse) -> LoadedWindow:
    commit = read_committed(store, planned.manifest_key)
    check_manifest_placement(planned, commit.manifest)
    claim = planned.claim(dataset, commit.manifest, commit.sha256)
    with warehouse.replacing(claim) as rows:
        for group in _groups(claim, commit, store):
            rows.add(group)
        check_row_count(claim, rows.count())
    return LoadedWindow(planned.window, planned.generation, planned.loaded_generation, claim.newest.record_count)


def _groups(claim: LoadClaim, commit: CommittedManifest, store: Store) -> Iterator[Any]:
    """Yield the rows of every part, verified, in Arrow tables of bounded size."""
    chosen = committed_format(commit.manifest)
    for part in commit.manifest.parts:
        yield from _part_groups(claim, commit, part, store, chosen)


def _part_groups(
    claim: LoadClaim, commit: CommittedManifest, part: Part, store: Store, chosen: PartFormat
) -> Iterator[Any]:
    version, found_count = commit.manifest.query.version, 0
    records = read_part(store, part, chosen, version)
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
