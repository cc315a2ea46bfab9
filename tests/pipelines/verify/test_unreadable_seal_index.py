"""An index of seals that is too large, or that the store refuses to read, makes no task fail."""

from __future__ import annotations

import pytest

from airflow_audit_provider.exceptions import ReadLimitExceededError, StorageError, StorageUnavailableError
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.verify.memory_store import MemoryStore
from tests.pipelines.verify.sealed_days import ANCHORS, INDEX, LAST_DAY, SIGNER, kinds, late_record, sealed_days

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("states_md5", [False, True])
def test_index_larger_than_all_objects_is_not_read(states_md5: bool) -> None:
    """An index of any size could be planted; an index of a run is read, although not a byte could be added to it."""
    store = sealed_days(states_md5=states_md5)
    store.reads.clear()
    assert _kinds_of_both(store) == []
    assert INDEX in store.reads
    store.objects[INDEX] += b" "
    store.reads.clear()
    assert _kinds_of_both(store) == ["seal_index_ignored"] * 2
    assert INDEX not in store.reads


class _UnreadableIndexStore(CountingStore):
    """Refuses to read the index, as S3 does if somebody has encrypted it with SSE-C or its own KMS key."""

    error: type[StorageError] = StorageError

    def read(self, key: str) -> bytes | None:
        """Returns the object, or None; raises for the index."""
        if key == INDEX:
            raise self.error("The store refused to read it.", key=key)
        return super().read(key)


@pytest.mark.parametrize("states_md5", [False, True])
def test_index_that_the_store_refuses_to_read_is_ignored_and_reported(states_md5: bool) -> None:
    """Nothing depends on it, so that no task fails because of it."""
    store = _UnreadableIndexStore(sealed_days(states_md5=states_md5).objects)
    store.states_md5 = states_md5
    assert _kinds_of_both(store) == ["seal_index_ignored"] * 2
    late_record(store)
    assert [str(one.kind) for one in seal(store, signer=SIGNER).findings] == ["seal_index_ignored"]
    assert verify(store, anchors=ANCHORS).findings == ()


@pytest.mark.parametrize("error", [StorageUnavailableError, ReadLimitExceededError])
def test_index_that_cannot_be_read_now_is_an_error(error: type[StorageError]) -> None:
    """Reading each object instead would send many requests to a store that is overloaded, or exceed a limit, too."""
    unreadable = _UnreadableIndexStore(sealed_days(states_md5=False).objects)
    unreadable.error = error
    for start, end in (LAST_DAY, (None, None)):
        with pytest.raises(error):
            verify(unreadable, start, end, ANCHORS)


def _kinds_of_both(store: MemoryStore) -> list[str]:
    return [*kinds(store), *(str(one.kind) for one in verify(store, anchors=ANCHORS).findings)]


class _IndexWithoutPermissionStore(CountingStore):
    """Refuses to create an index, as a store does whose policy allows the seals only."""

    def create(self, key: str, content: bytes) -> bool:
        """Creates an object; raises for an index."""
        if "/index/" in key:
            raise StorageError(f"{key} cannot be written: AccessDenied.", key=key)
        return super().create(key, content)


def test_index_that_the_store_refuses_to_write_is_a_mild_finding() -> None:
    """The run reports its seals, which are stored before the index is written."""
    store = _IndexWithoutPermissionStore(sealed_days(states_md5=True).objects)
    late_record(store)
    report = seal(store, signer=SIGNER)
    assert [(one.key, report.signed_count) for one in report.created] == [("_seals/000009.json", 1)]
    (found,) = report.findings
    assert (str(found.kind), str(found.severity)) == ("seal_index_unwritten", "mild")
    assert "AccessDenied" in found.detail
    assert verify(store, anchors=ANCHORS).findings == ()
