"""A try that died is gone on with, and what arrived between the tries is neither lost nor counted twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import (
    START,
    fake_with,
    landed,
    landed_ids,
    objects,
    record_at,
    staged_keys,
    true_ids,
    visible_keys,
)
from tests.pipelines.pull.mortal_store import Death
from tests.pipelines.pull.resuming import (
    SMALL_COUNT,
    checkpoint_in,
    finish,
    kill,
    midway_of,
    refuse_findings,
    resumable_order,
    small_fake,
    try_landing,
    visible_parts,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("small_parts")]


def _add(fake: FakeCloudflare, when: datetime, record_id: str) -> None:
    fake.add(record_at(f"{when:%Y-%m-%dT%H:%M:%S.%fZ}", record_id))


def test_late_records_between_the_tries(store: LocalStore) -> None:
    """What arrives behind the place of resumption is committed by the next run as an addendum that names it."""
    fake, wanted = small_fake(), resumable_order()
    kill(fake, wanted, store)
    for hours in (-2, -1, 1, 2):
        _add(fake, midway_of(store) + timedelta(hours=hours), f"late{hours:+}")
    first = finish(fake, wanted, store)
    assert (first.manifest.fetch.resumed_count, first.manifest.record_count) == (4000, SMALL_COUNT + 2)
    second = finish(fake, wanted, store, "again")
    assert (second.manifest.generation, second.manifest.added_ids) == (2, ("late-2", "late-1"))
    assert landed_ids(wanted, store) == true_ids(fake)
    assert not staged_keys(store)
    refuse_findings(store)
    assert not finish(fake, wanted, store, "once more").committed


@pytest.mark.parametrize("before_last", [True, False])
def test_late_records_in_the_second_of_resumption(before_last: bool, store: LocalStore) -> None:
    """A record that arrives in the very second of resumption is committed once, wherever in the second it lies."""
    fake, wanted = small_fake(), resumable_order()
    kill(fake, wanted, store)
    midway_at = midway_of(store)
    _add(fake, midway_at if before_last else midway_at + timedelta(microseconds=999_999), "late")
    finish(fake, wanted, store)
    finish(fake, wanted, store, "again")
    assert landed_ids(wanted, store) == true_ids(fake)
    assert landed(wanted, store) == sorted(landed(wanted, store)) or before_last
    refuse_findings(store)


def test_a_recount_with_resumption(store: LocalStore, undisturbed_store: LocalStore) -> None:
    """A recount counts what an earlier try leaves staged as read the first time."""
    fake, wanted = small_fake(), resumable_order(recount=True)
    kill(fake, wanted, store)
    outcome = finish(fake, wanted, store)
    finish(fake, wanted, undisturbed_store)
    assert (outcome.manifest.verified, outcome.manifest.fetch.resumed_count) == ("recount", 4000)
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(wanted, store) == true_ids(fake)
    assert not staged_keys(store)


def test_a_recount_notices_what_came_between_the_tries(store: LocalStore) -> None:
    """A recount refuses what a resumed reading lacks, and the run after it, as its error asks for, lands everything."""
    fake, wanted = small_fake(), resumable_order(recount=True)
    kill(fake, wanted, store)
    _add(fake, midway_of(store) - timedelta(hours=1), "late")
    with pytest.raises(VerificationError, match="only the second time, such as late"):
        try_landing(fake, wanted._replace(attempt_id="two"), store, Death())
    finish(fake, wanted, store)
    assert landed_ids(wanted, store) == true_ids(fake)


@pytest.mark.parametrize("recount", [False, True])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_killed_addition(concurrency: int, recount: bool, store: LocalStore, undisturbed_store: LocalStore) -> None:
    """An addition that is killed and gone on with names every late record it adds, in order."""
    fake = fake_with(ManualClock(), records_per_day=2000, requests_per_window=None)
    wanted = resumable_order(concurrency=concurrency, recount=recount)
    for each in (store, undisturbed_store):
        finish(fake, wanted, each)
    late_ids = [f"late-{number:04}" for number in range(9000)]
    for number, record_id in enumerate(late_ids):
        _add(fake, START + timedelta(seconds=9 * number), record_id)
    # One reader alone dies at the same place every time; who goes on may be more.
    kill(fake, wanted._replace(concurrency=1), store, 10)
    assert checkpoint_in(store).record_count >= 2000
    outcome = finish(fake, wanted, store)
    undisturbed = finish(fake, wanted, undisturbed_store)
    assert bool(outcome.manifest.fetch.resumed_count) is not recount
    assert outcome.manifest.generation == 2
    assert list(outcome.manifest.added_ids) == late_ids
    assert outcome.manifest.records_sha256 == undisturbed.manifest.records_sha256
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(wanted, store) == true_ids(fake)
    assert not staged_keys(store)
    refuse_findings(store)


def test_a_killed_replacement(store: LocalStore) -> None:
    """A replacement that is killed leaves what is committed, and is gone on with."""
    fake, wanted = small_fake(), resumable_order(replace=True)
    finish(fake, resumable_order(), store)
    before = {key: objects(store)[key] for key in visible_keys(store)}
    _add(fake, START.replace(hour=1), "late")
    kill(fake, wanted, store)
    assert {key: objects(store)[key] for key in visible_keys(store)} == before
    outcome = finish(fake, wanted, store)
    assert (outcome.manifest.generation, outcome.manifest.fetch.resumed_count) == (2, 4000)
    assert landed_ids(wanted, store) == true_ids(fake)
    assert not staged_keys(store)
    refuse_findings(store)
