"""A killed attempt is resumed: same bytes, few requests, only intact parts are adopted, and nothing is left over."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.paging.slicing import CUT_PAGES
from airflow_audit_provider.exceptions import AuditProviderError, SourceUnavailableError
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.misbehaviour import parse_switch
from tests.pipelines.pull.crashing_store import CrashPoint
from tests.pipelines.pull.landing import (
    fake_with,
    landed_ids,
    staged_keys,
    true_ids,
    visible_keys,
)
from tests.pipelines.pull.resuming import (
    KILLED_AT,
    LARGE_COUNT,
    MEDIUM_COUNT,
    attempt_pull,
    check_no_findings,
    checkpoint_in,
    checkpoint_of,
    fake_of,
    finish,
    kill,
    resumable_spec,
    small_fake,
    visible_parts,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("small_parts")]


# A killed attempt loses the slices that are not delivered yet: four pages for each request in flight.
SIZES = [
    pytest.param(MEDIUM_COUNT, 4, id="medium"),
    pytest.param(LARGE_COUNT, 0, id="large", marks=pytest.mark.nightly),
]


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("record_count", "lost_pages"), SIZES)
def test_killed_attempt_is_resumed(
    record_count: int, lost_pages: int, version: str, concurrency: int, store: LocalStore, undisturbed_store: LocalStore
) -> None:
    """An attempt killed at nine tenths of its requests leaves one tenth to send, and the same bytes are committed."""
    fake, spec, undisturbed, resumed = (
        fake_of(record_count),
        resumable_spec(version, concurrency=concurrency),
        CrashPoint(),
        CrashPoint(),
    )
    attempt_pull(fake, spec, undisturbed_store, undisturbed)
    count = len(undisturbed.operations)
    kill(fake, spec, store, count * 9 // 10)
    assert not visible_keys(store)
    outcome = attempt_pull(fake, spec._replace(attempt_id="two"), store, resumed)
    # With parallel requests, slices in flight and slices that wait for the first one are lost with the attempt.
    lost_count = lost_pages if concurrency == 1 else CUT_PAGES * (concurrency + concurrency // 2)
    assert len(resumed.operations) <= 0.15 * count + 2 + lost_count
    # With parallel requests and few pages, an attempt may be killed before its first part is closed.
    assert outcome.manifest.fetch.resumed_count > 0 or (lost_pages and concurrency > 1)
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(spec, store) == true_ids(fake, version)
    assert not staged_keys(store)
    check_no_findings(store)


KILLS_OF_BOTH = [pytest.param(1, MEDIUM_COUNT, 11), pytest.param(4, LARGE_COUNT, 50, marks=pytest.mark.nightly)]


@pytest.mark.parametrize(("concurrency", "record_count", "at"), KILLS_OF_BOTH)
def test_attempt_that_resumes_a_resumed_attempt_is_resumed(
    concurrency: int, record_count: int, at: int, store: LocalStore, undisturbed_store: LocalStore
) -> None:
    """The third attempt resumes the second killed one, which resumes the first."""
    fake, spec, resumed = fake_of(record_count), resumable_spec(concurrency=concurrency), CrashPoint()
    kill(fake, spec, store, at)
    first_count = checkpoint_of(store, "one").record_count
    kill(fake, spec._replace(attempt_id="two"), store, at)
    second_count = checkpoint_of(store, "two").record_count
    assert second_count > first_count > 0
    outcome = attempt_pull(fake, spec._replace(attempt_id="three"), store, resumed)
    finish(fake, spec, undisturbed_store)
    assert outcome.manifest.fetch.resumed_count == second_count
    assert len(resumed.operations) <= ceil((record_count - second_count) / 1000) * 1.35 + 2
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(spec, store) == true_ids(fake)
    assert not staged_keys(store)


def test_outage_keeps_the_checkpoint(store: LocalStore, undisturbed_store: LocalStore) -> None:
    """If the API is unavailable the attempt fails with a retryable error, and the next one resumes it."""
    fake, spec = small_fake(), resumable_spec()
    fake.misbehave(parse_switch(f"status=503,after={KILLED_AT - 1}"))
    with pytest.raises(SourceUnavailableError):
        attempt_pull(fake, spec, store, CrashPoint())
    assert checkpoint_in(store).record_count == 4000
    fake.misbehave()
    assert finish(fake, spec, store).manifest.fetch.resumed_count == 4000
    finish(fake, spec, undisturbed_store)
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert not staged_keys(store)


@pytest.mark.parametrize("switch", ["status=401", "status=418"])
def test_attempt_with_a_permanent_error_removes_its_staging(switch: str, store: LocalStore) -> None:
    """An attempt that ends with a permanent error removes its own staging, and no other attempt's."""
    fake, spec = small_fake(), resumable_spec()
    kill(fake, spec, store)
    left = staged_keys(store)
    fake.misbehave(parse_switch(f"{switch},after={len(fake.requests) + 3}"))
    with pytest.raises(AuditProviderError) as caught:
        attempt_pull(fake, spec._replace(attempt_id="two"), store, CrashPoint())
    assert not caught.value.retryable
    assert staged_keys(store) == left
    fake.misbehave()
    finish(fake, spec, store)
    assert landed_ids(spec, store) == true_ids(fake)
    assert not staged_keys(store)


