"""A killed attempt is resumed, and records that arrive between the attempts are neither lost nor duplicated."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.crashing_store import CrashPoint
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
from tests.pipelines.pull.resuming import (
    SMALL_COUNT,
    attempt_pull,
    check_no_findings,
    checkpoint_in,
    finish,
    kill,
    resumable_spec,
    resume_point_of,
    small_fake,
    visible_parts,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("small_parts")]


def _add(fake: FakeCloudflare, when: datetime, record_id: str) -> None:
    fake.add(record_at(f"{when:%Y-%m-%dT%H:%M:%S.%fZ}", record_id))


def test_late_records_before_the_resume_point_become_an_addendum(store: LocalStore) -> None:
    """Records that arrive before the resume point are committed by the next run as an addendum that names them."""
    fake, spec = small_fake(), resumable_spec()
    kill(fake, spec, store)
    for hours in (-2, -1, 1, 2):
        _add(fake, resume_point_of(store) + timedelta(hours=hours), f"late{hours:+}")
    first = finish(fake, spec, store)
    assert (first.manifest.fetch.resumed_count, first.manifest.record_count) == (4000, SMALL_COUNT + 2)
    second = finish(fake, spec, store, "again")
    assert (second.manifest.generation, second.manifest.added_ids) == (2, ("late-2", "late-1"))
    assert landed_ids(spec, store) == true_ids(fake)
    assert not staged_keys(store)
    check_no_findings(store)
    assert not finish(fake, spec, store, "once more").committed


@pytest.mark.parametrize("before_last", [True, False])
def test_late_record_in_the_second_of_the_resume_point_lands_once(before_last: bool, store: LocalStore) -> None:
    """A record that arrives in the second of the resume point is committed once."""
    fake, spec = small_fake(), resumable_spec()
    kill(fake, spec, store)
    resumes_at = resume_point_of(store)
    _add(fake, resumes_at if before_last else resumes_at + timedelta(microseconds=999_999), "late")
    finish(fake, spec, store)
    finish(fake, spec, store, "again")
    assert landed_ids(spec, store) == true_ids(fake)
    assert landed(spec, store) == sorted(landed(spec, store)) or before_last
    check_no_findings(store)


def test_recount_of_a_resumed_attempt_counts_adopted_records(store: LocalStore, undisturbed_store: LocalStore) -> None:
    """A recount counts the records that an earlier attempt staged as read the first time."""
    fake, spec = small_fake(), resumable_spec(verify="recount")
    kill(fake, spec, store)
    outcome = finish(fake, spec, store)
    finish(fake, spec, undisturbed_store)
    assert (outcome.manifest.verified, outcome.manifest.fetch.resumed_count) == ("recount", 4000)
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(spec, store) == true_ids(fake)
    assert not staged_keys(store)


def test_recount_reads_again_if_records_arrive_between_the_attempts(store: LocalStore) -> None:
    """If a resumed attempt lacks a record, the recount has the window read from its start."""
    fake, spec = small_fake(), resumable_spec(verify="recount")
    kill(fake, spec, store)
    _add(fake, resume_point_of(store) - timedelta(hours=1), "late")
    outcome = attempt_pull(fake, spec._replace(attempt_id="two"), store, CrashPoint())
    assert (outcome.manifest.verified, outcome.manifest.fetch.resumed_count) == ("recount", 0)
    assert not staged_keys(store)
    assert landed_ids(spec, store) == true_ids(fake)


@pytest.mark.parametrize("recount", [False, True])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_killed_addition_is_resumed(
    concurrency: int, recount: bool, store: LocalStore, undisturbed_store: LocalStore
) -> None:
    """An addition that is killed and resumed names every late record in order."""
    fake = fake_with(ManualClock(), records_per_day=2000, requests_per_window=None)
    spec = resumable_spec(concurrency=concurrency, verify="recount" if recount else None)
    for each in (store, undisturbed_store):
        finish(fake, spec, each)
    late_ids = [f"late-{number:04}" for number in range(9000)]
    for number, record_id in enumerate(late_ids):
        _add(fake, START + timedelta(seconds=9 * number), record_id)
    # With concurrency 1 the attempt is killed at the same place every time; the resuming one may have more.
    kill(fake, spec._replace(concurrency=1), store, 10)
    assert checkpoint_in(store).record_count >= 2000
    outcome = finish(fake, spec, store)
    undisturbed = finish(fake, spec, undisturbed_store)
    assert bool(outcome.manifest.fetch.resumed_count) is not recount
    assert outcome.manifest.generation == 2
    assert list(outcome.manifest.added_ids) == late_ids
    assert outcome.manifest.records_sha256 == undisturbed.manifest.records_sha256
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(spec, store) == true_ids(fake)
    assert not staged_keys(store)
    check_no_findings(store)


def test_killed_replacement_is_resumed(store: LocalStore) -> None:
    """A replacement that is killed leaves the commit unchanged, and is resumed."""
    fake, spec = small_fake(), resumable_spec(replace=True)
    finish(fake, resumable_spec(), store)
    before = {key: objects(store)[key] for key in visible_keys(store)}
    _add(fake, START.replace(hour=1), "late")
    kill(fake, spec, store)
    assert {key: objects(store)[key] for key in visible_keys(store)} == before
    outcome = finish(fake, spec, store)
    assert (outcome.manifest.generation, outcome.manifest.fetch.resumed_count) == (2, 4000)
    assert landed_ids(spec, store) == true_ids(fake)
    assert not staged_keys(store)
    check_no_findings(store)
