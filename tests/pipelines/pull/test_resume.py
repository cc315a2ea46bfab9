"""A try that died is gone on with: same bytes, few requests, nothing used that is not as it was, nothing left over."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.paging.slicing import CUT_PAGES
from airflow_audit_provider.exceptions import AuditProviderError, SourceUnavailableError
from airflow_audit_provider.pipelines import part_writer as staging
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.misbehaviour import parse_switch
from tests.pipelines.pull.landing import (
    fake_with,
    landed_ids,
    staged_keys,
    true_ids,
    visible_keys,
)
from tests.pipelines.pull.mortal_store import Death
from tests.pipelines.pull.resuming import (
    KILLED_AT,
    LARGE_COUNT,
    MEDIUM_COUNT,
    checkpoint_in,
    checkpoint_of,
    fake_of,
    finish,
    kill,
    refuse_findings,
    resumable_order,
    small_fake,
    try_landing,
    visible_parts,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("small_parts")]


# What was read and not handed on yet is lost with a try: a slice of four pages for each request under way.
SIZES = [
    pytest.param(MEDIUM_COUNT, 4, id="medium"),
    pytest.param(LARGE_COUNT, 0, id="large", marks=pytest.mark.nightly),
]


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("record_count", "lost_pages"), SIZES)
def test_a_killed_try_is_gone_on_with(
    record_count: int, lost_pages: int, version: str, concurrency: int, store: LocalStore, undisturbed_store: LocalStore
) -> None:
    """A try killed at nine tenths of its requests leaves one tenth to ask for, and the same bytes are committed."""
    fake, wanted, undisturbed, resumed = (
        fake_of(record_count),
        resumable_order(version, concurrency=concurrency),
        Death(),
        Death(),
    )
    try_landing(fake, wanted, undisturbed_store, undisturbed)
    count = len(undisturbed.operations)
    kill(fake, wanted, store, count * 9 // 10)
    assert not visible_keys(store)
    outcome = try_landing(fake, wanted._replace(attempt_id="two"), store, resumed)
    # With several readers, slices under way and slices that wait for the first in line are lost with the try.
    lost_count = lost_pages if concurrency == 1 else CUT_PAGES * (concurrency + concurrency // 2)
    assert len(resumed.operations) <= 0.15 * count + 2 + lost_count
    # Several readers of few pages may die before the first in line has handed on a part.
    assert outcome.manifest.fetch.resumed_count > 0 or (lost_pages and concurrency > 1)
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(wanted, store) == true_ids(fake, version)
    assert not staged_keys(store)
    refuse_findings(store)


TWICE_KILLED = [pytest.param(1, MEDIUM_COUNT, 11), pytest.param(4, LARGE_COUNT, 50, marks=pytest.mark.nightly)]


@pytest.mark.parametrize(("concurrency", "record_count", "at"), TWICE_KILLED)
def test_two_kills_in_a_row(
    concurrency: int, record_count: int, at: int, store: LocalStore, undisturbed_store: LocalStore
) -> None:
    """The third try goes on where the second is killed, which goes on where the first is."""
    fake, wanted, resumed = fake_of(record_count), resumable_order(concurrency=concurrency), Death()
    kill(fake, wanted, store, at)
    first_count = checkpoint_of(store, "one").record_count
    kill(fake, wanted._replace(attempt_id="two"), store, at)
    second_count = checkpoint_of(store, "two").record_count
    assert second_count > first_count > 0
    outcome = try_landing(fake, wanted._replace(attempt_id="three"), store, resumed)
    finish(fake, wanted, undisturbed_store)
    assert outcome.manifest.fetch.resumed_count == second_count
    assert len(resumed.operations) <= ceil((record_count - second_count) / 1000) * 1.35 + 2
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(wanted, store) == true_ids(fake)
    assert not staged_keys(store)


def test_an_outage_keeps_the_checkpoint(store: LocalStore, undisturbed_store: LocalStore) -> None:
    """When the API is out the try fails with a retryable error, and the next one goes on."""
    fake, wanted = small_fake(), resumable_order()
    fake.misbehave(parse_switch(f"status=503,after={KILLED_AT - 1}"))
    with pytest.raises(SourceUnavailableError):
        try_landing(fake, wanted, store, Death())
    assert checkpoint_in(store).record_count == 4000
    fake.misbehave()
    assert finish(fake, wanted, store).manifest.fetch.resumed_count == 4000
    finish(fake, wanted, undisturbed_store)
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert not staged_keys(store)


@pytest.mark.parametrize("spec", ["status=401", "success_false"])
def test_what_no_retry_mends_leaves_no_staging(spec: str, store: LocalStore) -> None:
    """A try that ends in an error which is not retryable takes its own staging away, and no other try's."""
    fake, wanted = small_fake(), resumable_order()
    kill(fake, wanted, store)
    left = staged_keys(store)
    fake.misbehave(parse_switch(f"{spec},after={len(fake.requests) + 3}"))
    with pytest.raises(AuditProviderError) as caught:
        try_landing(fake, wanted._replace(attempt_id="two"), store, Death())
    assert not caught.value.retryable
    assert staged_keys(store) == left
    fake.misbehave()
    finish(fake, wanted, store)
    assert landed_ids(wanted, store) == true_ids(fake)
    assert not staged_keys(store)


