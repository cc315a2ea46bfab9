"""Which committed windows are not loaded yet, and what loading one replaces: manifests' keys against the load ledger.

Knows: windows, generations, ledger entries. Must not know: databases, stores, parts' bytes.
Its one rule: the ledger only goes forward; a loader claims every generation up to its own, so that of two loaders of
one window, whatever generations they hold, at most one has its claim.
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
    """A committed generation to load; ``loaded_generation`` is the one it replaces, 0 when there is none."""

    window: TimeWindow
    manifest_key: str
    generation: int
    loaded_generation: int

    def claim(self, dataset: str, manifest: Manifest, manifest_sha256: str) -> LoadClaim:
        """Return the claim of this load: its own entry, and one for every generation it jumps over."""
        jumped = range(self.loaded_generation + 1, self.generation)
        entries = [LedgerEntry(self.window, number, None, 0) for number in jumped]
        newest = LedgerEntry(self.window, self.generation, manifest_sha256, manifest.record_count)
        return LoadClaim(dataset, (*entries, newest))


class LoadPlan(NamedTuple):
    """What to load, oldest window first, and how many of the asked windows are loaded already.

    ``missing`` is what of the windows asked for was never committed: whole windows, or the gaps in them.
    """

    loads: tuple[PlannedLoad, ...]
    unchanged_count: int
    missing: tuple[TimeWindow, ...] = ()


def plan_loads(
    manifest_keys: Iterable[str],
    ledger: Iterable[LedgerEntry],
    asked: Sequence[TimeWindow] | None = None,
    *,
    is_exact: bool = False,
) -> LoadPlan:
    """Return what is committed and not loaded of the windows that share an instant with one asked for.

    With ``is_exact`` each window asked for has to be committed as it is, else every instant of it. Raises
    ``VerificationError`` when the ledger is ahead of the destination, and when windows overlap: their common records
    would be in the table twice.
    """
    committed = newest_manifests(manifest_keys)
    loaded = {entry.window: entry.generation for entry in ledger}
    _check_no_overlap(committed, loaded, asked)
    chosen = [window for window in sorted({*committed, *loaded}) if _is_asked(window, asked)]
    loads = [_planned(window, committed.get(window), loaded.get(window, 0)) for window in chosen]
    pending = tuple(load for load in loads if load.generation > load.loaded_generation)
    return LoadPlan(pending, len(loads) - len(pending), tuple(_missing(committed, asked or (), is_exact=is_exact)))


def _missing(committed: Iterable[TimeWindow], asked: Sequence[TimeWindow], *, is_exact: bool) -> Iterator[TimeWindow]:
    """Yield what of the windows asked for is not committed: whole windows, or the gaps in them."""
    known = dict.fromkeys(committed, WindowFacts(record_count=0, is_verified=False))
    for window in asked:
        if not is_exact:
            yield from (TimeWindow(gap.start, gap.end) for gap in coverage_of(window, known).missing)
        elif window not in known:
            yield window


def _is_asked(window: TimeWindow, asked: Sequence[TimeWindow] | None) -> bool:
    return asked is None or any(window.overlaps(other) for other in asked)


def _planned(window: TimeWindow, manifest_key: str | None, loaded_generation: int) -> PlannedLoad:
    named = read_manifest_key(manifest_key) if manifest_key is not None else None
    generation = 0 if named is None else named.generation
    if generation < loaded_generation or manifest_key is None:
        raise VerificationError(
            f"Generation {loaded_generation} of {window} is loaded, and the destination's newest is {generation}. "
            "Find who removes committed manifests, or give another destination a dataset name of its own."
        )
    return PlannedLoad(window, manifest_key, generation, loaded_generation)


def _check_no_overlap(
    committed: Mapping[TimeWindow, str], loaded: Mapping[TimeWindow, int], asked: Sequence[TimeWindow] | None
) -> None:
    """Refuse windows that share an instant, if one of the two is to be loaded."""
    widest: TimeWindow | None = None
    for window in sorted({*committed, *loaded}):
        if widest is not None and widest.overlaps(window) and (_is_asked(window, asked) or _is_asked(widest, asked)):
            raise VerificationError(
                f"The windows {widest} and {window} overlap, so that their common records would be loaded twice. "
                "Give every division of time a destination and a dataset name of its own."
            )
        widest = window if widest is None or window.end > widest.end else widest


def check_manifest_placement(load: PlannedLoad, manifest: Manifest) -> None:
    """Raise ``VerificationError`` when a manifest is of another window or generation than its key says."""
    if (manifest.window, manifest.generation) != (load.window, load.generation):
        raise VerificationError(
            f"The manifest {load.manifest_key} says it is generation {manifest.generation} of {manifest.window}. "
            "Restore it from a copy."
        )


def check_part_record_count(part: Part, found_count: int) -> None:
    """Raise ``VerificationError`` when a part holds more or fewer records than its manifest says."""
    if found_count != part.record_count:
        raise VerificationError(
            f"The part {part.key} holds {found_count} records, and its manifest says {part.record_count}. "
            "Nothing was loaded. Run the verify operator on the destination."
        )


def check_records_in_window(part: Part, window: TimeWindow, records: Iterable[AuditRecord]) -> None:
    """Raise ``VerificationError`` for a record of an instant outside its window, where a replacement may not look."""
    start_ns, end_ns = window.start_ns, window.end_ns
    if not all(start_ns <= record.event_ns < end_ns for record in records):
        raise VerificationError(
            f"The part {part.key} holds records of instants outside {window}. Nothing was loaded. Run the verify "
            "operator on the destination."
        )


def check_row_count(claim: LoadClaim, found_count: int) -> None:
    """Raise ``VerificationError`` when the warehouse counts other rows of a window than its manifest has records."""
    if found_count != claim.newest.record_count:
        raise VerificationError(
            f"The table has {found_count} rows of {claim.window}, and its manifest says {claim.newest.record_count}. "
            "Nothing was loaded. Find who else writes to the table, and whether a trigger of it drops or adds rows."
        )


def check_nothing_missing(plan: LoadPlan, asked: Sequence[TimeWindow] | None) -> None:
    """Raise ``NotCommittedError`` when a part of what is asked was never committed, or nothing at all.

    A load of nothing, or of 23 hours of a day, must not look like one of everything.
    """
    if plan.missing:
        raise NotCommittedError(
            f"Not committed: {' and '.join(map(str, plan.missing))}. What else was asked for is loaded. Land it first, "
            "or check destination and window; then run this again."
        )
    if asked is None and not plan.loads and not plan.unchanged_count:
        raise NotCommittedError(
            "No window is committed at the destination. Land one first, or check the destination; then run this again."
        )


def event_windows(extras: Iterable[Mapping[str, Any]]) -> tuple[TimeWindow, ...]:
    """Return the windows that asset events of the landing operator name in their extra, each once.

    Raises ``ConfigurationError`` for an event without a window, and when there is no event at all.
    """
    windows = set()
    for extra in extras:
        try:
            windows.add(TimeWindow(*(datetime.fromisoformat(extra[name]) for name in ("window_start", "window_end"))))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"An asset event of the destination names no window ({type(error).__name__}: {error}). Only events of "
                'the landing operator do; load with windows="pending".'
            ) from error
    if not windows:
        raise ConfigurationError(
            "No asset event of the destination triggered this run. Schedule the DAG by audit_log_asset(destination), "
            'or load with windows="pending".'
        )
    return tuple(sorted(windows))
