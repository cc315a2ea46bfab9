"""Commit of staged parts: claims the dataset, logs the attempt, publishes the parts, then creates the manifest.

The order of the steps is the state table in ``core/archive/commit``; this module performs them on the store.

An erasure is part of the manifest that replaces: it lists what goes before anything goes, so that a later run can
finish the removal.

Invariant: the manifest is created only after the store has confirmed the digest of each new part, or lists every part
with its size; it is never overwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.archive.commit import (
    CommitEvent,
    CommitPlan,
    CommitState,
    CommittedManifest,
    check_objects_present,
)
from airflow_audit_provider.core.archive.compatibility import check_no_overlap, check_no_overlap_after_commit
from airflow_audit_provider.core.archive.dataset import dataset_of
from airflow_audit_provider.core.archive.manifest import Erasure, Manifest, canonical_json, sum_counts
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.limits import NO_VERIFICATION
from airflow_audit_provider.core.ports import Clock, Store
from airflow_audit_provider.exceptions import CommitConflictError, StorageError
from airflow_audit_provider.pipelines.committed import (
    absent_objects,
    latest_committed,
    read_committed,
)
from airflow_audit_provider.pipelines.dataset import claim_dataset
from airflow_audit_provider.pipelines.observer import PullOutcome
from airflow_audit_provider.pipelines.pull_spec import PlannedPull
from airflow_audit_provider.pipelines.staged_records import StagedRecords
from airflow_audit_provider.pipelines.staging_area import StagingArea


def commit_staged(planned: PlannedPull, area: StagingArea, staged: StagedRecords, clock: Clock) -> PullOutcome:
    """Publishes the staged parts and creates the next manifest. No-op if there are no new records.

    Published parts stay when this fails without a winner: another run of the window may be about to commit the same
    keys, and the next attempt publishes the same bytes under them. Raises ``CommitConflictError`` if another run
    committed other records, or another dataset, first, and ``StorageUnavailableError`` or ``VerificationError`` if the
    store lost a part.
    """
    committed, spec, store = planned.committed, planned.spec, area.store
    if planned.descriptor is None:
        # Before anything is published: the loser of two first commits leaves nothing where readers look.
        claim_dataset(store, dataset_of(committed.manifest) if committed and spec.is_erasure else spec.dataset)
    extension = spec.part_format.extension
    plan = CommitPlan(planned.keys, committed, spec.replace, staged.parts, extension, spec.is_erasure)
    if committed is not None and plan.state is CommitState.UNCHANGED:
        return PullOutcome(committed.manifest, committed.key, committed=False, missing_count=staged.missing_count)
    _announce(store, planned.keys)
    area.begin_commit(clock.now())
    is_confirmed = _publish_parts(plan, area, staged)
    manifest = plan.manifest(_draft_manifest(planned, staged, _erasure(planned, store)))
    if not is_confirmed:
        check_objects_present(area.list_published(manifest.parts))
    if _create_manifest(plan, store, manifest):
        _check_committed(plan, area, manifest, is_whole=is_confirmed and area.is_guarded(clock.now()))
        return PullOutcome(
            manifest,
            plan.manifest_key,
            committed=True,
            missing_count=staged.missing_count,
            odd_records=sum_counts(*(part.odd_records for part in staged.parts)),
            odd_examples=tuple(staged.odd_examples),
        )
    winner = _agreed_winner(plan, area, manifest)
    # The run that was first may have been this one, with a lost response, or may have been killed before its check.
    _check_committed(plan, area, winner.manifest)
    return PullOutcome(winner.manifest, winner.key, committed=False, missing_count=staged.missing_count)


def _announce(store: Store, keys: WindowKeys) -> None:
    """Announces a window of more than a day before it is committed, so that every later pull finds it by one listing.

    If it exists already, an earlier attempt or another run of the window has created it.
    """
    if keys.announcement is not None:
        store.create(keys.announcement, canonical_json({"window": keys.window}))


def _publish_parts(plan: CommitPlan, area: StagingArea, staged: StagedRecords) -> bool:
    """Publishes the parts while the neighbouring manifests are listed once more.

    Returns whether the store has confirmed the digest of each part. Raises ``CommitConflictError`` if an overlapping
    window was committed while this one was read.
    """
    store, keys = area.store, area.keys
    in_store = {part.staged_key: part.size_bytes for part in staged.parts if not area.is_held(part.staged_key)}
    # Another attempt may have removed, with its own staging, the parts that this one adopted from it.
    check_objects_present(absent_objects(store, {key: in_store[key] for key in in_store if not area.is_own(key)}))
    calls: list[Callable[[], Any]] = [partial(area.publish, *pair) for pair in plan.publications()]
    try:
        *confirmed, listed = store.gather([*calls, lambda: list(store.list_neighbours(keys.neighbour_prefixes))])
    except StorageError:
        # The store refuses to copy a staged part that is gone, and the next attempt can stage it again.
        check_objects_present(absent_objects(store, in_store))
        raise
    check_no_overlap(keys, listed)
    plan.note(CommitEvent.PARTS_PUBLISHED)
    return all(confirmed)


def _create_manifest(plan: CommitPlan, store: Store, manifest: Manifest) -> bool:
    """Returns whether this call created the manifest; False if another run was first."""
    is_created = store.create(plan.manifest_key, manifest.to_bytes())
    plan.note(CommitEvent.MANIFEST_CREATED if is_created else CommitEvent.MANIFEST_EXISTS)
    return is_created


def _check_committed(plan: CommitPlan, area: StagingArea, manifest: Manifest, *, is_whole: bool = False) -> None:
    """Raises if a part was removed while the manifest was created, or if an overlapping window was committed meanwhile.

    ``is_whole`` if the store has confirmed the parts, and a sweep that removed one since then puts it back, because the
    commit log shows it this attempt.

    Of two runs with overlapping windows of up to a day, the later to look here sees both manifests, so they never both
    succeed. Once a window is committed, no run of an overlapping one comes so far.
    """
    store, prefixes = area.store, area.keys.neighbour_prefixes if plan.generation == 1 else ()
    calls: dict[str, Callable[[], Any]] = {}
    if is_whole:
        area.note_whole()
    else:
        calls["parts"] = partial(_check_still_published, plan, area, manifest)
    if prefixes:
        calls["neighbours"] = lambda: list(store.list_neighbours(prefixes))
    found = dict(zip(calls, store.gather(list(calls.values())), strict=True))
    check_no_overlap_after_commit(area.keys, found.get("neighbours", ()))


def _check_still_published(plan: CommitPlan, area: StagingArea, manifest: Manifest) -> None:
    """Raises ``VerificationError`` if a part was removed while the manifest was created.

    A new part is published again first, from memory or from staging: a sweep that did not see this attempt may have
    taken it for an orphaned one.
    """
    absent = area.list_published(manifest.parts)
    lost = [pair for pair in plan.publications() if pair[1] in absent]
    if lost:
        # If the staged part is gone, too, the error says that the part was removed.
        with suppress(StorageError):
            area.store.gather([partial(area.publish, *pair) for pair in lost])
        absent = area.list_published(manifest.parts)
    check_objects_present(absent, plan.manifest_key)


def _agreed_winner(plan: CommitPlan, area: StagingArea, manifest: Manifest) -> CommittedManifest:
    """Returns the commit that was first if it holds the same; else removes the published parts and raises."""
    winner = latest_committed(area.store, area.keys)
    try:
        return plan.agreed_winner(winner, manifest)
    except CommitConflictError:
        if winner is not None:
            area.remove_leftovers(winner.manifest)
        raise


def _erasure(planned: PlannedPull, store: Store) -> Erasure | UnsetType:
    """Returns the entry for an erasure: every stored part that an earlier generation of the window names."""
    committed, reason = planned.committed, planned.spec.erase_reason
    if committed is None or reason is None:
        return UNSET
    stored = {key for folder in planned.keys.part_folders for key in store.list_keys(folder)}
    numbers = range(1, committed.manifest.generation + 1)
    manifests = [read_committed(store, planned.keys.manifest(number)).manifest for number in numbers]
    parts = {part.key: part for manifest in manifests for part in manifest.parts if part.key in stored}
    return Erasure(reason, tuple(parts[key] for key in sorted(parts)))


def _draft_manifest(planned: PlannedPull, staged: StagedRecords, erased: Erasure | UnsetType) -> Manifest:
    """Returns the manifest without its parts, counts and generation, which the commit plan fills in."""
    spec = planned.spec
    return Manifest(
        query=spec.query,
        window=planned.window,
        window_rule=spec.run_window.rule,
        partition_date=spec.run_window.partition_date,
        file_format=spec.part_format.file_format,
        compression=spec.part_format.compression,
        record_count=0,
        added_count=0,
        records_sha256=staged.records_sha256,
        parts=(),
        fetch=staged.stats,
        added_ids=tuple(staged.added_ids),
        verified=None if spec.verify == NO_VERIFICATION else spec.verify,
        table=spec.part_format.table,
        privacy=spec.privacy_entry,
        erased=erased,
        layout=spec.lake or UNSET,
    )
