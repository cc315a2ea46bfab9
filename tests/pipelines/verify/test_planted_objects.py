"""What somebody without the key adds or removes causes no crash, gets no signature and costs no sealed part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.core.verification.timestamps import seal_times_table
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of, record_at
from tests.pipelines.verify.dataset import DAY_1, PRIVATE_PEM, PUBLIC_PEM, commit, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore
from tests.pipelines.verify.stated_times import SteppedAuthority

SIGNER, VERIFIER = Ed25519Signer(PRIVATE_PEM), Ed25519Verifier([PUBLIC_PEM])
LATER = datetime(2027, 6, 1, tzinfo=UTC)
MANIFEST_KEY = "_manifests/dt=2026-10-29/20261029T000000Z-20261030T000000Z.g0001.json"


@pytest.fixture
def store() -> MemoryStore:
    """Two landed, sealed, signed and time-stamped days."""
    made = MemoryStore()
    two_days(made)
    seal(made, signer=SIGNER, timestamper=SteppedAuthority(DAY_1 + timedelta(days=2.5)))
    return made


def plant_seal(store: MemoryStore, **changes: Any) -> str:
    """Adds an unsigned seal with the right digest of the one before; returns its key."""
    number = max(int(key[7:13]) for key in store.objects if key.startswith("_seals/") and key.endswith(".json"))
    before = hashlib.sha256(store.objects[f"_seals/{number:06}.json"]).hexdigest()
    stated: dict[str, Any] = {
        "number": number + 1,
        "day": "2027-06-01",
        "manifests": [],
        "previous_sha256": before,
        "seal_version": 1,
    }
    key = f"_seals/{number + 1:06}.json"
    assert store.create(key, rfc8785.dumps(stated | changes))
    return key


def severe_kinds(store: MemoryStore) -> set[str]:
    """Returns the severe findings of a verification with key and certificate, which prints its table of times."""
    authority = SteppedAuthority(DAY_1 + timedelta(days=2.5))
    report = verify(store, anchors=TrustAnchors(VERIFIER, None, authority, timedelta(days=2)))
    assert seal_times_table(report.seals)
    return {str(one.kind) for one in severe(report.findings)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"day": "2026-10-30"},
        {"day": "9999-12-31"},
        {"sealed_at": "2026-11-01T00:00:00"},
        {"sealed_at": "0001-01-01T00:00:00+05:00"},
        {"sealed_at": "9999-12-31T23:59:59-05:00"},
        {"sealed_at": "2020-01-01T00:00:00Z"},
        {"number": 7},
    ],
)
def test_planted_seal_is_neither_signed_nor_stamped_and_is_severe(store: MemoryStore, changes: dict[str, Any]) -> None:
    """A seal that no run creates gets no signature and no time stamp, and verify reports it."""
    key = plant_seal(store, **changes)
    report = seal(store, signer=SIGNER, timestamper=SteppedAuthority(DAY_1 + timedelta(days=2.5)))
    assert (report.signed_count, report.timestamped_count) == (0, 0)
    assert not {key.replace(".json", ".sig"), key.replace(".json", ".tsr")} & store.objects.keys()
    assert severe_kinds(store)


@pytest.mark.parametrize("sealed_at", [DAY_1 - timedelta(days=400), LATER + timedelta(days=3000)])
def test_unsigned_seal_with_an_impossible_time_is_not_signed(store: MemoryStore, sealed_at: datetime) -> None:
    """A seal of real manifests that states a time before its day or a time to come gets no signature."""
    commit(store, window(2), records_in(window(2), 2, "n"))
    seal(store, sealed_at=sealed_at)
    report = seal(store, signer=SIGNER, sealed_at=LATER)
    assert report.signed_count == 0
    assert [one.key for one in report.findings] == ["_seals/000003.json"]


@pytest.mark.parametrize("ending", ["sig", "tsr"])
def test_added_signature_or_time_stamp_takes_no_number(store: MemoryStore, ending: str) -> None:
    """The next seal follows the newest one although an object with its number exists."""
    store.create(f"_seals/000003.{ending}", b"x")
    commit(store, window(2), records_in(window(2), 2, "n"))
    (made,) = seal(store, signer=SIGNER).created
    assert made.key == "_seals/000003.json"
    assert hashlib.sha256(store.objects["_seals/000002.json"]).hexdigest().encode() in store.objects[made.key]


def _use_all(store: MemoryStore) -> None:
    severe_kinds(store)
    coverage(store, LATER)
    seal(store, signer=SIGNER)


@pytest.mark.parametrize(
    "plant",
    [
        lambda store: store.create("_seals/9007199254740993.tsr", b"x"),
        lambda store: store.create("_seals/notes.txt", b"x"),
        lambda store: store.create(f"_seals/{'9' * 5000}.json", b"x"),
        lambda store: (plant_seal(store, number=7), store.create("_seals/000007.tsr", b"x")),
    ],
    ids=["number-beyond-2**53", "foreign", "number-of-5000-digits", "number-of-another"],
)
def test_added_object_among_the_seals_stops_nothing(store: MemoryStore, plant: Callable[[MemoryStore], Any]) -> None:
    """No object in the seals' folder makes verify, coverage or seal raise an error."""
    plant(store)
    _use_all(store)


