"""Plans a load: compares the keys of committed manifests with the load ledger.

Invariant: the ledger only moves forward. A loader claims every generation up to its own, so that of two loaders of one
window, whichever generations they hold, at most one gets its claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import newest_manifests, read_manifest_key
from airflow_audit_provider.core.verification.coverage import WindowFacts, coverage_of
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadClaim
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, NotCommittedError, VerificationError


class PlannedLoad(NamedTuple):
    """A committed generation to load; ``loaded_generation`` is the generation it replaces, 0 if there is none."""

    window: TimeWindow
    manifest_key: str
    generation: int
    loaded_generation: int

    def claim(self, dataset: str, manifest: Manifest, manifest_sha256: str) -> LoadClaim:
        """Returns the claim of this load: its own entry, and one for every generation that it skips."""
        skipped = range(self.loaded_generation + 1, self.generation)
        entries = [LedgerEntry(self.window, number, None, 0) for number in skipped]
        newest = LedgerEntry(self.window, self.generation, manifest_sha256, manifest.record_count)
        return LoadClaim(dataset, (*entries, newest))


class LoadPlan(NamedTuple):
    """Windows to load, oldest first, and the number of requested windows that are loaded already.

    ``missing`` are the requested windows, or the gaps in them, that were never committed.
    """

    loads: tuple[PlannedLoad, ...]
    unchanged_count: int
    missing: tuple[TimeWindow, ...] = ()


def plan_loads(
    manifest_keys: Iterable[str],
    ledger: Iterable[LedgerEntry],
    requested: Sequence[TimeWindow] | None = None,
    *,
    is_exact: bool = False,
) -> LoadPlan:
    """Returns which of the windows that overlap a requested one are committed but not loaded.

    With ``is_exact`` each requested window must be committed as such; otherwise every instant of it must be committed.
    Raises ``VerificationError`` if the ledger is ahead of the destination, or if windows overlap, because their common
    records would be loaded twice.
    """
    committed = newest_manifests(manifest_keys)
    loaded = {entry.window: entry.generation for entry in ledger}
    _check_no_overlap(committed, loaded, requested)
    selected = [window for window in sorted({*committed, *loaded}) if _is_requested(window, requested)]
    loads = [_planned(window, committed.get(window), loaded.get(window, 0)) for window in selected]
    pending = tuple(load for load in loads if load.generation > load.loaded_generation)
    return LoadPlan(pending, len(loads) - len(pending), tuple(_missing(committed, requested or (), is_exact=is_exact)))


def _missing(
    committed: Iterable[TimeWindow], requested: Sequence[TimeWindow], *, is_exact: bool
) -> Iterator[TimeWindow]:
    """Yields the requested windows, or the gaps in them, that are not committed."""
    known = dict.fromkeys(committed, WindowFacts(record_count=0, is_recounted=False))
    for window in requested:
        if not is_exact:
            yield from (TimeWindow(gap.start, gap.end) for gap in coverage_of(window, known).missing)
        elif window not in known:
            yield window


def _is_requested(window: TimeWindow, requested: Sequence[TimeWindow] | None) -> bool:
    return requested is None or any(window.overlaps(other) for other in requested)


def _planned(window: TimeWindow, manifest_key: str | None, loaded_generation: int) -> PlannedLoad:
    named = read_manifest_key(manifest_key) if manifest_key is not None else None
    generation = 0 if named is None else named.generation
    if generation < loaded_generation or manifest_key is None:
        raise VerificationError(
            f"Generation {loaded_generation} of {window} is loaded, but the destination's newest is {generation}. "
            "Find out who removes committed manifests, or give each destination a dataset name of its own."
        )
    return PlannedLoad(window, manifest_key, generation, loaded_generation)


def _check_no_overlap(
    committed: Mapping[TimeWindow, str], loaded: Mapping[TimeWindow, int], requested: Sequence[TimeWindow] | None
) -> None:
    """Raises ``VerificationError`` for two overlapping windows if one of them is to be loaded."""
    widest: TimeWindow | None = None
    for window in sorted({*committed, *loaded}):
        if (
            widest is not None
            and widest.overlaps(window)
            and (_is_requested(window, requested) or _is_requested(widest, requested))
        ):
            raise VerificationError(
                f"The windows {widest} and {window} overlap, so their common records would be loaded twice. "
                "Give each window length a destination and a dataset name of its own."
            )
        widest = window if widest is None or window.end > widest.end else widest


def check_manifest_placement(load: PlannedLoad, manifest: Manifest) -> None:
    """Raises ``VerificationError`` if a manifest's window or generation differs from its key."""
    if (manifest.window, manifest.generation) != (load.window, load.generation):
        raise VerificationError(
            f"The manifest {load.manifest_key} states generation {manifest.generation} of {manifest.window}, which "
            "differs from its key. Restore it from a copy."
        )


def check_part_record_count(part: Part, found_count: int) -> None:
    """Raises ``VerificationError`` if a part's record count differs from its manifest."""
    if found_count != part.record_count:
        raise VerificationError(
            f"The part {part.key} holds {found_count} records, but its manifest states {part.record_count}. "
            "Nothing was loaded. Run the verify operator on the destination."
        )


def check_records_in_window(part: Part, window: TimeWindow, records: Iterable[AuditRecord]) -> None:
    """Raises ``VerificationError`` for a record outside of its window, whose rows a replacement would not find."""
    start_ns, end_ns = window.start_ns, window.end_ns
    if not all(start_ns <= record.event_ns < end_ns for record in records):
        raise VerificationError(
            f"The part {part.key} holds records with event times outside {window}. Nothing was loaded. Run the verify "
            "operator on the destination."
        )


def check_row_count(claim: LoadClaim, found_count: int) -> None:
    """Raises ``VerificationError`` if the warehouse's row count of a window differs from its manifest."""
    if found_count != claim.newest.record_count:
        raise VerificationError(
            f"The table has {found_count} rows of {claim.window}, but its manifest states {claim.newest.record_count}. "
            "Nothing was loaded. Find out what else writes to the table, and whether a database trigger changes rows."
        )


def check_nothing_missing(plan: LoadPlan, requested: Sequence[TimeWindow] | None) -> None:
    """Raises ``NotCommittedError`` if part of the request, or anything at all, was never committed.

    A load of nothing, or of 23 hours of a day, must not look like a complete one.
    """
    if plan.missing:
        raise NotCommittedError(
            f"Not committed: {' and '.join(map(str, plan.missing))}. The rest of the request is loaded. Land these "
            "windows first, or check destination and window; then run this task again."
        )
    if requested is None and not plan.loads and not plan.unchanged_count:
        raise NotCommittedError(
            "No window is committed at the destination. Land one first, or check the destination; "
            "then run this task again."
        )


def event_windows(extras: Iterable[Mapping[str, Any]]) -> tuple[TimeWindow, ...]:
    """Returns the windows in the extras of the landing operator's asset events, each once.

    Raises ``ConfigurationError`` for an event without a window, and if there is no event.
    """
    windows = set()
    for extra in extras:
        try:
            windows.add(TimeWindow(*(datetime.fromisoformat(extra[name]) for name in ("window_start", "window_end"))))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"An asset event of the destination names no window ({type(error).__name__}: {error}). Only events of "
                'the land operator do; load with windows="pending".'
            ) from error
    if not windows:
        raise ConfigurationError(
            "No asset event of the destination triggered this run. Schedule the DAG by audit_log_asset(destination), "
            'or load with windows="pending".'
        )
    return tuple(sorted(windows))
