"""Replacement and erasure after sealing: what is sealed is kept, unless a manifest lists it as erased."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive.manifest import Erasure, read_manifest
from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import CommitConflictError, StorageUnavailableError, VerificationError
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.late_records import pull_late_records
from airflow_audit_provider.pipelines.observer import KeptPart, KeptReason, NullObserver
from airflow_audit_provider.pipelines.pull import pull_window
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from airflow_audit_provider.pipelines.seal_objects import read_seals
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import TrustAnchors, VerifyReport, verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.pull.landing import (
    fake_with,
    keys_of,
    land,
    landed_ids,
    objects,
    pull_spec,
    reader_of,
    record_at,
    true_ids,
)
from tests.pipelines.verify.dataset import OTHER_PRIVATE_PEM, PRIVATE_PEM, PUBLIC_PEM

pytestmark = pytest.mark.integration

SIGNER, OTHER_SIGNER = Ed25519Signer(PRIVATE_PEM), Ed25519Signer(OTHER_PRIVATE_PEM)
ANCHORS = TrustAnchors(Ed25519Verifier([PUBLIC_PEM]))
REASON = "request 17 under Article 17 of the GDPR"
LATER = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture(scope="module")
def fake() -> FakeCloudflare:
    """A fake with few records."""
    return fake_with(ManualClock(), records_per_day=40, requests_per_window=None)


@pytest.fixture(scope="module")
def sealed_folder(fake: FakeCloudflare, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A destination with one sealed and signed window of two generations, in two parts."""
    folder = tmp_path_factory.mktemp("sealed")
    store = LocalStore(str(folder))
    land(pull_spec(), reader_of(fake, ManualClock()), store)
    fake.add(record_at("2026-10-26T03:00:00Z", "late"))
    land(pull_spec(attempt_id="two"), reader_of(fake, ManualClock()), store)
    seal(store, signer=SIGNER)
    return folder


@pytest.fixture
def fresh(sealed_folder: Path, tmp_path: Path) -> Callable[[], LocalStore]:
    """Returns a new copy of the sealed destination at every call."""
    folders: Iterator[Path] = (tmp_path / str(number) for number in range(10_000))
    return lambda: LocalStore(str(copytree(sealed_folder, next(folders))))


def replacing(**changes: Any) -> PullSpec:
    """Returns a spec that replaces the window."""
    return pull_spec(**{"replace": True, **changes})


def erasing(**changes: Any) -> PullSpec:
    """Returns a spec that erases the window and writes it without the address of each actor."""
    request = read_privacy({"drop": ["actor.email"]})
    assert request is not None
    return replacing(**{"privacy": PrivacyRule(request), "erase_reason": REASON, **changes})


def pull(spec: PullSpec, fake: FakeCloudflare, store: LocalStore, crash: CrashPoint | None = None) -> None:
    """Pulls, with a crash point in the store if there is one."""
    land(spec, reader_of(fake, ManualClock()), store if crash is None else CrashingStore(store, crash))


def parts_in(store: LocalStore) -> dict[str, bytes]:
    """Returns the stored parts."""
    return {key: content for key, content in objects(store).items() if key.startswith("dt=")}


def newest_key(store: LocalStore) -> str:
    """Returns the key of the window's newest manifest."""
    committed = latest_committed(store, keys_of(pull_spec()))
    assert committed is not None
    return committed.key


def kinds(report: VerifyReport) -> set[str]:
    """Returns the kinds of all findings."""
    return {str(found.kind) for found in report.findings}


def accept(store: LocalStore) -> None:
    """Seals, accepting each generation that no seal names, as an owner whose task was retried has to."""
    named = SealChain(read_seals(store)).first_named
    keys = frozenset(key for key in store.list_keys("_manifests/") if key not in named)
    seal(store, signer=SIGNER, acceptance=Acceptance(keys, "Ada"))


def test_replacement_after_sealing_keeps_every_sealed_object(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore]
) -> None:
    """A replacement, later runs and a sweep leave every sealed object in place, byte for byte."""
    store = fresh()
    before = objects(store)
    pull(replacing(), fake, store)
    pull(replacing(attempt_id="again"), fake, store)
    pull(pull_spec(attempt_id="add"), fake, store)
    sweep(store, LATER)
    after = objects(store)
    assert {key: after.get(key) for key in before} == before
    # The first of the two replacements was never sealed, so its part is gone.
    assert {key.split("part-")[1][:4] for key in parts_in(store)} == {"0001", "0002", "0004"}