def test_manifest_with_a_time_that_overflows_is_a_finding(store: MemoryStore) -> None:
    """A manifest whose time has no UTC equivalent is unreadable, and nothing raises an OverflowError."""
    committed = next(content for key, content in sorted(store.objects.items()) if key.startswith("_manifests/"))
    manifest = json.loads(committed)
    manifest["window"]["end"] = "9999-12-31T23:59:59-01:00"
    store.create(MANIFEST_KEY, rfc8785.dumps(manifest))
    with pytest.raises(VerificationError, match="cannot be decoded"):
        coverage(store, LATER)
    assert "manifest_unreadable" in severe_kinds(store)


def _parts(store: LocalStore) -> set[str]:
    return {key for key in store.list_keys("") if key.startswith("dt=")}


def _sealed(folder: Path) -> tuple[LocalStore, Any, str, set[str]]:
    """Returns a sealed window: its store, the API, the manifest's key, and the keys of its parts."""
    fake = fake_with(ManualClock(), records_per_day=40, requests_per_window=None)
    store = LocalStore(str(folder))
    land(pull_spec(), reader_of(fake, ManualClock()), store)
    seal(store, signer=SIGNER)
    (manifest,) = store.list_keys("_manifests/")
    return store, fake, manifest, _parts(store)


@pytest.mark.integration
def test_lost_manifest_of_a_sealed_window_lets_no_run_or_sweep_remove_its_parts(tmp_path: Path) -> None:
    """A run and a sweep without the manifest keep the sealed parts, so that restoring it repairs all."""
    store, fake, manifest, parts = _sealed(tmp_path)
    content = store.read(manifest) or b""
    store.remove([manifest])
    fake.add(record_at("2026-10-26T05:00:00Z", "late"))
    land(pull_spec(attempt_id="two"), reader_of(fake, ManualClock()), store)
    sweep(store, LATER)
    assert parts < _parts(store)
    store.remove(list(store.list_keys("_manifests/")))
    store.create(manifest, content)
    # What is left is the part of the run without the manifest, which nobody names now.
    found = severe(verify(store, anchors=TrustAnchors(VERIFIER)).findings)
    assert {str(one.kind) for one in found} == {"object_unexpected"}
    assert parts.isdisjoint(one.key for one in found)


@pytest.mark.integration
def test_changed_manifest_of_a_sealed_window_lets_no_run_remove_its_parts(tmp_path: Path) -> None:
    """A first generation in place of the sealed one lets no later run remove the sealed parts."""
    store, fake, manifest, parts = _sealed(tmp_path)
    store.remove([manifest])
    fake.add(record_at("2026-10-26T06:00:00Z", "late"))
    land(pull_spec(attempt_id="two"), reader_of(fake, ManualClock()), store)
    fake.add(record_at("2026-10-26T07:00:00Z", "later"))
    land(pull_spec(attempt_id="three"), reader_of(fake, ManualClock()), store)
    assert parts < _parts(store)
