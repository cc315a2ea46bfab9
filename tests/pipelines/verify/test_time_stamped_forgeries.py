"""Forgeries in a time-stamped dataset: what the authority's certificate shows, also about an owner with the key."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from tests.pipelines.verify.dataset import (
    DAY,
    DAY_1,
    PRIVATE_PEM,
    PUBLIC_PEM,
    commit,
    record,
    records_in,
    two_days,
    window,
)
from tests.pipelines.verify.forgery import forge_first_generation, forge_replacement
from tests.pipelines.verify.memory_store import MemoryStore
from tests.pipelines.verify.stated_times import SteppedAuthority

SIGNER = Ed25519Signer(PRIVATE_PEM)
VERIFIER = Ed25519Verifier([PUBLIC_PEM])
LIMIT = timedelta(days=2)
SOON, LATER = DAY_1 + 2.5 * DAY, DAY_1 + 60 * DAY


@pytest.fixture
def authority() -> SteppedAuthority:
    """An authority with its clock soon after both days."""
    return SteppedAuthority(SOON)


@pytest.fixture
def store(authority: SteppedAuthority) -> MemoryStore:
    """Two days, sealed, signed and time-stamped soon after they ended."""
    made = MemoryStore()
    two_days(made)
    assert seal(made, signer=SIGNER, timestamper=authority).timestamped_count == 2
    return made


def severe_kinds(store: MemoryStore, authority: SteppedAuthority | None, *, limit: bool = True) -> set[str]:
    """Returns the kinds of severe findings with the public key, and with the authority's certificate or without."""
    anchors = TrustAnchors(VERIFIER, None, authority, LIMIT if authority and limit else None)
    return {str(found.kind) for found in severe(verify(store, anchors=anchors).findings)}


def remove_seals(store: MemoryStore, first: int = 1) -> None:
    """Removes every seal from a number on, with signatures and time stamps."""
    store.remove([key for key in store.objects if key.startswith("_seals/") and int(key[7:13]) >= first])


def test_time_stamped_dataset_has_no_finding(store: MemoryStore, authority: SteppedAuthority) -> None:
    """The undamaged dataset passes, and the report has the proved time of each seal."""
    report = verify(store, anchors=TrustAnchors(VERIFIER, None, authority, LIMIT))
    assert report.findings == ()
    assert [(one.number, one.timestamped_at, one.proved_at) for one in report.seals] == [
        (1, SOON, SOON),
        (2, SOON, SOON),
    ]


def test_chain_that_is_written_again_later_is_severe_only_with_the_time_stamps(
    store: MemoryStore, authority: SteppedAuthority
) -> None:
    """Somebody with the signing key forges a sealed window and seals anew: the new time stamps are too late."""
    remove_seals(store)
    forge_first_generation(store, window(1))
    authority.now = LATER
    seal(store, signer=SIGNER, timestamper=authority)
    assert severe_kinds(store, None) == set()
    assert severe_kinds(store, authority) == {"sealed_late"}
    assert severe_kinds(store, authority, limit=False) == set()


def test_chain_that_is_cut_and_written_again_from_there_is_severe_only_with_the_time_stamps(
    store: MemoryStore, authority: SteppedAuthority
) -> None:
    """What stays of the chain keeps its time stamps; the days after the cut are late."""
    remove_seals(store, 2)
    forge_replacement(store, window(1))
    authority.now = LATER
    seal(store, signer=SIGNER, timestamper=authority)
    assert severe_kinds(store, None) == set()
    assert severe_kinds(store, authority) == {"sealed_late"}


def test_chain_that_is_written_again_within_the_limit_is_not_detected(
    store: MemoryStore, authority: SteppedAuthority
) -> None:
    """The time stamps cannot tell two chains apart that are both made in time."""
    remove_seals(store)
    forge_first_generation(store, window(1))
    authority.now = SOON + timedelta(hours=1)
    seal(store, signer=SIGNER, timestamper=authority)
    assert severe_kinds(store, authority) == set()


def test_chain_written_again_with_the_old_time_stamps_is_severe(
    store: MemoryStore, authority: SteppedAuthority
) -> None:
    """A time stamp is about the bytes of its seal and of no other."""
    old = {key: content for key, content in store.objects.items() if key.endswith(".tsr")}
    remove_seals(store)
    forge_first_generation(store, window(1))
    seal(store, signer=SIGNER)
    store.objects.update(old)
    assert severe_kinds(store, authority) >= {"timestamp_invalid", "timestamp_missing"}


def test_removal_of_all_seals_is_severe_with_the_certificate(store: MemoryStore, authority: SteppedAuthority) -> None:
    """Without a seal a certificate proves nothing, as a public key does not."""
    remove_seals(store)
    anchors = TrustAnchors(None, None, authority)
    assert {str(found.kind) for found in severe(verify(store, anchors=anchors).findings)} == {"nothing_sealed"}