def test_replacement_is_sealed_only_if_it_is_accepted_and_stays_listed(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore]
) -> None:
    """The seal refuses a replacement, then records who accepted it and how many records differ."""
    store = fresh()
    changed = fake_with(ManualClock(), records_per_day=40, requests_per_window=None)
    changed.add(record_at("2026-10-26T03:00:00Z", "late", action="altered"))
    changed.add(record_at("2026-10-26T04:00:00Z", "later"))
    pull(replacing(), changed, store)
    assert kinds(verify(store, anchors=ANCHORS)) == {"manifest_unsealed", "replacement_not_accepted"}
    with pytest.raises(VerificationError, match="accept_replaced"):
        seal(store, signer=SIGNER)
    accept(store)
    for _ in range(2):
        (found,) = verify(store, anchors=ANCHORS).findings
        assert (found.kind, found.key) == ("replacement_accepted", newest_key(store))
        assert "'Ada' accepted" in found.detail
        assert "0 records removed, 1 added, 1 changed" in found.detail
        assert landed_ids(pull_spec(), store) == true_ids(changed)
        # An ordinary later run and seal change nothing.
        pull(pull_spec(attempt_id="later"), changed, store)
        seal(store, signer=SIGNER)


def test_erasure_removes_every_earlier_part_and_lists_their_digests(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore]
) -> None:
    """An erasure leaves only its own parts; its manifest lists what went, and verification lists it permanently."""
    store = fresh()
    before = latest_committed(store, keys_of(pull_spec()))
    pull(erasing(), fake, store)
    after = latest_committed(store, keys_of(pull_spec()))
    assert before is not None
    assert after is not None
    assert after.manifest.erased == Erasure(REASON, before.manifest.parts)
    assert set(parts_in(store)) == {part.key for part in after.manifest.parts}
    unaccepted = {"manifest_unsealed", "replacement_not_accepted", "sealed_part_missing", "parts_erased"}
    assert kinds(verify(store, anchors=ANCHORS)) == unaccepted
    accept(store)
    report = verify(store, anchors=ANCHORS)
    assert kinds(report) == {"replacement_accepted", "parts_erased"}
    assert any(REASON in found.detail for found in report.findings)
    assert any("cannot be compared" in found.detail for found in report.findings)


def test_erasure_after_an_accepted_replacement_removes_the_sealed_parts_of_both(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore]
) -> None:
    """An erasure also removes sealed parts that an earlier replacement had to keep."""
    store = fresh()
    pull(replacing(), fake, store)
    accept(store)
    pull(erasing(attempt_id="erase"), fake, store)
    assert {key.split("part-")[1][:4] for key in parts_in(store)} == {"0004"}
    accept(store)
    assert severe(verify(store, anchors=ANCHORS).findings) == []


def test_erasure_of_an_uncommitted_window_is_an_ordinary_commit(fake: FakeCloudflare, tmp_path: Path) -> None:
    """Where nothing is committed, nothing is erased."""
    store = LocalStore(str(tmp_path))
    pull(erasing(), fake, store)
    committed = latest_committed(store, keys_of(pull_spec()))
    assert committed is not None
    assert not committed.manifest.erased


def test_part_put_back_after_an_erasure_is_severe_until_a_sweep_removes_it(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore]
) -> None:
    """An erased part that exists again is a severe finding; a sweep removes it."""
    store = fresh()
    old = parts_in(store)
    pull(erasing(), fake, store)
    accept(store)
    for key, content in old.items():
        store.create(key, content)
    assert {str(found.kind) for found in severe(verify(store, anchors=ANCHORS).findings)} == {"erased_part_present"}
    assert set(sweep(store, LATER, verifier=ANCHORS.verifier).keys) == set(old)
    assert severe(verify(store, anchors=ANCHORS).findings) == []


def test_erasure_that_was_interrupted_is_finished_by_a_sweep_once_a_seal_accepts_it(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore]
) -> None:
    """Sealed parts that an interrupted erasure left go with a sweep, but only after a seal accepted the erasure."""
    store = fresh()
    old = parts_in(store)
    pull(erasing(), fake, store)
    for key, content in old.items():
        store.create(key, content)
    assert not set(old) & set(sweep(store, LATER).keys)
    accept(store)
    assert set(sweep(store, LATER, verifier=ANCHORS.verifier).keys) == set(old)


