"""What somebody without the key adds or removes causes no crash, gets no signature and costs no sealed part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rfc8785

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.archive.manifest import Erasure
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.verification.envelopes import SEAL_PAYLOAD_TYPE, Envelope, EnvelopeSignature
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.core.verification.timestamps import seal_times_table
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.observer import KeptReason
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from airflow_audit_provider.pipelines.sealed_parts import SealedParts
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of, record_at
from tests.pipelines.verify.dataset import (
    DAY_1,
    OTHER_PRIVATE_PEM,
    OTHER_PUBLIC_PEM,
    PRIVATE_PEM,
    PUBLIC_PEM,
    commit,
    records_in,
    two_days,
    window,
)
from tests.pipelines.verify.forgery import forge_erasure, forge_first_generation, forge_replacement, forge_seal, newest
from tests.pipelines.verify.memory_store import MemoryStore
from tests.pipelines.verify.stated_times import SteppedAuthority

OTHER_SIGNER = Ed25519Signer(OTHER_PRIVATE_PEM)
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


@pytest.mark.parametrize(
    ("sealed_at", "run_at"),
    [
        (DAY_1 - timedelta(days=400), LATER),
        (DAY_1 + timedelta(hours=1), LATER),
        (LATER + timedelta(days=3000), LATER),
        (LATER + timedelta(days=3000), None),
        (DAY_1 + timedelta(days=1), None),
    ],
)
def test_unsigned_seal_with_a_time_that_no_run_stated_is_not_signed(
    store: MemoryStore, sealed_at: datetime, run_at: datetime | None
) -> None:
    """A time before the day, a time to come, and any time if runs state none get no signature on a true seal."""
    commit(store, window(2), records_in(window(2), 2, "n"))
    seal(store, sealed_at=sealed_at)
    report = seal(store, signer=SIGNER, sealed_at=run_at)
    assert report.signed_count == 0
    assert [one.key for one in report.findings] == ["_seals/000003.json"]


def test_unsigned_seal_with_a_time_is_signed_by_a_run_that_states_a_later_one(store: MemoryStore) -> None:
    """Runs that state their times sign the seals of earlier ones."""
    commit(store, window(2), records_in(window(2), 2, "n"))
    seal(store, sealed_at=LATER)
    assert seal(store, signer=SIGNER, sealed_at=LATER + timedelta(days=1)).signed_count == 1


@pytest.mark.parametrize("ending", ["sig", "tsr"])
def test_added_signature_or_time_stamp_takes_no_number(store: MemoryStore, ending: str) -> None:
    """The next seal follows the newest one although an object with its number exists."""
    store.create(f"_seals/000003.{ending}", b"x")
    commit(store, window(2), records_in(window(2), 2, "n"))
    (made,) = seal(store, signer=SIGNER).created
    assert made.key == "_seals/000003.json"
    assert hashlib.sha256(store.objects["_seals/000002.json"]).hexdigest().encode() in store.objects[made.key]


def forge_accepted_erasure(store: MemoryStore) -> set[str]:
    """Adds a generation that lists the sealed parts as erased, and a seal that accepts it; returns the parts' keys."""
    key, parts = forge_erasure(store, window(1))
    entry = {"key": key, "replaces": key.replace(".g0003.", ".g0002."), "accepted_by": "the owner"}
    counts = {"added_count": None, "changed_count": None, "removed_count": None}
    forge_seal(store, "_seals/000002.json", key, replacements=[{**entry, **counts}])
    return parts


