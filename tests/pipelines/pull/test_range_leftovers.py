"""A range skips committed windows, and finishes what the run that committed one of them was killed in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shutil import copytree

import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.observer import KeptPart, KeptReason, NullObserver
from airflow_audit_provider.pipelines.pull_range import pull_range
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from airflow_audit_provider.pipelines.seal_objects import read_seals
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.pull.landing import fake_with, keys_of, land, reader_of
from tests.pipelines.pull.many_windows import land_range, range_spec, spec_of
from tests.pipelines.verify.dataset import PRIVATE_PEM, PUBLIC_PEM

pytestmark = pytest.mark.integration

SIGNER, VERIFIER = Ed25519Signer(PRIVATE_PEM), Ed25519Verifier([PUBLIC_PEM])
RANGE = range_spec(days=2)
FIRST_DAY = spec_of(RANGE, RANGE.windows[0])
REPLACEMENT = FIRST_DAY._replace(replace=True, attempt_id="replacing")
ERASURE = REPLACEMENT._replace(erase_reason="request 17 under Article 17 of the GDPR")


class _Noting(NullObserver):
    """Observer that notes the parts that are kept."""

    def __init__(self) -> None:
        self.parts: list[KeptPart] = []

    def kept(self, window: TimeWindow, parts: Sequence[KeptPart]) -> None:
        """Notes the parts."""
        self.parts += parts


@pytest.fixture
def fake() -> FakeCloudflare:
    """A fake with few records."""
    return fake_with(ManualClock(), records_per_day=40, requests_per_window=None)


def _parts(store: LocalStore) -> set[str]:
    return set(store.list_keys(keys_of(FIRST_DAY).partition))


def _killed_after_commit(spec: PullSpec, fake: FakeCloudflare, folder: Path, *, is_sealed: bool) -> list[LocalStore]:
    """Returns destinations of two days, each after a run of the first day was killed somewhere after its commit."""
    start = LocalStore(str(folder / "start"))
    land_range(RANGE, reader_of(fake, ManualClock()), start)
    if is_sealed:
        seal(start, signer=SIGNER)
    found: list[LocalStore] = []
    for at in range(1, 200):
        store = LocalStore(str(copytree(folder / "start", folder / str(at))))
        try:
            land(spec, reader_of(fake, ManualClock()), CrashingStore(store, CrashPoint(at)))
        except KilledError:
            committed = latest_committed(store, keys_of(spec))
            assert committed is not None
            found += [store] if committed.manifest.generation > 1 else []
        else:
            return found
    pytest.fail("the run never came to its end")


def _accept(store: LocalStore) -> None:
    """Seals, accepting each generation that no seal names, as the owner who wanted the erasure does."""
    named = SealChain(read_seals(store)).first_named
    keys = frozenset(key for key in store.list_keys("_manifests/") if key not in named)
    seal(store, signer=SIGNER, acceptance=Acceptance(keys, "Ada"))


def test_range_finishes_an_accepted_erasure_that_was_interrupted(fake: FakeCloudflare, tmp_path: Path) -> None:
    """No erased part stays, wherever the erasing run is killed after its commit, and no request is sent."""
    left_count = 0
    for store in _killed_after_commit(ERASURE, fake, tmp_path, is_sealed=True):
        committed = latest_committed(store, keys_of(ERASURE))
        assert committed is not None
        left_count += len(_parts(store)) - len(committed.manifest.parts)
        _accept(store)
        request_count = len(fake.requests)
        spec = RANGE.spec._replace(seal_verifier=VERIFIER, attempt_id="next")
        land_range(RANGE._replace(spec=spec), reader_of(fake, ManualClock()), store)
        assert _parts(store) == {part.key for part in committed.manifest.parts}
        assert len(fake.requests) == request_count
    assert left_count > 0


def test_range_without_the_key_keeps_the_erased_parts_and_reports_them(fake: FakeCloudflare, tmp_path: Path) -> None:
    """As a run of the day does: anybody who can write to the store could have made the seal."""
    kept: set[KeptReason] = set()
    for store in _killed_after_commit(ERASURE, fake, tmp_path, is_sealed=True):
        _accept(store)
        before, noting = _parts(store), _Noting()
        pull_range(RANGE, reader_of(fake, ManualClock()), store, noting)
        assert _parts(store) == before
        kept |= {one.reason for one in noting.parts}
    assert kept == {KeptReason.NO_PUBLIC_KEY}


def test_range_removes_the_parts_of_an_interrupted_replacement(fake: FakeCloudflare, tmp_path: Path) -> None:
    """A part that is replaced and not sealed is of no use."""
    left_count = 0
    for store in _killed_after_commit(REPLACEMENT, fake, tmp_path, is_sealed=False):
        committed = latest_committed(store, keys_of(REPLACEMENT))
        assert committed is not None
        left_count += len(_parts(store)) - len(committed.manifest.parts)
        land_range(RANGE, reader_of(fake, ManualClock()), store)
        assert _parts(store) == {part.key for part in committed.manifest.parts}
    assert left_count > 0
