"""Sealing: one chain whoever seals, nothing sealed that is damaged, nothing left unsigned for long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from threading import Barrier, Thread

import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError
from airflow_audit_provider.pipelines.committed import read_seals
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from tests.pipelines.pull.mortal_store import Death, KilledError, MortalStore
from tests.pipelines.verify.dataset import DAY_1, PRIVATE_PEM, PUBLIC_PEM, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore

SIGNER = Ed25519Signer(PRIVATE_PEM)
EVIDENCE = TrustAnchors(Ed25519Verifier([PUBLIC_PEM]))


@pytest.fixture
def store() -> MemoryStore:
    """Two days, not sealed."""
    made = MemoryStore()
    two_days(made)
    return made


def chain_of(store: MemoryStore) -> SealChain:
    """Return the chain of seals; it is sound."""
    found = SealChain(read_seals(store))
    assert found.findings == []
    return found


def test_every_day_gets_its_seal(store: MemoryStore) -> None:
    """Without a day all news are sealed, oldest day first; each seal names every generation of its day."""
    done = seal(store)
    assert [(made.number, made.day.day, made.manifest_count, made.record_count) for made in done.created] == [
        (1, 26, 3, 7),
        (2, 27, 2, 3),
    ]
    assert done.newest_seal_sha256 == done.created[-1].sha256
    assert chain_of(store).days == {date(2026, 10, 26), date(2026, 10, 27)}


def test_only_days_with_news_are_read(store: MemoryStore) -> None:
    """A daily sealing of a long history reads the seals and the manifests of the new day, nothing else."""
    seal(store)
    commit(store, window(3), records_in(window(3), 1))
    store.reads.clear()
    assert [made.day.day for made in seal(store).created] == [29]
    assert {key for key in store.reads if not key.startswith("_seals/")} == {
        key for key in store.objects if key.startswith("_manifests/dt=2026-10-29/")
    }


def test_one_day_alone(store: MemoryStore) -> None:
    """Only the day asked for is sealed, and only once."""
    assert [made.day.day for made in seal(store, date(2026, 10, 27)).created] == [27]
    assert seal(store, date(2026, 10, 27)).created == ()
    assert seal(store, date(2026, 10, 28)).created == ()
    assert [made.day.day for made in seal(store).created] == [26]


def test_a_late_window_adds_a_seal_and_changes_none(store: MemoryStore) -> None:
    """The older seal stays byte for byte; the new one names what is there and what comes."""
    seal(store, signer=SIGNER)
    before = dict(store.objects)
    commit(store, window(), [record(DAY_1 + timedelta(hours=1), "later")])
    (made,) = seal(store, signer=SIGNER).created
    assert (made.number, made.day.day, made.manifest_count) == (3, 26, 4)
    assert {key: store.objects[key] for key in before} == before
    assert verify(store, anchors=EVIDENCE).findings == ()


def test_the_instant_of_sealing_is_a_parameter(store: MemoryStore) -> None:
    """It is in the seal only when given."""
    seal(store, date(2026, 10, 26))
    seal(store, date(2026, 10, 27), sealed_at=datetime(2026, 10, 28, tzinfo=UTC))
    assert ["sealed_at" in store.objects[f"_seals/{number:06}.json"].decode() for number in (1, 2)] == [False, True]
    chain_of(store)


@pytest.mark.parametrize("late", [False, True])
def test_a_worker_killed_at_any_operation(store: MemoryStore, late: bool) -> None:
    """Whenever a sealing run dies, the next one ends with the same seals and signatures as an undisturbed run."""
    pristine = dict(store.objects)
    undisturbed = MemoryStore(pristine)
    count = Death()
    seal(MortalStore(undisturbed, count), signer=SIGNER)
    assert len(count.operations) > 10
    for number in range(1, len(count.operations) + 1):
        store.objects = dict(pristine)
        with pytest.raises(KilledError):
            seal(MortalStore(store, Death(number, late=late)), signer=SIGNER)
        seal(store, signer=SIGNER)
        assert store.objects == undisturbed.objects


def test_what_was_left_unsigned_is_signed_by_the_next_run(store: MemoryStore) -> None:
    """Seals made without a key, or before a crash, are signed as soon as there is a key."""
    seal(store)
    assert seal(store, signer=SIGNER).signed_count == 2
    assert seal(store, signer=SIGNER).signed_count == 0
    assert verify(store, anchors=EVIDENCE).findings == ()


@pytest.mark.parametrize("spoil", ["seal", "manifest"])
def test_an_old_seal_that_does_not_hold_is_not_signed(store: MemoryStore, spoil: str) -> None:
    """Others has the permission: an unsigned seal is signed only while its chain and its manifests hold."""
    seal(store)
    if spoil == "seal":
        store.objects["_seals/000001.json"] += b" "
    else:
        key = next(key for key in store.objects if key.startswith("_manifests/dt=2026-10-26"))
        store.objects[key] += b" "
    commit(store, window(5), records_in(window(5), 1))
    done = seal(store, window(5).start.date(), SIGNER)
    assert [made.number for made in done.created] == [3]
    signed = [key for key in store.objects if key.endswith(".sig")]
    assert signed == (["_seals/000003.sig"] if spoil == "seal" else ["_seals/000002.sig", "_seals/000003.sig"])


def _flip(content: bytes) -> bytes:
    return content.replace(b"explicit bounds", b"explicit Bounds")


@pytest.mark.parametrize("damage", [_flip, lambda _: None, lambda _: b"{}"])
def test_a_day_that_was_changed_after_sealing_is_not_sealed_again(
    store: MemoryStore, damage: Callable[[bytes], bytes | None]
) -> None:
    """A sealed manifest that is another, gone or damaged stops the sealing of its day."""
    seal(store)
    key = max(key for key in store.objects if key.startswith("_manifests/dt=2026-10-26"))
    damaged = damage(store.objects.pop(key))
    if damaged is not None:
        store.objects[key] = damaged
    before = dict(store.objects)
    with pytest.raises(VerificationError, match="2026-10-26 was not sealed"):
        seal(store, date(2026, 10, 26))
    assert store.objects == before


def test_a_gap_in_a_windows_generations_is_not_sealed(store: MemoryStore) -> None:
    """A day whose manifests do not make whole chains is refused with the first thing that is wrong."""
    key = next(key for key in store.objects if key.startswith("_manifests/") and ".g0001." in key)
    del store.objects[key]
    with pytest.raises(VerificationError, match="Generation 1 of"):
        seal(store)


class _Raced(MemoryStore):
    """A store in which others seal another day right before each of our creations."""

    rival_days: list[date]

    def create(self, key: str, content: bytes) -> bool:
        if key.endswith(".json") and self.rival_days:
            day = self.rival_days.pop(0)
            rival = MemoryStore()
            rival.objects = self.objects
            seal(rival, day)
        return super().create(key, content)


def test_two_sealers_never_take_one_number(store: MemoryStore) -> None:
    """Who loses a number seals behind the winner, and the chain is whole."""
    raced = _Raced(store.objects)
    raced.rival_days = [date(2026, 10, 27)]
    done = seal(raced, date(2026, 10, 26))
    assert [(made.number, made.day.day) for made in done.created] == [(2, 26)]
    assert [seal.day.day for seal in chain_of(raced).seals] == [27, 26]


def test_two_sealers_of_one_day_make_one_seal(store: MemoryStore) -> None:
    """Who loses finds the very bytes it wanted to write, and tells the same seal."""
    raced = _Raced(store.objects)
    raced.rival_days = [date(2026, 10, 26)]
    assert [made.number for made in seal(raced, date(2026, 10, 26)).created] == [1]
    assert len(chain_of(raced).seals) == 1


def test_a_lost_answer_is_no_lost_seal(store: MemoryStore) -> None:
    """A store that writes the seal and says that it is not the first is asked what lies there."""

    class Forgetful(MemoryStore):
        def create(self, key: str, content: bytes) -> bool:
            super().create(key, content)
            return False

    forgetful = Forgetful(store.objects)
    assert [made.number for made in seal(forgetful).created] == [1, 2]
    assert len(chain_of(forgetful).seals) == 2


def test_a_store_in_which_others_are_always_faster_is_named(store: MemoryStore) -> None:
    """After some tries the error says to run one seal task at a."""

    class Full(MemoryStore):
        def create(self, key: str, content: bytes) -> bool:
            return False

    with pytest.raises(CommitConflictError, match="one seal task at a"):
        seal(Full(store.objects))


def test_many_sealers_at_once_make_one_chain(store: MemoryStore) -> None:
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
    assert verify(store, anchors=EVIDENCE).findings == ()