GARBAGE: dict[str, Callable[[MemoryStore], bytes]] = {
    "no envelope": lambda _: b"garbage",
    "another key": lambda store: OTHER_SIGNER.sign(store.objects["_seals/000002.json"]).to_bytes(),
    "another seal": lambda store: SIGNER.sign(store.objects["_seals/000001.json"]).to_bytes(),
    "wrong bytes": lambda store: SIGNER.sign(store.objects["_seals/000002.json"]).to_bytes().replace(b"A", b"B", 1),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_signature_that_is_not_the_owners_is_named_by_the_next_run(store: MemoryStore, garbage: str) -> None:
    """A run names a stored signature that its key did not make, and leaves it, because no object is overwritten."""
    content = GARBAGE[garbage](store)
    store.objects["_seals/000002.sig"] = content
    report = seal(store, signer=SIGNER)
    assert [(str(one.kind), one.key) for one in severe(report.findings)] == [
        ("signature_invalid", "_seals/000002.sig"),
    ]
    assert store.objects["_seals/000002.sig"] == content
    store.remove(["_seals/000002.sig"])
    assert (seal(store, signer=SIGNER).signed_count, severe_kinds(store)) == (1, set())


@pytest.mark.parametrize("ending", ["sig", "tsr"])
def test_object_in_the_place_of_a_signature_or_time_stamp_to_come_is_named(store: MemoryStore, ending: str) -> None:
    """What somebody put where the next signature or time stamp belongs makes no run look successful."""
    store.create(f"_seals/000003.{ending}", b"x")
    commit(store, window(2), records_in(window(2), 2, "n"))
    report = seal(store, signer=SIGNER, timestamper=SteppedAuthority(DAY_1 + timedelta(days=3)))
    kind = {"sig": "signature_invalid", "tsr": "timestamp_invalid"}[ending]
    assert [made.key for made in report.created] == ["_seals/000003.json"]
    assert [(str(one.kind), one.key) for one in report.findings] == [(kind, f"_seals/000003.{ending}")]


@pytest.mark.parametrize("ending", ["sig", "tsr"])
def test_object_that_appears_in_the_place_of_a_signature_or_time_stamp_is_named(ending: str) -> None:
    """The same holds if it is put there between the run's listing and its own create."""

    class Raced(MemoryStore):
        def create(self, key: str, content: bytes) -> bool:
            if key == f"_seals/000002.{ending}":
                super().create(key, b"x")
            return super().create(key, content)

    store = Raced()
    two_days(store)
    report = seal(store, signer=SIGNER, timestamper=SteppedAuthority(DAY_1 + timedelta(days=2.5)))
    assert [one.key for one in severe(report.findings)] == [f"_seals/000002.{ending}"]


def test_garbage_time_stamp_proves_nothing_while_sealing() -> None:
    """A run stamps the seals before it, and the time stamp of the next seal proves its seal."""
    store, authority = MemoryStore(), SteppedAuthority(DAY_1 + timedelta(days=2.5))
    two_days(store)
    seal(store, signer=SIGNER)
    store.create("_seals/000002.tsr", b"x")
    report = seal(store, signer=SIGNER, timestamper=authority)
    assert report.timestamped_count == 1
    assert [one.key for one in report.findings] == ["_seals/000002.tsr"]
    commit(store, window(2), records_in(window(2), 2, "n"))
    authority.now += timedelta(days=1)
    assert seal(store, signer=SIGNER, timestamper=authority).timestamped_count == 1
    store.remove(["_seals/000002.tsr"])
    assert severe_kinds(store) == set()


def test_planted_seal_with_a_garbage_signature_is_not_stamped(store: MemoryStore) -> None:
    """The authority is not asked about a seal that the owner did not sign."""
    commit(store, window(2), records_in(window(2), 2, "n"))
    seal(store)
    store.create("_seals/000003.sig", b"x")
    report = seal(store, signer=SIGNER, timestamper=SteppedAuthority(DAY_1 + timedelta(days=3)))
    assert report.timestamped_count == 0
    assert "_seals/000003.tsr" not in store.objects


def _other_number(store: MemoryStore) -> None:
    seal_three = plant_seal(store, manifests=json.loads(store.objects["_seals/000002.json"])["manifests"])
    store.objects[seal_three] = rfc8785.dumps(json.loads(store.objects[seal_three]) | {"number": 7})


BROKEN_CHAINS: dict[str, Callable[[MemoryStore], Any]] = {
    "seal_unreadable": lambda store: store.create("_seals/000003.json", b"{}"),
    "seal_misplaced": _other_number,
    "seal_unchained": lambda store: plant_seal(
        store,
        day="2026-10-27",
        previous_sha256="0" * 64,
        manifests=json.loads(store.objects["_seals/000002.json"])["manifests"],
    ),
}


@pytest.mark.parametrize("kind", BROKEN_CHAINS)
@pytest.mark.parametrize("signer", [None, SIGNER], ids=["without-key", "with-key"])
def test_seal_that_no_run_made_gets_no_successor(store: MemoryStore, kind: str, signer: Ed25519Signer | None) -> None:
    """What a seal names that cannot be read is unknown, so nothing is sealed upon it until it is restored or moved."""
    BROKEN_CHAINS[kind](store)
    commit(store, window(2), records_in(window(2), 2, "n"))
    before = dict(store.objects)
    with pytest.raises(VerificationError, match=f"{kind} at _seals/000003.json"):
        seal(store, signer=signer)
    assert store.objects == before
    store.remove(["_seals/000003.json"])
    report = seal(store, signer=SIGNER, timestamper=SteppedAuthority(DAY_1 + timedelta(days=3)))
    assert [made.key for made in report.created] == ["_seals/000003.json"]
    assert severe_kinds(store) == set()


@pytest.mark.parametrize("damage", ["changed", "removed", "removed, but for its signature"])
def test_day_whose_seal_was_damaged_is_not_sealed_as_a_new_one(store: MemoryStore, damage: str) -> None:
    """A sealed day whose seal is gone is not taken for a new day, so no run signs a forged window there."""
    seal_key, day = "_seals/000001.json", window().start.date()
    if damage == "changed":
        store.objects[seal_key] += b" "
    else:
        store.remove([seal_key, *(["_seals/000001.sig", "_seals/000001.tsr"] if damage == "removed" else [])])
    forge_first_generation(store, window())
    before = dict(store.objects)
    with pytest.raises(VerificationError, match=r"_seals/000001"):
        seal(store, day, signer=SIGNER)
    assert store.objects == before
    assert severe_kinds(store)
    assert severe(verify(store).findings)


def test_later_days_are_sealed_although_a_seal_is_missing(store: MemoryStore) -> None:
    """A seal that is lost for good must not leave the days to come unprotected; the loss stays a finding."""
    store.remove([key for key in store.objects if key.startswith("_seals/000001")])
    commit(store, window(2), records_in(window(2), 2, "n"))
    report = seal(store, window(2).start.date(), signer=SIGNER)
    assert [made.key for made in report.created] == ["_seals/000003.json"]
    assert [str(one.kind) for one in report.findings] == ["seal_missing"]


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


def _owner_envelope(content: bytes) -> Envelope:
    """Returns an envelope that names the owner's key, with a signature that another key made."""
    (signature,) = OTHER_SIGNER.sign(content).signatures
    (owners,) = SIGNER.sign(content).signatures
    return Envelope(content, SEAL_PAYLOAD_TYPE, (EnvelopeSignature(owners.keyid, signature.sig),))


FORGED_SIGNATURES: dict[str, Callable[[bytes], bytes | None]] = {
    "none": lambda _: None,
    "garbage": lambda _: b"x",
    "another key": lambda content: OTHER_SIGNER.sign(content).to_bytes(),
    "right key, wrong signature": lambda content: _owner_envelope(content).to_bytes(),
}


@pytest.mark.integration
@pytest.mark.parametrize("is_key_given", [True, False], ids=["with-key", "without-key"])
@pytest.mark.parametrize("signature", FORGED_SIGNATURES)
def test_seal_that_the_owner_did_not_sign_makes_no_sweep_remove_a_sealed_part(
    store: MemoryStore, signature: str, is_key_given: bool
) -> None:
    """In a signed chain, a forged seal that accepts a forged erasure does not end the protection of sealed parts."""
    parts = forge_accepted_erasure(store)
    content = FORGED_SIGNATURES[signature](store.objects["_seals/000003.json"])
    if content is not None:
        store.create("_seals/000003.sig", content)
    report = sweep(store, datetime.now(UTC) + timedelta(days=5), verifier=VERIFIER if is_key_given else None)
    assert parts <= store.objects.keys()
    assert {one.key for one in report.kept} == parts
    assert severe_kinds(store)


@pytest.mark.parametrize("is_key_given", [True, False], ids=["with-key", "without-key"])
def test_removed_signatures_protect_sealed_parts_only_if_the_key_is_given(
    store: MemoryStore, is_key_given: bool
) -> None:
    """Without its signatures, a chain looks like one that had none; only the public key tells them apart."""
    parts = forge_accepted_erasure(store)
    store.remove([key for key in store.objects if key.endswith(".sig")])
    sweep(store, datetime.now(UTC) + timedelta(days=5), verifier=VERIFIER if is_key_given else None)
    assert (parts <= store.objects.keys()) is is_key_given
    assert severe_kinds(store)
    assert is_key_given or not severe(verify(store).findings)


@pytest.mark.parametrize("pem", [PUBLIC_PEM, OTHER_PUBLIC_PEM + PUBLIC_PEM], ids=["key", "two-keys"])
def test_erasure_that_the_owner_accepted_is_finished_by_a_sweep_with_the_key(store: MemoryStore, pem: str) -> None:
    """Erased parts that are still there go with a sweep that has the key; one without it names and keeps them."""
    key, parts = forge_erasure(store, window(1))
    seal(store, signer=SIGNER, acceptance=Acceptance(frozenset([key]), "Ada"))
    later = datetime.now(UTC) + timedelta(days=5)
    kept = sweep(store, later).kept
    assert {one.key for one in kept} == parts
    assert all("public key" in one.reason for one in kept)
    assert set(sweep(store, later, verifier=Ed25519Verifier([pem])).keys) == parts
    assert severe(verify(store, anchors=TrustAnchors(VERIFIER)).findings) == []


@pytest.mark.parametrize("is_key_given", [True, False], ids=["with-key", "without-key"])
def test_removed_seals_make_no_sweep_with_the_key_remove_a_replaced_part(
    store: MemoryStore, is_key_given: bool
) -> None:
    """With the public key, a destination without a seal is one whose seals are gone, so replaced parts are kept."""
    sealed = {part.key for part in newest(store, window(1)).parts}
    forge_replacement(store, window(1), keep_old=True)
    store.remove(list(store.list_keys("_seals/")))
    report = sweep(store, datetime.now(UTC) + timedelta(days=5), verifier=VERIFIER if is_key_given else None)
    assert (sealed <= store.objects.keys()) is is_key_given
    assert {one.key for one in report.kept} == (sealed if is_key_given else set())
    assert {one.reason for one in report.kept} == ({KeptReason.NO_SEAL} if is_key_given else set())


def test_run_that_erases_needs_no_key(store: MemoryStore) -> None:
    """What the owner's own run erases is removed without a seal that accepts it, signed or not."""
    _, parts = forge_erasure(store, window(1))
    keys = WindowKeys(window(1), window(1).start.date())
    assert set(SealedParts(store).removable(keys, parts, is_erasing=True)) == parts


@pytest.mark.parametrize("names_parts", [True, False], ids=["with-parts", "without-parts"])
@pytest.mark.parametrize("is_key_given", [True, False], ids=["with-key", "without-key"])
def test_forged_seal_over_a_changed_acceptance_makes_no_sweep_remove_a_sealed_part(
    store: MemoryStore, is_key_given: bool, names_parts: bool
) -> None:
    """The digest of an accepted manifest is the one that the accepting seal names, not one of another seal."""
    sealed = newest(store, window(1))
    key = forge_replacement(store, window(1), keep_old=True)
    seal(store, signer=SIGNER, acceptance=Acceptance(frozenset([key]), "Ada"))
    accepted = newest(store, window(1))
    parts = {part.key for part in (*sealed.parts, *accepted.parts)}
    forged = msgspec.structs.replace(accepted, erased=Erasure("none", (*sealed.parts, *accepted.parts)))
    if not names_parts:
        forged = msgspec.structs.replace(forged, parts=(), record_count=0, added_count=0)
    store.objects[key] = forged.to_bytes()
    forge_seal(store, "_seals/000003.json", key, manifests=_named_as_they_are(store, "_seals/000003.json"))
    sweep(store, datetime.now(UTC) + timedelta(days=5), verifier=VERIFIER if is_key_given else None)
    assert parts <= store.objects.keys()
    assert severe_kinds(store)


def _named_as_they_are(store: MemoryStore, like: str) -> list[dict[str, object]]:
    """Returns what a seal names, with the digests that the manifests have now."""
    named = json.loads(store.objects[like])["manifests"]
    return [one | {"sha256": hashlib.sha256(store.objects[one["key"]]).hexdigest()} for one in named]


@pytest.mark.parametrize("is_swept", [True, False])
def test_changed_list_of_erased_parts_in_an_accepted_manifest_does_not_count(
    store: MemoryStore, is_swept: bool
) -> None:
    """A sweep and a verification believe the list only if the manifest has the bytes that the seal names."""
    sealed = newest(store, window(1))
    key = forge_replacement(store, window(1), keep_old=True)
    seal(store, signer=SIGNER, acceptance=Acceptance(frozenset([key]), "Ada"))
    forged = msgspec.structs.replace(newest(store, window(1)), erased=Erasure("none", sealed.parts))
    store.objects[key] = forged.to_bytes()
    if is_swept:
        sweep(store, datetime.now(UTC) + timedelta(days=5))
        assert {part.key for part in sealed.parts} <= store.objects.keys()
    else:
        store.remove([part.key for part in sealed.parts])
        assert {"sealed_manifest_changed", "sealed_part_missing"} <= severe_kinds(store)


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