@pytest.mark.parametrize("damage", ["flipped byte", "missing", "shorter"])
@pytest.mark.parametrize("number", [0, 1])
def test_attempt_with_a_damaged_staged_part_is_not_resumed(
    number: int, damage: str, store: LocalStore, undisturbed_store: LocalStore, tmp_path: Path
) -> None:
    """One damaged staged part makes the whole attempt unusable, and the result is correct."""
    fake, spec = small_fake(), resumable_spec()
    kill(fake, spec, store)
    (path,) = (tmp_path / "destination").rglob(f"part-{number:05}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage != "missing":
        path.write_bytes(content if damage == "flipped byte" else content[:-1])
    outcome, _ = finish(fake, spec, store), finish(fake, spec, undisturbed_store)
    assert outcome.manifest.fetch.resumed_count == 0
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(spec, store) == true_ids(fake)
    assert not staged_keys(store)


OTHER_SPECS: dict[str, dict[str, Any]] = {
    "part size": {"max_part_bytes": 2 << 20},
    "format": {"file_format": "csv"},
    "compression": {"compression": "gzip"},
    "filters": {"filters": {"action_type": "login"}},
    "replace": {"replace": True},
}


@pytest.mark.parametrize("change", OTHER_SPECS)
def test_attempt_of_another_spec_is_not_resumed(change: str, store: LocalStore, undisturbed_store: LocalStore) -> None:
    """An attempt of a spec that differs in any field is not resumed."""
    fake, other = small_fake(), resumable_spec(**OTHER_SPECS[change])
    kill(fake, resumable_spec(), store)
    outcome = finish(fake, other, store)
    undisturbed = finish(fake, other, undisturbed_store)
    assert outcome.manifest.fetch.resumed_count == 0
    assert outcome.manifest.to_bytes() == undisturbed.manifest.to_bytes()
    assert visible_parts(store) == visible_parts(undisturbed_store)


@pytest.mark.nightly
def test_killed_attempt_of_a_million_records_is_resumed(monkeypatch: pytest.MonkeyPatch, store: LocalStore) -> None:
    """A window of a million records that is killed at nine tenths takes at most 15 % more requests."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 25_000)
    fake = fake_with(ManualClock(), records_per_day=1_000_000, requests_per_window=None, cache_bytes=4 << 30)
    spec, resumed = resumable_spec(compression="zstd", max_part_bytes=128 << 20), CrashPoint()
    # With concurrency 1 there are some thirty requests more than pages; these are nine tenths of 1027.
    kill(fake, spec, store, 924)
    outcome = attempt_pull(fake, spec._replace(attempt_id="two"), store, resumed)
    assert len(resumed.operations) <= 150
    assert outcome.manifest.record_count == 1_000_000
    assert outcome.manifest.fetch.resumed_count >= 850_000
    assert not staged_keys(store)