def test_removal_of_the_time_stamps_is_severe_with_the_certificate(
    store: MemoryStore, authority: SteppedAuthority
) -> None:
    """A seal that no time stamp proves is severe; that of the newest seal also proves those before."""
    newest = store.objects["_seals/000002.tsr"]
    store.remove([key for key in store.objects if key.endswith(".tsr")])
    assert severe_kinds(store, authority) == {"timestamp_missing"}
    assert severe_kinds(store, None) == set()
    store.objects["_seals/000002.tsr"] = newest
    assert severe_kinds(store, authority) == set()


def test_removal_of_the_newest_seals_is_not_detected_by_time_stamps(
    store: MemoryStore, authority: SteppedAuthority
) -> None:
    """The newest seals, removed with all that only they cover, are missed by the kept digest alone."""
    store.remove([key for key in store.objects if "2026-10-27" in key])
    remove_seals(store, 2)
    assert severe_kinds(store, authority) == set()


@pytest.mark.parametrize(("stated", "expected"), [(SOON, set()), (DAY_1, {"sealed_at_contradicted"})])
def test_stated_time_before_the_time_stamp_is_severe_with_the_certificate(
    authority: SteppedAuthority, stated: datetime, expected: set[str]
) -> None:
    """A sealer that dates its seal back is contradicted by the time stamp, and by nothing else."""
    store = MemoryStore()
    two_days(store)
    seal(store, signer=SIGNER, sealed_at=stated, timestamper=authority)
    assert severe_kinds(store, None) == set()
    assert severe_kinds(store, authority) == expected


def test_window_added_later_to_a_day_that_was_sealed_in_time_is_severe_with_the_limit(
    store: MemoryStore, authority: SteppedAuthority
) -> None:
    """Each window is judged by the first seal that names it, so an early seal of its day covers no forged one."""
    authority.now = LATER
    commit(store, window(1.5), records_in(window(1.5), 2, "forged"))
    seal(store, signer=SIGNER, timestamper=authority)
    anchors = TrustAnchors(VERIFIER, None, authority, LIMIT)
    (found,) = verify(store, anchors=anchors).findings
    assert (str(found.kind), found.key) == ("sealed_late", "_seals/000003.tsr")
    assert "2026-10-27T12:00:00Z" in found.detail
    assert severe_kinds(store, authority, limit=False) == set()


def test_late_record_of_a_window_that_was_sealed_in_time_is_not_late(
    store: MemoryStore, authority: SteppedAuthority
) -> None:
    """The first seal that names a window counts, whatever is added to the window later."""
    authority.now = LATER
    commit(store, window(), [record(DAY_1 + timedelta(hours=3), "later")])
    seal(store, signer=SIGNER, timestamper=authority)
    assert severe_kinds(store, authority) == set()


@pytest.mark.parametrize(
    ("proved", "expected"),
    [
        (DAY_1 - 5 * DAY, {"sealed_early"}),
        (DAY_1 + timedelta(hours=11), {"sealed_early"}),
        (DAY_1 + timedelta(hours=12), set()),
    ],
)
def test_seal_proved_before_the_end_of_a_window_that_it_names_is_severe_with_the_certificate(
    authority: SteppedAuthority, proved: datetime, expected: set[str]
) -> None:
    """Nobody can have sealed all records of a window before it ended; a seal in the course of its day is in order."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 2))
    authority.now = proved
    seal(store, signer=SIGNER, timestamper=authority)
    assert severe_kinds(store, authority) == severe_kinds(store, authority, limit=False) == expected
    assert severe_kinds(store, None) == set()


def test_day_that_is_sealed_late_on_purpose_is_severe_with_a_limit(
    store: MemoryStore, authority: SteppedAuthority
) -> None:
    """A backfill looks like a chain that is written again, so the limit is for days that are sealed in time."""
    commit(store, window(-5), records_in(window(-5), 1))
    seal(store, signer=SIGNER, timestamper=authority)
    assert severe_kinds(store, authority) == {"sealed_late"}
    assert severe_kinds(store, authority, limit=False) == set()


def test_run_stamps_what_a_run_before_it_could_not(authority: SteppedAuthority) -> None:
    """Seals made without an authority are stamped by the next run with one; a second run stamps nothing."""
    store = MemoryStore()
    two_days(store)
    seal(store, signer=SIGNER)
    assert severe_kinds(store, authority) == {"timestamp_missing"}
    assert seal(store, signer=SIGNER, timestamper=authority).timestamped_count == 2
    before = dict(store.objects)
    assert seal(store, signer=SIGNER, timestamper=authority).timestamped_count == 0
    assert store.objects == before
    assert severe_kinds(store, authority) == set()
