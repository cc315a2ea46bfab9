"""The use case of the provider: land one window. Reads like the runbook: plan, fetch, encode, stage, commit.

Knows: the order of the steps. Must not know: Airflow, httpx, a store's kind, a format's inside.
Its one rule: nothing is visible before the manifest, and the manifest is written last, once, by one operation.

::

    plan     is the window readable now, is it committed already, is the destination writable, did a try die here
    fetch    read what is missing of the window, complete and in order; what is committed is left out
    encode   records → part bytes
    stage    bounded parts under _staging/, where no reader looks; a checkpoint after each
    verify   on demand: read the window a second time from its other end
    commit   publish the parts under their final keys, then create the manifest of the next generation
"""

from __future__ import annotations

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.compatibility import (
    check_compatible_schema,
    check_same_dataset,
    check_same_format,
    check_same_privacy,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.privacy.rule import check_no_personal_filters
from airflow_audit_provider.core.windows.readiness import check_window_readable
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.observer import Observer, Phase, PullOutcome
from airflow_audit_provider.pipelines.pull_attempt import PullAttempt
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.staging_area import StagingArea


def pull_window(order: PullSpec, source: AuditLogReader, store: Store, observer: Observer) -> PullOutcome:
    """Land one window; idempotent: a second run with the same records writes nothing.

    Late records are committed as a next generation that names the one before. What a killed try had staged is not asked
    for again. Raises the errors of :mod:`airflow_audit_provider.exceptions`; whatever is raised, no manifest names
    anything of this pull, and before the first part is published nothing of it lies where readers look.
    """
    window = order.run_window.window
    with observer.step(Phase.PLAN, window):
        pull = _plan(order, source, store, observer)
    with pull.cleanup_on_error():
        with observer.step(Phase.FETCH, window):
            pull.fetch_and_stage()
        if order.recount:
            with observer.step(Phase.VERIFY, window):
                pull.recount()
        with observer.step(Phase.COMMIT, window):
            outcome = pull.commit()
            observer.committed(outcome)
    pull.remove_leftovers(outcome.manifest)
    return outcome


def _plan(order: PullSpec, source: AuditLogReader, store: Store, observer: Observer) -> PullAttempt:
    """Refuse what cannot be pulled, begin a try, and take over what an earlier one left."""
    check_window_readable(order.run_window.window, source.clock.now(), order.settle_delay)
    check_no_personal_filters(order.applied_privacy, order.query.filters)
    committed = latest_committed(store, order.keys)
    _refuse_other_order(order, committed)
    order = order.in_partition_of(committed)
    attempt = StagingArea(store, order.keys, order.attempt_id)
    pull = PullAttempt(order.as_addendum_to(committed), source, attempt, committed, observer)
    with pull.cleanup_on_error():
        attempt.open(source.clock.now())
        pull.resume()
    return pull


def _refuse_other_order(order: PullSpec, committed: CommittedManifest | None) -> None:
    if committed is not None:
        check_same_dataset(committed.manifest, order.query, committed.key)
        if not order.replace:
            part_format = order.part_format
            check_same_format(committed.manifest, part_format.file_format, part_format.compression, committed.key)
            check_compatible_schema(committed.manifest, part_format.table, committed.key)
            check_same_privacy(committed.manifest, order.applied_privacy, committed.key)
