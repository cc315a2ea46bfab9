"""Pulls one window: plan, fetch, encode, stage, verify, commit.

::

    plan     check that the window can be read and committed; prove that the destination is writable, unless only late
             records can be added; resume an earlier attempt
    fetch    read the rest of the window, complete and in order; leave out the records that are committed
    encode   records → part bytes
    stage    write bounded parts under _staging/, where no reader looks; a checkpoint after each part. A part that may
             be the only one waits in memory
    verify   recent windows: request both edges again after a pause, while the newest records wait to be staged;
             on request: read the window a second time from its other end and compare the ids; start once more if
             they differ
    commit   publish the parts under their final keys, then create the manifest of the next generation

Invariant: no record is visible to readers before the manifest exists; the manifest is created last, once, by one
operation.
"""

from __future__ import annotations

from datetime import datetime

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.archive.change_keys import changes_folder
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.compatibility import (
    check_compatible_schema,
    check_same_dataset,
    check_same_format,
    check_same_privacy,
)
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.security_lake import check_length
from airflow_audit_provider.core.limits import (
    EDGES,
    NO_VERIFICATION,
    RECOUNT,
    check_edges_pause,
    check_part_size,
    check_verify,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.privacy.rule import check_no_personal_filters
from airflow_audit_provider.core.windows.readiness import check_history_begun, check_window_readable, is_recent
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError
from airflow_audit_provider.pipelines.observer import Observer, Phase, PullOutcome
from airflow_audit_provider.pipelines.pull_attempt import PullAttempt
from airflow_audit_provider.pipelines.pull_commit import commit_staged
from airflow_audit_provider.pipelines.pull_spec import PlannedPull, PullSpec, plan_upon
from airflow_audit_provider.pipelines.resume import start_or_resume
from airflow_audit_provider.pipelines.shared_read import RecordSource
from airflow_audit_provider.pipelines.staging_area import StagingArea
from airflow_audit_provider.pipelines.surroundings import Surroundings, look_around


def pull_window(
    spec: PullSpec,
    reader: AuditLogReader,
    store: Store,
    observer: Observer,
    around: Surroundings | None = None,
    shared: RecordSource | None = None,
) -> PullOutcome:
    """Lands one window and returns the manifest in force; a second run with the same records writes nothing.

    Late records are committed as the next generation, which names the one before. Records that an earlier attempt
    staged are not requested again. ``around`` is what the destination holds around the window, if the caller has looked
    it up. ``shared`` has the window's records, if the caller reads several windows at once. Raises the errors of
    :mod:`airflow_audit_provider.exceptions`, and those of ``shared``; after an error no
    manifest names anything of this pull, and nothing lies where readers look unless publishing had started.
    """
    window = spec.run_window.window
    with observer.step(Phase.PLAN, window):
        now = reader.clock.now()
        _check_readable(spec, now)
        found = around or look_around(store, spec)
        planned = _plan(spec, found, now)
        _check_removable(planned, store)
        area = StagingArea(
            store, planned.keys, spec.attempt_id, spec.seal_verifier, found.staged, planned.next_generation
        )
        with area.cleared_on_error():
            area.begin(now)
            if not planned.is_addition:
                # Before the first request. Most additions add nothing, and prove it when they find a late record.
                area.prove_writable(planned.descriptor)
            start = start_or_resume(planned, area, now, observer)
    attempt = PullAttempt(planned, area, start, reader, observer, shared)
    with attempt.cleanup_on_error():
        _read(attempt, window, observer)
        if planned.spec.verify == RECOUNT:
            _recount(attempt, window, observer)
        with observer.step(Phase.COMMIT, window):
            # A seal may have come while the window was read.
            _check_removable(planned, store)
            outcome = commit_staged(planned, area, attempt.staged, reader.clock)
            observer.committed(outcome)
    if planned.spec.is_erasure:
        # An erasure that the store refuses fails the task; otherwise leftovers wait for the next run.
        area.remove_unreferenced_parts(outcome.manifest, is_erasing=True)
        # Derived from the records; the next run of the changes operator derives those of the records that are left.
        store.remove(list(store.list_keys(changes_folder(window))))
    observer.kept(window, area.remove_leftovers(outcome.manifest))
    _check_removed(planned, outcome.manifest, store)
    return outcome


def _read(attempt: PullAttempt, window: TimeWindow, observer: Observer) -> None:
    with observer.step(Phase.FETCH, window):
        attempt.fetch_and_stage()


def _recount(attempt: PullAttempt, window: TimeWindow, observer: Observer) -> None:
    """Recounts; if the reads differ, reads the window once more and recounts that, as records may have arrived since.

    Raises ``VerificationError`` if the reads differ again, or if the later ones lack what the earlier ones showed.
    """
    for is_last in (False, True):
        with observer.step(Phase.VERIFY, window):
            disagreement = attempt.recount()
            if disagreement is not None and is_last:
                raise disagreement
        if disagreement is None:
            return
        attempt.start_again()
        _read(attempt, window, observer)


def _check_readable(spec: PullSpec, now: datetime) -> None:
    """Raises if the spec is not valid, or the window cannot be read now."""
    check_part_size(spec.max_part_bytes)
    check_verify(spec.verify)
    check_edges_pause(spec.edges_pause)
    check_history_begun(spec.run_window.window, spec.history_starts_at)
    check_window_readable(spec.run_window.window, now, spec.settle_delay)
    check_no_personal_filters(spec.privacy_entry, spec.query.filters)
    if spec.lake is not None:
        check_length(spec.run_window.window)


def _plan(spec: PullSpec, around: Surroundings, now: datetime) -> PlannedPull:
    """Returns the pull to carry out; raises if the window cannot be added to what is committed."""
    if around.committed is not None:
        _check_compatible(spec, around.committed)
    recent = is_recent(spec.run_window.window, now)
    verify = spec.verify or (EDGES if recent else NO_VERIFICATION)
    has_second_look = verify == EDGES or (verify == RECOUNT and recent)
    planned = plan_upon(spec._replace(verify=verify), around.committed)
    return planned._replace(descriptor=around.descriptor, has_second_look=has_second_look)


def _check_removable(planned: PlannedPull, store: Store) -> None:
    """Raises ``CommitConflictError`` if a replacement would leave sealed parts in Security Lake beside the new ones."""
    committed = planned.committed
    if committed is None or not _replaces_in_lake(planned):
        return
    parts = [part.key for part in committed.manifest.parts]
    if _has_sealed(planned, store, parts):
        raise CommitConflictError(
            f"The parts of {planned.window} are sealed, so replace=True would leave them in Security Lake beside the "
            "new ones, and its readers would find each record twice. Nothing was replaced. Add erase=True and "
            "erase_reason, which remove them, or leave out replace: late records are added without it.",
            key=committed.key,
        )


def _check_removed(planned: PlannedPull, manifest: Manifest, store: Store) -> None:
    """Raises ``VerificationError`` if a replacement has left sealed parts in Security Lake: a seal came meanwhile."""
    if not _replaces_in_lake(planned):
        return
    named = {part.key for part in manifest.parts}
    listed = [key for folder in planned.keys.part_folders for key in store.list_keys(folder) if key not in named]
    if _has_sealed(planned, store, [key for key in listed if planned.keys.part_generation(key) is not None]):
        raise VerificationError(
            f"Parts of {planned.window} were sealed while they were replaced, so they are in Security Lake beside the "
            "new ones, and its readers find each record twice. Run the window with replace=True, erase=True and "
            "erase_reason, which remove them."
        )


def _replaces_in_lake(planned: PlannedPull) -> bool:
    spec = planned.spec
    return planned.committed is not None and spec.lake is not None and spec.replace and not spec.is_erasure


def _has_sealed(planned: PlannedPull, store: Store, parts: list[str]) -> bool:
    from airflow_audit_provider.pipelines.sealed_parts import SealedParts

    return len(SealedParts(store, planned.spec.seal_verifier).removable(planned.keys, parts)) < len(parts)


def _check_compatible(spec: PullSpec, committed: CommittedManifest) -> None:
    manifest, key = committed.manifest, committed.key
    check_same_dataset(manifest, spec.query, key)
    if not spec.replace:
        check_same_format(manifest, spec.part_format.file_format, spec.part_format.compression, key)
        check_compatible_schema(manifest, spec.part_format.table, key)
        check_same_privacy(manifest, spec.privacy_entry, key)