class KeptParts(NullObserver):
    """Observer that remembers the parts that a run kept."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}

    def kept(self, window: TimeWindow, parts: Sequence[KeptPart]) -> None:
        """Remembers the parts."""
        self.parts.update(parts)


def _pull_again(store: LocalStore, fake: FakeCloudflare, verifier: Ed25519Verifier | None) -> dict[str, str]:
    """Runs the window of the erasure again without erasing; returns what the run reports as kept."""
    observer = KeptParts()
    spec = pull_spec(attempt_id="later", seal_verifier=verifier)
    pull_window(spec, reader_of(fake, ManualClock()), store, observer)
    return observer.parts


@pytest.mark.parametrize("is_key_given", [True, False], ids=["with-key", "without-key"])
def test_erased_part_that_is_still_there_goes_with_a_run_that_has_the_key(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore], is_key_given: bool
) -> None:
    """In a signed destination, an ordinary run needs the key to believe an erasure, and reports what stays."""
    store = fresh()
    old = parts_in(store)
    pull(erasing(privacy=None), fake, store)
    accept(store)
    for key, content in old.items():
        store.create(key, content)
    kept = _pull_again(store, fake, Ed25519Verifier([PUBLIC_PEM]) if is_key_given else None)
    assert set(old) & set(parts_in(store)) == (set() if is_key_given else set(old))
    assert kept == ({} if is_key_given else dict.fromkeys(old, KeptReason.NO_PUBLIC_KEY))


@pytest.mark.parametrize("is_key_given", [True, False], ids=["with-key", "without-key"])
def test_erasure_that_another_key_accepted_makes_no_run_remove_a_sealed_part(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore], is_key_given: bool
) -> None:
    """A forged seal with a forged signature, which accepts a forged erasure, costs no sealed part."""
    store = fresh()
    old = parts_in(store)
    pull(erasing(privacy=None), fake, store)
    for key, content in old.items():
        store.create(key, content)
    seal(store, acceptance=Acceptance(frozenset([newest_key(store)]), "Ada"))
    store.create("_seals/000002.sig", OTHER_SIGNER.sign(store.read("_seals/000002.json") or b"").to_bytes())
    kept = _pull_again(store, fake, Ed25519Verifier([PUBLIC_PEM]) if is_key_given else None)
    assert old.items() <= parts_in(store).items()
    reason = KeptReason.UNKNOWN_SEALS if is_key_given else KeptReason.NO_PUBLIC_KEY
    assert kept == dict.fromkeys(old, reason)


def test_forged_erasure_makes_no_ordinary_run_and_no_sweep_remove_what_is_sealed(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore]
) -> None:
    """Somebody who may only add objects cannot have the owner's runs delete sealed parts by listing them as erased."""
    store = fresh()
    old = parts_in(store)
    pull(replacing(), fake, store)
    key = newest_key(store)
    committed = latest_committed(store, keys_of(pull_spec()))
    assert committed is not None
    before = read_manifest(key, store.read(key.replace(".g0003.", ".g0002.")) or b"")
    forged = msgspec.structs.replace(committed.manifest, erased=Erasure(REASON, before.parts))
    store.remove([key])
    store.create(key, forged.to_bytes())
    pull(replacing(attempt_id="again"), fake, store)
    sweep(store, LATER)
    assert old.items() <= parts_in(store).items()
    with pytest.raises(VerificationError, match="accept_replaced"):
        seal(store, signer=SIGNER)


def test_erasure_of_a_window_that_was_never_committed_is_no_way_into_another_dataset(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore]
) -> None:
    """A pull that erases nothing has to have the privacy rule of its dataset."""
    store = fresh()
    before = objects(store)
    next_day = TimeWindow(datetime(2026, 10, 27, tzinfo=UTC), datetime(2026, 10, 28, tzinfo=UTC))
    spec = erasing(run_window=RunWindow(next_day, "explicit bounds", next_day.start.date()))
    with pytest.raises(CommitConflictError, match="privacy rule none, not privacy"):
        pull(spec, fake, store)
    assert objects(store) == before


