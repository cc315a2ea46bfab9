"""The use case of the provider: land one window. Reads like the runbook: plan, fetch, encode, stage, commit.

Knows: the order of the steps. Must not know: Airflow, httpx, a store's kind, a format's inside.
Its one rule: nothing is visible before the manifest, and the manifest is written last, once, by one operation.

::

    plan     is the window readable now, is it committed already, is the destination writable, did a try die here
    fetch    read what is missing of the window, complete and in order; what is committed is left out
    encode   records → part bytes
    stage    bounded parts under _staging/, where no reader looks; a checkpoint after each
    commit   publish the parts under their final keys, then create the manifest of the next generation
"""

from __future__ import annotations

from airflow_audit_provider.adapters.source import Source
from airflow_audit_provider.attempts import Attempt
from airflow_audit_provider.commits import latest_commit
from airflow_audit_provider.core.commit import Commit
from airflow_audit_provider.core.planning import (
    refuse_other_dataset,
    refuse_other_format,
    refuse_other_privacy,
    refuse_other_schema,
    refuse_unreadable_window,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.privacy import refuse_personal_filters
from airflow_audit_provider.orders import Observer, PullOrder, PullOutcome
from airflow_audit_provider.pulling import Pull


def pull_window(order: PullOrder, source: Source, store: Store, observe: Observer) -> PullOutcome:
    """Land one window; idempotent: a second run with the same records writes nothing.

    Late records are committed as a next generation that names the one before. What a killed try had staged is not asked
    for again. Raises the errors of :mod:`airflow_audit_provider.exceptions`; whatever is raised, no manifest names
    anything of this pull, and before the first part is published nothing of it lies where readers look.
    """
    refuse_unreadable_window(order.run_window.window, source.clock.now(), order.settle_delay)
    refuse_personal_filters(order.privacy_stamp, order.query.filters)
    committed = latest_commit(store, order.keys)
    _refuse_other_order(order, committed)
    attempt = Attempt(store, order.keys, order.attempt_id)
    pull = Pull(order.upon(committed), source, store, attempt, committed)
    try:
        attempt.begin(source.clock.now())
        pull.resume()
        pull.fetch_and_stage(observe)
        outcome = pull.commit()
    except BaseException as error:
        pull.leave(error)
        raise
    pull.tidy(outcome.manifest)
    return outcome


def _refuse_other_order(order: PullOrder, committed: Commit | None) -> None:
    if committed is not None:
        refuse_other_dataset(committed.manifest, order.query, committed.key)
        if not order.replace:
            part_format = order.part_format
            refuse_other_format(committed.manifest, part_format.file_format, part_format.compression, committed.key)
            refuse_other_schema(committed.manifest, part_format.table, committed.key)
            refuse_other_privacy(committed.manifest, order.privacy_stamp, committed.key)