@pytest.mark.parametrize("damage", ["flipped byte", "missing", "shorter"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_staged_part_is_not_used(
    number: int, damage: str, store: LocalStore, undisturbed_store: LocalStore, tmp_path: Path
) -> None:
    """A staged part that is damaged makes the whole try worthless, and the result is right."""
    fake, wanted = small_fake(), resumable_order()
    kill(fake, wanted, store)
    (path,) = (tmp_path / "destination").rglob(f"part-{number:05}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage != "missing":
        path.write_bytes(content if damage == "flipped byte" else content[:-1])
    outcome, _ = finish(fake, wanted, store), finish(fake, wanted, undisturbed_store)
    assert outcome.manifest.fetch.resumed_count == 0
    assert visible_parts(store) == visible_parts(undisturbed_store)
    assert landed_ids(wanted, store) == true_ids(fake)
    assert not staged_keys(store)


OTHER_ORDERS: dict[str, dict[str, Any]] = {
    "part size": {"max_part_bytes": 2 << 20},
    "format": {"file_format": "csv"},
    "compression": {"compression": "gzip"},
    "filters": {"filters": {"action_type": "login"}},
    "replace": {"replace": True},
}


@pytest.mark.parametrize("change", OTHER_ORDERS)
def test_another_orders_try_is_not_used(change: str, store: LocalStore, undisturbed_store: LocalStore) -> None:
    """What is staged for an order that differs in anything is not used."""
    fake, other = small_fake(), resumable_order(**OTHER_ORDERS[change])
    kill(fake, resumable_order(), store)
    outcome = finish(fake, other, store)
    undisturbed = finish(fake, other, undisturbed_store)
    assert outcome.manifest.fetch.resumed_count == 0
    assert outcome.manifest.to_bytes() == undisturbed.manifest.to_bytes()
    assert visible_parts(store) == visible_parts(undisturbed_store)


@pytest.mark.nightly
def test_a_million_records(monkeypatch: pytest.MonkeyPatch, store: LocalStore) -> None:
    """A window of a million records that is killed at nine tenths costs at most fifteen hundredths more."""
    monkeypatch.setattr(staging, "PART_RECORDS", 25_000)
    fake = fake_with(ManualClock(), records_per_day=1_000_000, requests_per_window=None, cache_bytes=4 << 30)
    wanted, resumed = resumable_order(compression="zstd", max_part_bytes=128 << 20), Death()
    # One reader alone needs some thirty requests more than there are pages; these are nine tenths of 1027.
    kill(fake, wanted, store, 924)
    outcome = try_landing(fake, wanted._replace(attempt_id="two"), store, resumed)
    assert len(resumed.operations) <= 150
    assert outcome.manifest.record_count == 1_000_000
    assert outcome.manifest.fetch.resumed_count >= 850_000
    assert not staged_keys(store)
