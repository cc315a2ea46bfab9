"""A seal run and a verification of some days compare copies in the index of seals with the digests that S3 states."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from airflow_audit_provider.core.archive.object_keys import seal_key, signature_key
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_objects import read_seals
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.verify.memory_store import MemoryStore
from tests.pipelines.verify.sealed_days import ANCHORS, LAST_DAY, SIGNER, kinds, late_record, sealed_days

pytestmark = pytest.mark.integration


@pytest.fixture
def store() -> CountingStore:
    """Eight sealed and signed days, in a store whose listings state digests."""
    return sealed_days(states_md5=True)


@pytest.mark.parametrize("states_md5", [False, True])
@pytest.mark.parametrize("ending", ["json", "sig"])
@pytest.mark.parametrize("numbers", [{3}, {1, 2, 3, 4, 5, 6}])
def test_changed_seal_of_another_day_is_found_by_its_digest_or_without_a_range(
    ending: str, numbers: set[int], states_md5: bool
) -> None:
    """A change that keeps the size is not seen by a verification of another day if listings state no digests."""
    store = sealed_days(states_md5=states_md5)
    for number in numbers:
        key = f"_seals/{number:06}.{ending}"
        store.objects[key] = store.objects[key].replace(b'"', b"'", 1)
    assert bool(severe(verify(store, *LAST_DAY, ANCHORS).findings)) is store.states_md5
    assert severe(verify(store, anchors=ANCHORS).findings)
    before = dict(store.objects)
    assert _seal_run_notices(store) is store.states_md5
    assert store.objects == before


def _encrypt(store: CountingStore, monkeypatch: pytest.MonkeyPatch, keys: set[str]) -> None:
    """Lets the store state other texts than the digests of these objects, as S3 does with SSE-KMS or SSE-C."""
    of_store = store._md5
    monkeypatch.setattr(store, "_md5", lambda key: f"{key:0>32.32}" if key in keys else of_store(key))


def _change_seals(store: CountingStore, numbers: Iterable[int]) -> None:
    for number in numbers:
        store.objects[seal_key(number)] = store.objects[seal_key(number)].replace(b'"', b"'", 1)


def test_changed_seals_are_found_although_all_were_encrypted_with_an_unchanged_object(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unchanged object whose stated text is no digest does not stand for others, if the store states digests."""
    _encrypt(store, monkeypatch, {*map(seal_key, range(1, 7)), signature_key(8)})
    assert kinds(store) == []
    _change_seals(store, range(1, 7))
    assert severe(verify(store, *LAST_DAY, ANCHORS).findings)
    assert _seal_run_notices(store)


def test_changed_seals_among_encrypted_objects_are_found_after_the_next_seal(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are compared as long as each object has SSE-KMS or SSE-C, and digests once a new object has one."""
    _encrypt(store, monkeypatch, {*read_seals(store)})
    _change_seals(store, range(1, 7))
    assert kinds(store) == []
    late_record(store)
    assert not _seal_run_notices(store)
    assert severe(verify(store, *LAST_DAY, ANCHORS).findings)
    assert _seal_run_notices(store)


def _seal_run_notices(store: MemoryStore) -> bool:
    try:
        return bool(severe(seal(store, signer=SIGNER).findings))
    except VerificationError:
        return True


@pytest.mark.parametrize(("days_ago", "stated", "other"), [(1, 0, 2), (4, 0, 4)])
def test_seal_is_read_itself_unless_its_digest_is_stated(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch, days_ago: int, stated: int, other: int
) -> None:
    """The copy of the newest seal, and those of the range, are proved by digests; other tags make them read."""
    for expected in (stated, other):
        store.reads.clear()
        assert kinds(store, days_ago) == []
        assert sum(key.startswith("_seals/0") for key in store.reads) == expected
        # S3 with SSE-KMS or SSE-C states a text that is no digest of the bytes.
        monkeypatch.setattr(store, "_md5", lambda key: f"{len(key):032x}")