def test_erasure_under_a_rule_that_removes_less_than_the_dataset_is_refused(
    fake: FakeCloudflare, tmp_path: Path
) -> None:
    """An erasure without a rule would write personal data into a dataset that has a rule."""
    store = LocalStore(str(tmp_path))
    pull(erasing(replace=False, erase_reason=None), fake, store)
    before = objects(store)
    with pytest.raises(CommitConflictError, match="privacy rule"):
        pull(replacing(erase_reason=REASON, attempt_id="two"), fake, store)
    assert objects(store) == before


def test_erasure_changes_nothing_if_the_api_lacks_committed_records(fresh: Callable[[], LocalStore]) -> None:
    """The records of a sealed window stay, and the error says how to remove them by hand."""
    store = fresh()
    before = objects(store)
    with pytest.raises(VerificationError, match=r"no longer returns .*Nothing was erased.*delete the window's parts"):
        pull(erasing(), fake_with(ManualClock(), records_per_day=0), store)
    assert objects(store) == before


def test_erasure_reads_no_other_window_for_late_records(fake: FakeCloudflare, fresh: Callable[[], LocalStore]) -> None:
    """With a lookback, a run that erases leaves other windows alone, because they may have another rule."""
    store = fresh()
    pull(erasing(), fake, store)
    next_day = TimeWindow(datetime(2026, 10, 27, tzinfo=UTC), datetime(2026, 10, 28, tzinfo=UTC))
    spec = erasing(run_window=RunWindow(next_day, "explicit bounds", next_day.start.date()))
    done = pull_late_records(spec, timedelta(days=3), reader_of(fake, ManualClock()), store, NullObserver())
    assert done.outcomes == ()


def test_erasure_that_the_store_refuses_fails_the_task(fake: FakeCloudflare, fresh: Callable[[], LocalStore]) -> None:
    """If the store does not remove the parts, the pull raises, so that Airflow runs it again."""
    store = fresh()
    undisturbed = CrashPoint()
    pull(erasing(), fake, fresh(), undisturbed)
    created = next(n for n, name in enumerate(undisturbed.operations) if name.startswith("create _manifests/"))
    number = next(n for n, name in enumerate(undisturbed.operations, 1) if n > created and name.startswith("remove"))
    with pytest.raises(StorageUnavailableError):
        pull(erasing(), fake, store, CrashPoint(number, is_kill=False))


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("is_erasure", [False, True], ids=["replace", "erase"])
def test_kill_at_any_operation_keeps_what_is_sealed_or_lists_it_as_erased(
    fake: FakeCloudflare, fresh: Callable[[], LocalStore], is_erasure: bool, after_effect: bool
) -> None:
    """A run killed anywhere keeps each sealed part or lists it as erased; the next attempt finishes an erasure."""
    undisturbed = CrashPoint()
    spec = erasing() if is_erasure else replacing()
    pull(spec, fake, fresh(), undisturbed)
    for number in range(1, len(undisturbed.operations) + 1):
        store, crash = fresh(), CrashPoint(number, after_effect=after_effect)
        old = set(parts_in(store))
        with pytest.raises(KilledError):
            pull(spec, fake, store, crash)
        where = crash.operations[-1]
        _check_sealed_kept_or_erased(store, where)
        if ".g0003." in newest_key(store):
            # Committed, but no seal accepts it: a sweep keeps what is sealed. The task's next attempt erases again.
            before = set(parts_in(store))
            sweep(store, LATER)
            assert set(parts_in(store)) == before, where
        pull(spec._replace(attempt_id="two"), fake, store)
        _check_sealed_kept_or_erased(store, where)
        assert (old <= set(parts_in(store))) is not is_erasure, where
        assert not is_erasure or len(parts_in(store)) == 1, where
        accept(store)
        assert severe(verify(store, anchors=ANCHORS).findings) == [], where


def _check_sealed_kept_or_erased(store: LocalStore, where: str) -> None:
    found = severe(verify(store, anchors=ANCHORS).findings)
    missing = {one.key for one in found if str(one.kind) == "sealed_part_missing"}
    manifests = [read_manifest(key, store.read(key) or b"") for key in store.list_keys("_manifests/")]
    # The list of an erasure counts only when a seal accepts it, so until then the parts are reported as missing, too.
    assert missing <= {part.key for one in manifests if one.erased for part in one.erased.parts}, where
    allowed = {"manifest_unsealed", "replacement_not_accepted", "erased_part_present", "object_unexpected"}
    assert {str(one.kind) for one in found} - {"sealed_part_missing"} <= allowed, where
