"""Plans a load: compares the committed manifests of a destination with the load ledger.

A window is loaded if the ledger has the digest of its newest manifest. Generations alone do not tell: a destination
that was emptied and landed anew has generation 1 again, and so has every other destination.

Invariant: each load of a window claims the next load number, so that of two loaders that read the same ledger at most
one gets its claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import WindowKeys, newest_manifests, read_manifest_key
from airflow_audit_provider.core.verification.coverage import WindowFacts, coverage_of
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadClaim
from airflow_audit_provider.core.windows.window import TimeWindow, count_of
from airflow_audit_provider.exceptions import ConfigurationError, NotCommittedError, VerificationError


class CommittedWindows(NamedTuple):
    """What is committed at a destination: its URI, the keys of its manifests, and digests of manifests by key.

    A plan needs the digests of :func:`keys_to_compare`.
    """

    destination: str
    manifest_keys: tuple[str, ...]
    sha256_by_key: Mapping[str, str] = {}


class PlannedLoad(NamedTuple):
    """A committed generation to load; ``replaced`` is the window's entry in the ledger, None if there is none."""

    window: TimeWindow
    manifest_key: str
    generation: int
    replaced: LedgerEntry | None = None

    @property
    def loaded_generation(self) -> int:
        """The generation that this load replaces, 0 if there is none."""
        return self.replaced.generation if self.replaced else 0

    @property
    def first_key(self) -> str:
        """The key of the manifest of the window's generation 1."""
        return _keys_of(self.window).manifest(1)

    def claim(
        self, dataset: str, destination: str, committed: CommittedManifest, first_sha256: str | None
    ) -> LoadClaim:
        """Returns the claim of this load: the next entry of its window."""
        load_number = self.replaced.load_number + 1 if self.replaced else 1
        manifest = committed.manifest
        entry = LedgerEntry(
            self.window,
            load_number,
            self.generation,
            committed.sha256,
            first_sha256,
            manifest.record_count,
            destination,
            self._superseded_by(first_sha256),
        )
        return LoadClaim(dataset, entry)

    def _superseded_by(self, first_sha256: str | None) -> frozenset[str]:
        if self.replaced is None:
            return frozenset()
        earlier = {*self.replaced.superseded, self.replaced.first_sha256}
        return frozenset(sha256 for sha256 in earlier if sha256 is not None and sha256 != first_sha256)


class LoadPlan(NamedTuple):
    """Windows to load, oldest first, and the number of requested windows that are loaded already.

    ``missing`` are the requested windows, or the gaps in them, that were never committed. ``errors`` are those of
    windows that cannot be loaded, because the destination has lost what is loaded.
    """

    loads: tuple[PlannedLoad, ...]
    unchanged_count: int
    missing: tuple[TimeWindow, ...] = ()
    errors: tuple[VerificationError, ...] = ()


def keys_to_compare(
    manifest_keys: Iterable[str], ledger: Iterable[LedgerEntry], requested: Sequence[TimeWindow] | None = None
) -> list[str]:
    """Returns the keys of the listed manifests whose digests a plan compares with the ledger, sorted.

    These are the loaded generation and generation 1 of each loaded window that is requested.
    """
    compared = {
        _keys_of(entry.window).manifest(generation)
        for entry in ledger
        if _is_requested(entry.window, requested)
        for generation in (1, entry.generation)
    }
    return sorted(compared.intersection(manifest_keys))


def plan_loads(
    committed: CommittedWindows,
    ledger: Iterable[LedgerEntry],
    requested: Sequence[TimeWindow] | None = None,
    *,
    is_exact: bool = False,
) -> LoadPlan:
    """Returns which of the windows that overlap a requested one are committed but not loaded.

    With ``is_exact`` each requested window must be committed as such; otherwise every instant of it must be committed.
    A window whose loaded manifest differs from the destination's is loaded again if it was loaded from the same
    destination, which was landed anew. Raises ``ConfigurationError`` if it was loaded from another destination, and
    ``VerificationError`` if windows overlap, because their common records would be loaded twice.
    """
    newest = newest_manifests(committed.manifest_keys)
    entries = {entry.window: entry for entry in ledger}
    _check_no_overlap({*newest, *entries}, requested)
    selected = [window for window in sorted({*newest, *entries}) if _is_requested(window, requested)]
    loads, errors = [], []
    for window in selected:
        try:
            loads.append(_planned(window, newest.get(window), entries.get(window), committed))
        except VerificationError as error:
            errors.append(error)
    pending = tuple(load for load in loads if load is not None)
    missing = tuple(_missing(newest, requested or (), is_exact=is_exact))
    return LoadPlan(pending, len(loads) - len(pending), missing, tuple(errors))


def _keys_of(window: TimeWindow) -> WindowKeys:
    return WindowKeys(window, window.start.date())


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


def _planned(
    window: TimeWindow, manifest_key: str | None, entry: LedgerEntry | None, committed: CommittedWindows
) -> PlannedLoad | None:
    """Returns the load of a window's newest generation, None if it is loaded."""
    named = read_manifest_key(manifest_key) if manifest_key is not None else None
    generation = 0 if named is None else named.generation
    if entry is not None and not _has_loaded_manifest(entry, committed):
        _check_may_replace(entry, generation, committed)
    elif entry is not None and entry.generation == generation:
        return None
    return PlannedLoad(window, manifest_key or "", generation, entry)


