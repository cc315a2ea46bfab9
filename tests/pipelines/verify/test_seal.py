"""Sealing: concurrent runs make one chain, damaged days are not sealed, unsigned seals are signed later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from threading import Barrier, Thread

import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_objects import read_seals
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.verify.dataset import DAY_1, PRIVATE_PEM, PUBLIC_PEM, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore

SIGNER = Ed25519Signer(PRIVATE_PEM)
ANCHORS = TrustAnchors(Ed25519Verifier([PUBLIC_PEM]))


@pytest.fixture
def store() -> MemoryStore:
    """A destination with two days, not sealed."""
    made = MemoryStore()
    two_days(made)
    return made


def chain_of(store: MemoryStore) -> SealChain:
    """Returns the chain of seals, after asserting that it has no findings."""
    found = SealChain(read_seals(store))
    assert found.findings == []
    return found


def test_every_day_gets_its_seal(store: MemoryStore) -> None:
    """Without a day, all days with new manifests are sealed, oldest first; each seal names all generations."""
    done = seal(store)
    assert [(made.number, made.day.day, made.manifest_count, made.record_count) for made in done.created] == [
        (1, 26, 3, 7),
        (2, 27, 2, 3),
    ]
    assert done.newest_seal_sha256 == done.created[-1].sha256
    assert chain_of(store).days == {date(2026, 10, 26), date(2026, 10, 27)}


def test_only_days_with_new_manifests_are_read(store: MemoryStore) -> None:
    """A daily seal run reads the seals, and the manifests and parts of the new day, nothing else."""
    seal(store)
    commit(store, window(3), records_in(window(3), 1))
    store.reads.clear()
    assert [made.day.day for made in seal(store).created] == [29]
    assert {key for key in store.reads if not key.startswith("_seals/")} == {
        key for key in store.objects if key.startswith(("_manifests/dt=2026-10-29/", "dt=2026-10-29/"))
    }


def test_only_the_requested_day_is_sealed(store: MemoryStore) -> None:
    """Only the requested day is sealed, and only once."""
    assert [made.day.day for made in seal(store, date(2026, 10, 27)).created] == [27]
    assert seal(store, date(2026, 10, 27)).created == ()
    assert seal(store, date(2026, 10, 28)).created == ()
    assert [made.day.day for made in seal(store).created] == [26]


def test_late_record_adds_a_seal_and_changes_none(store: MemoryStore) -> None:
    """A late record gets a new seal, which names old and new manifests; older seals stay unchanged."""
    seal(store, signer=SIGNER)
    before = dict(store.objects)
    commit(store, window(), [record(DAY_1 + timedelta(hours=1), "later")])
    (made,) = seal(store, signer=SIGNER).created
    assert (made.number, made.day.day, made.manifest_count) == (3, 26, 4)
    assert {key: store.objects[key] for key in before} == before
    assert verify(store, anchors=ANCHORS).findings == ()


def test_time_of_sealing_is_optional(store: MemoryStore) -> None:
    """A seal has the time of sealing only if it is given."""
    seal(store, date(2026, 10, 26))
    seal(store, date(2026, 10, 27), sealed_at=datetime(2026, 10, 28, tzinfo=UTC))
    assert ["sealed_at" in store.objects[f"_seals/{number:06}.json"].decode() for number in (1, 2)] == [False, True]
    chain_of(store)


@pytest.mark.integration
@pytest.mark.parametrize("after_effect", [False, True])
def test_run_after_a_kill_at_any_operation_makes_the_same_seals(store: MemoryStore, after_effect: bool) -> None:
    """After a kill at any operation, the next run makes the same seals and signatures as an undisturbed run."""
    undamaged = dict(store.objects)
    undisturbed = MemoryStore(undamaged)
    count = CrashPoint()
    seal(CrashingStore(undisturbed, count), signer=SIGNER)
    assert len(count.operations) > 10
    for number in range(1, len(count.operations) + 1):
        store.objects = dict(undamaged)
        with pytest.raises(KilledError):
            seal(CrashingStore(store, CrashPoint(number, after_effect=after_effect)), signer=SIGNER)
        seal(store, signer=SIGNER)
        assert store.objects == undisturbed.objects


def test_unsigned_seals_are_signed_by_the_next_run(store: MemoryStore) -> None:
    """Seals without a signature are signed as soon as a run has a key."""
    seal(store)
    assert seal(store, signer=SIGNER).signed_count == 2
    assert seal(store, signer=SIGNER).signed_count == 0
    assert verify(store, anchors=ANCHORS).findings == ()


def test_unsigned_seal_with_a_finding_is_not_signed(store: MemoryStore) -> None:
    """An unsigned seal is signed only if its manifests are unchanged, because others can write there."""
    seal(store)
    key = next(key for key in store.objects if key.startswith("_manifests/dt=2026-10-26"))
    store.objects[key] += b" "
    commit(store, window(5), records_in(window(5), 1))
    done = seal(store, window(5).start.date(), SIGNER)
    assert [made.number for made in done.created] == [3]
    assert [key for key in store.objects if key.endswith(".sig")] == ["_seals/000002.sig", "_seals/000003.sig"]


def test_nothing_is_sealed_or_signed_upon_a_changed_seal(store: MemoryStore) -> None:
    """A day gets no seal while one of the chain is changed, and no unsigned seal is signed."""
    seal(store)
    store.objects["_seals/000001.json"] += b" "
    commit(store, window(5), records_in(window(5), 1))
    before = dict(store.objects)
    with pytest.raises(VerificationError, match=r"The first is seal_unreadable at _seals/000001.json"):
        seal(store, window(5).start.date(), SIGNER)
    assert store.objects == before


def _flip(content: bytes) -> bytes:
    return content.replace(b"explicit bounds", b"explicit Bounds")


@pytest.mark.parametrize("damage", [_flip, lambda _: None, lambda _: b"{}"])
def test_day_changed_after_sealing_is_not_sealed_again(
    store: MemoryStore, damage: Callable[[bytes], bytes | None]
) -> None:
    """A day with a sealed manifest that is changed, missing or damaged is not sealed again."""
    seal(store)
    key = max(key for key in store.objects if key.startswith("_manifests/dt=2026-10-26"))
    damaged = damage(store.objects.pop(key))
    if damaged is not None:
        store.objects[key] = damaged
    before = dict(store.objects)
    with pytest.raises(VerificationError, match="2026-10-26 was not sealed"):
        seal(store, date(2026, 10, 26))
    assert store.objects == before


def test_day_with_a_missing_generation_is_not_sealed(store: MemoryStore) -> None:
    """A day with an incomplete chain of manifests fails with its first finding."""
    key = next(key for key in store.objects if key.startswith("_manifests/") and ".g0001." in key)
    del store.objects[key]
    with pytest.raises(VerificationError, match="Generation 1 of"):
        seal(store)


class _RacedStore(MemoryStore):
    """A store in which another run seals one of ``rival_days`` right before each create."""

    rival_days: list[date]

    def create(self, key: str, content: bytes) -> bool:
        if key.endswith(".json") and self.rival_days:
            day = self.rival_days.pop(0)
            rival = MemoryStore()
            rival.objects = self.objects
            seal(rival, day)
        return super().create(key, content)


def test_run_that_lost_a_number_takes_the_next_one(store: MemoryStore) -> None:
    """A run that loses the race for a seal number takes the next one, and the chain has no gap."""
    raced = _RacedStore(store.objects)
    raced.rival_days = [date(2026, 10, 27)]
    done = seal(raced, date(2026, 10, 26))
    assert [(made.number, made.day.day) for made in done.created] == [(2, 26)]
    assert [seal.day.day for seal in chain_of(raced).seals] == [27, 26]


def test_two_runs_of_one_day_make_one_seal(store: MemoryStore) -> None:
    """A run that loses the race for the same seal reports the existing seal, which has the same bytes."""
    raced = _RacedStore(store.objects)
    raced.rival_days = [date(2026, 10, 26)]
    assert [made.number for made in seal(raced, date(2026, 10, 26)).created] == [1]
    assert len(chain_of(raced).seals) == 1


def test_seal_written_despite_a_conflict_response_counts(store: MemoryStore) -> None:
    """If the store writes a seal but reports a conflict, the run reads the seal and finds its own bytes."""

    class WritingButRefusing(MemoryStore):
        def create(self, key: str, content: bytes) -> bool:
            super().create(key, content)
            return False

    store_after = WritingButRefusing(store.objects)
    assert [made.number for made in seal(store_after).created] == [1, 2]
    assert len(chain_of(store_after).seals) == 2


def test_run_that_always_loses_the_race_fails(store: MemoryStore) -> None:
    """A run that loses the race several times fails and says to run one seal task at a time."""

    class AlwaysTaken(MemoryStore):
        def create(self, key: str, content: bytes) -> bool:
            return False

    with pytest.raises(CommitConflictError, match="one seal task at a"):
        seal(AlwaysTaken(store.objects))


def test_concurrent_runs_make_one_chain(store: MemoryStore) -> None:
    """Threads that seal the same days make each seal once."""
    gate = Barrier(8)

    def run() -> None:
        gate.wait()
        seal(store, signer=SIGNER)

    threads = [Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.day.day for one in chain_of(store).seals) == [26, 27]
    assert verify(store, anchors=ANCHORS).findings == ()