def _has_loaded_manifest(entry: LedgerEntry, committed: CommittedWindows) -> bool:
    """Returns whether the destination has the manifest that was loaded, perhaps with newer generations after it."""
    key = _keys_of(entry.window).manifest(entry.generation)
    return committed.sha256_by_key.get(key) == entry.manifest_sha256


def _check_may_replace(entry: LedgerEntry, generation: int, committed: CommittedWindows) -> None:
    """Raises an error unless the window was landed anew at the destination that it was loaded from.

    ``generation`` is the destination's newest, 0 if the window is not committed.
    """
    if committed.destination != entry.destination:
        raise ConfigurationError(
            f"The window {entry.window} was loaded from {entry.destination} under the same dataset name, and "
            f"{committed.destination} does not have the manifest that was loaded. Nothing was loaded. Give each "
            "destination a dataset name of its own; if the destination was moved, remove the dataset's entries from "
            "the load ledger."
        )
    first_sha256 = committed.sha256_by_key.get(_keys_of(entry.window).manifest(1))
    if generation == 0 or (generation < entry.generation and first_sha256 == entry.first_sha256):
        raise VerificationError(
            f"Generation {entry.generation} of {entry.window} is loaded, but the destination's newest is {generation}. "
            "Find out who removes committed manifests and restore them, or land the window again."
        )
    if first_sha256 in entry.superseded:
        raise ConfigurationError(
            f"The records of the window {entry.window} at {entry.destination} were loaded before, and then replaced by "
            "other records from the same URI. Nothing was loaded. Give each object store a dataset name of its own; if "
            "an older copy of the destination was restored, remove the window's entries from the load ledger."
        )


def _check_no_overlap(windows: Iterable[TimeWindow], requested: Sequence[TimeWindow] | None) -> None:
    """Raises ``VerificationError`` for two overlapping windows if one of them is to be loaded."""
    widest: TimeWindow | None = None
    for window in sorted(windows):
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


def check_part_record_count(part: Part, found_count: int) -> None:
    """Raises ``VerificationError`` if a part's record count differs from its manifest."""
    if found_count != part.record_count:
        raise VerificationError(
            f"The part {part.key} holds {count_of(found_count, 'record')}, but its manifest states "
            f"{part.record_count}. "
            "Nothing of the window was loaded. Run the verify operator on the destination."
        )


def check_records_in_window(part: Part, window: TimeWindow, records: Iterable[AuditRecord]) -> None:
    """Raises ``VerificationError`` for a record outside of its window, whose rows a replacement would not find."""
    times_ns = [record.event_ns for record in records]
    if times_ns:
        check_times_in_window(part, window, min(times_ns), max(times_ns))


def check_times_in_window(part: Part, window: TimeWindow, first_ns: int, last_ns: int) -> None:
    """Raises ``VerificationError`` if the first or the last event time of rows is outside of their window."""
    if not window.start_ns <= first_ns <= last_ns < window.end_ns:
        raise VerificationError(
            f"The part {part.key} holds records with event times outside {window}. Nothing of the window was loaded. "
            "Run the verify operator on the destination."
        )


def check_row_count(claim: LoadClaim, found_count: int) -> None:
    """Raises ``VerificationError`` if the warehouse's row count of a window differs from its manifest."""
    if found_count != claim.entry.record_count:
        raise VerificationError(
            f"The table has {count_of(found_count, 'row')} of {claim.window}, but its manifest states "
            f"{claim.entry.record_count}. "
            "Nothing of the window was loaded. Find out what else writes to the table, and whether a database trigger "
            "changes rows."
        )


def check_nothing_missing(plan: LoadPlan, requested: Sequence[TimeWindow] | None) -> None:
    """Raises ``NotCommittedError`` if part of the request, or anything at all, was never committed.

    A load of nothing, or of 23 hours of a day, must not look like a complete one.
    """
    if plan.missing:
        raise NotCommittedError(
            f"Windows are not committed: {' and '.join(map(str, plan.missing))}. The other requested windows are "
            "loaded. Land the missing windows first, or check destination and window; then run this task again."
        )
    if requested is None and not plan.loads and not plan.unchanged_count:
        raise NotCommittedError(
            "No window is committed at the destination. Land one first, or check the destination; "
            "then run this task again."
        )


def are_single_windows(extras: Iterable[Mapping[str, Any]]) -> bool:
    """Returns whether each of the land operator's asset events is about one window, and none about several."""
    return not any(extra.get("partition_by") or extra.get("history") for extra in extras)


def event_windows(extras: Iterable[Mapping[str, Any]]) -> tuple[TimeWindow, ...]:
    """Returns the windows in the extras of the land operator's asset events, each once.

    Raises ``ConfigurationError`` for an event without a window, and if there is no event.
    """
    windows = set()
    for extra in extras:
        try:
            windows.add(TimeWindow(*(datetime.fromisoformat(extra[name]) for name in ("window_start", "window_end"))))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"An asset event of the destination names no window ({type(error).__name__}: {error}). Only events of "
                'the land operator name windows. Load with windows="pending".'
            ) from error
    if not windows:
        raise ConfigurationError(
            "No asset event of the destination triggered this run. Schedule the DAG by audit_log_asset(destination), "
            'or load with windows="pending".'
        )
    return tuple(sorted(windows))
