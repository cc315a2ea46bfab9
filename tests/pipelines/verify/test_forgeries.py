"""Forgeries in a sealed dataset: sealing does not make them look genuine, and verification reports them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.core.archive.manifest import Erasure
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from airflow_audit_provider.pipelines.sealed_parts import SealedParts
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from tests.pipelines.verify.dataset import (
    DAY_1,
    OTHER_PRIVATE_PEM,
    OTHER_PUBLIC_PEM,
    PRIVATE_PEM,
    PUBLIC_PEM,
    commit,
    record,
    records_in,
    two_days,
    window,
)
from tests.pipelines.verify.forgery import (
    alter_one,
    committed_records,
    forge_first_generation,
    forge_replacement,
    forge_seal,
    newest,
)
from tests.pipelines.verify.memory_store import MemoryStore

SIGNER = Ed25519Signer(PRIVATE_PEM)
VERIFIER = Ed25519Verifier([PUBLIC_PEM])
OTHER_SIGNER = Ed25519Signer(OTHER_PRIVATE_PEM)


@pytest.fixture
def store() -> MemoryStore:
    """A destination with two days."""
    made = MemoryStore()
    two_days(made)
    return made


@pytest.fixture
def kept(store: MemoryStore) -> str:
    """The digest of the newest seal after both days were sealed and signed."""
    digest = seal(store, signer=SIGNER).newest_seal_sha256
    assert digest is not None
    return digest


def severe_kinds(store: MemoryStore, *, key: bool = True, kept: str | None = None) -> set[str]:
    """Returns the kinds of severe findings, with the public key and a kept digest or without them."""
    anchors = TrustAnchors(VERIFIER if key else None, kept)
    return {str(found.kind) for found in severe(verify(store, anchors=anchors).findings)}


def try_to_seal(store: MemoryStore) -> None:
    """Seals as the owner's DAG does, whatever comes of it."""
    with pytest.raises(VerificationError):
        seal(store, signer=SIGNER)


@pytest.mark.parametrize("keep_old", [False, True], ids=["old part deleted", "old part kept"])
def test_forged_replacement_of_a_sealed_window_is_not_sealed_and_stays_severe(
    store: MemoryStore, kept: str, keep_old: bool
) -> None:
    """The owner's next seal refuses the day, and verification fails with a key, a kept digest, both or neither."""
    forge_replacement(store, window(), keep_old=keep_old)
    before = dict(store.objects)
    commit(store, window(5), records_in(window(5), 1))
    try_to_seal(store)
    assert [key for key in store.objects if key.startswith("_seals/") and key not in before] == [
        "_seals/000003.json",
        "_seals/000003.sig",
    ]
    for key in (True, False):
        for digest in (kept, None):
            found = severe_kinds(store, key=key, kept=digest)
            assert "replacement_not_accepted" in found
            assert ("sealed_part_missing" in found) is not keep_old


def test_forged_replacement_before_the_first_seal_is_not_detected(store: MemoryStore) -> None:
    """A forgery before the first seal of its day looks like a replacement by the owner."""
    forge_replacement(store, window())
    digest = seal(store, signer=SIGNER).newest_seal_sha256
    assert severe_kinds(store, kept=digest) == set()


def test_forged_addendum_on_a_sealed_day_is_severe_until_the_owner_seals_it(store: MemoryStore, kept: str) -> None:
    """A forged late record is severe before the next seal, and afterwards looks like a genuine one."""
    commit(store, window(), [record(DAY_1 + timedelta(hours=3), "forged")])
    assert severe_kinds(store, kept=kept) == {"manifest_unsealed"}
    seal(store, signer=SIGNER)
    assert severe_kinds(store, kept=kept) == set()


def test_forged_addendum_upon_a_forged_replacement_is_not_sealed(store: MemoryStore, kept: str) -> None:
    """An addendum does not hide that the generation before it replaces a sealed one."""
    forge_replacement(store, window())
    commit(store, window(), [record(DAY_1 + timedelta(hours=3), "late")])
    try_to_seal(store)
    assert "replacement_not_accepted" in severe_kinds(store, kept=kept)


def test_forged_window_in_place_of_a_sealed_one_is_severe(store: MemoryStore, kept: str) -> None:
    """A window that somebody deletes and writes anew differs from its seal."""
    forge_first_generation(store, window(1))
    with pytest.raises(VerificationError):
        seal(store, window(1).start.date(), SIGNER)
    assert severe_kinds(store) >= {"sealed_manifest_changed", "sealed_manifest_missing"}


def test_forged_window_before_the_first_seal_is_not_detected(store: MemoryStore) -> None:
    """A window that somebody deletes and writes anew before the first seal of its day looks genuine."""
    forge_first_generation(store, window(1))
    digest = seal(store, signer=SIGNER).newest_seal_sha256
    assert severe_kinds(store, kept=digest) == set()


@pytest.mark.parametrize("content", [None, b"", b"{}\n"], ids=["deleted", "emptied", "replaced"])
def test_sealed_part_that_is_gone_or_changed_is_severe_and_blocks_the_seal(
    store: MemoryStore, kept: str, content: bytes | None
) -> None:
    """A part that a seal covers is severe if it is deleted or has other bytes, and its day is not sealed again."""
    key = next(key for key in store.objects if key.startswith("dt=2026-10-26/"))
    del store.objects[key]
    if content is not None:
        store.objects[key] = content
    commit(store, window(0.5), [record(DAY_1 + timedelta(hours=13), "late")])
    try_to_seal(store)
    assert severe_kinds(store, key=False) & {"part_missing", "part_size", "part_changed"}
    assert severe_kinds(store, kept=kept) & {"part_missing", "part_size", "part_changed"}


def test_part_with_other_bytes_of_the_same_size_is_not_sealed(store: MemoryStore) -> None:
    """The digest of a part is compared before its manifest is sealed for the first time."""
    key = next(key for key in store.objects if key.startswith("dt=2026-10-26/"))
    store.objects[key] = store.objects[key].replace(b'"x":""', b'"x":1 ')
    with pytest.raises(VerificationError, match="2026-10-26 was not sealed"):
        seal(store, signer=SIGNER)


def test_sealed_manifest_that_is_missing_is_severe(store: MemoryStore, kept: str) -> None:
    """A sealed manifest that is gone is severe with and without anchors."""
    del store.objects[next(key for key in store.objects if key.startswith("_manifests/dt=2026-10-26"))]
    for key in (True, False):
        assert "sealed_manifest_missing" in severe_kinds(store, key=key)
    assert "sealed_manifest_missing" in severe_kinds(store, kept=kept)


def test_removal_of_all_seals_is_severe_with_a_key_or_a_kept_digest(store: MemoryStore, kept: str) -> None:
    """Without a seal a public key proves nothing, so that is severe; without any anchor it cannot be detected."""
    store.remove([key for key in store.objects if key.startswith("_seals/")])
    assert severe_kinds(store) == {"nothing_sealed"}
    assert severe_kinds(store, key=False, kept=kept) == {"seal_not_found"}
    assert severe_kinds(store, key=False) == set()


def test_forgery_after_removal_of_all_seals_is_severe_only_with_a_kept_digest_once_the_owner_seals(
    store: MemoryStore, kept: str
) -> None:
    """A chain that the owner begins anew over a forged window is missed by the kept digest alone."""
    store.remove([key for key in store.objects if key.startswith("_seals/")])
    forge_replacement(store, window())
    assert severe_kinds(store) == {"nothing_sealed"}
    seal(store, signer=SIGNER)
    assert severe_kinds(store) == set()
    assert severe_kinds(store, kept=kept) == {"seal_not_found"}


def _remove_seals(store: MemoryStore, first: int) -> None:
    store.remove([key for key in store.objects if key.startswith("_seals/") and int(key[7:13]) >= first])


def _begin_chain_anew(store: MemoryStore) -> None:
    _remove_seals(store, 1)
    forge_first_generation(store, window(1))


def _cut_chain(store: MemoryStore) -> None:
    _remove_seals(store, 2)
    forge_first_generation(store, window(1))


def _move_expected_seal(store: MemoryStore) -> None:
    content = store.objects["_seals/000002.json"]
    _begin_chain_anew(store)
    store.objects["_seals/000009.json"] = content


@pytest.mark.parametrize(
    ("forge", "is_severe_with_key"), [(_begin_chain_anew, True), (_cut_chain, False), (_move_expected_seal, True)]
)
def test_chain_without_the_digest_of_the_run_before_is_not_sealed(
    store: MemoryStore, kept: str, forge: Callable[[MemoryStore], None], is_severe_with_key: bool
) -> None:
    """A run that knows the digest of the run before signs nothing upon a chain that somebody cut or began anew."""
    forge(store)
    before = dict(store.objects)
    assert bool(severe_kinds(store)) is is_severe_with_key
    assert "seal_not_found" in severe_kinds(store, kept=kept)
    with pytest.raises(VerificationError, match=f"expected digest {kept}"):
        seal(store, signer=SIGNER, expected_seal_sha256=kept)
    assert store.objects == before


@pytest.mark.parametrize("write", [str, str.upper, " {}\n".format])
def test_chain_that_goes_on_from_the_digest_of_an_earlier_run_is_sealed(
    store: MemoryStore, kept: str, write: Callable[[str], str]
) -> None:
    """The digest may be an older one, and may be written as a person copies it."""
    for number in (5, 6):
        commit(store, window(number), records_in(window(number), 1))
        done = seal(store, signer=SIGNER, expected_seal_sha256=write(kept))
        assert len(done.created) == 1
    assert severe_kinds(store, kept=write(kept)) == set()


def test_dataset_that_was_never_sealed_is_severe_with_a_key(store: MemoryStore) -> None:
    """A public key for a dataset without seals is a severe finding, because it proves nothing."""
    assert severe_kinds(store) == {"nothing_sealed"}


def test_removal_of_the_newest_seals_is_severe_only_with_a_kept_digest(store: MemoryStore, kept: str) -> None:
    """The newest seals, removed with all that only they cover, are missed by the kept digest alone."""
    store.remove([key for key in store.objects if "2026-10-27" in key or key.startswith("_seals/000002")])
    assert severe_kinds(store) == set()
    assert severe_kinds(store, kept=kept) == {"seal_not_found"}


@pytest.mark.parametrize("accepted", [False, True], ids=["acceptance omitted", "acceptance forged"])
def test_forged_seal_over_a_forged_replacement_is_not_signed(store: MemoryStore, kept: str, accepted: bool) -> None:
    """The owner's next run signs no seal that names a replacement which this run does not accept."""
    key = forge_replacement(store, window(1), keep_old=True)
    replaced = key.replace(".g0003.", ".g0002.")
    entry = {"key": key, "replaces": replaced, "accepted_by": "the owner"}
    counts = {"added_count": 0, "changed_count": 0, "removed_count": 0}
    forge_seal(store, "_seals/000002.json", key, **({"replacements": [{**entry, **counts}]} if accepted else {}))
    seal(store, signer=SIGNER)
    assert "_seals/000003.sig" not in store.objects
    assert "signature_missing" in severe_kinds(store, kept=kept)
    assert ("replacement_not_accepted" in severe_kinds(store)) is not accepted
    assert "signature_missing" in severe_kinds(store, key=False)


def test_forged_unsigned_seal_in_an_unsigned_chain_is_only_listed(store: MemoryStore) -> None:
    """Without a signing key a forged seal that accepts a forged replacement is not detected, but always listed."""
    digest = seal(store).newest_seal_sha256
    key = forge_replacement(store, window(1), keep_old=True)
    entry = {"key": key, "replaces": key.replace(".g0003.", ".g0002."), "accepted_by": "the owner"}
    forge_seal(
        store,
        "_seals/000002.json",
        key,
        replacements=[{**entry, "added_count": 0, "changed_count": 0, "removed_count": 0}],
    )
    report = verify(store, anchors=TrustAnchors(None, digest))
    assert [str(found.kind) for found in report.findings] == ["replacement_accepted"]
    assert report.severe_count == 0
    assert severe_kinds(store, kept=digest) == {"signature_missing"}


@pytest.mark.parametrize("signature", [None, b"garbage", "another key"], ids=["none", "garbage", "another key"])
def test_late_record_upon_a_forged_seal_is_not_sealed(
    store: MemoryStore, kept: str, signature: bytes | str | None
) -> None:
    """What a seal names that the owner did not sign does not count as sealed, so the day is refused."""
    key = forge_replacement(store, window(1), keep_old=True)
    entry = {"key": key, "replaces": key.replace(".g0003.", ".g0002."), "accepted_by": "the owner"}
    counts = {"added_count": 0, "changed_count": 1, "removed_count": 0}
    forge_seal(store, "_seals/000002.json", key, replacements=[{**entry, **counts}])
    forged = "_seals/000003.json"
    if signature is not None:
        made = signature if isinstance(signature, bytes) else OTHER_SIGNER.sign(store.objects[forged]).to_bytes()
        store.objects["_seals/000003.sig"] = made
    commit(store, window(1), [record(window(1).start + timedelta(hours=3), "late")])
    before = dict(store.objects)
    with pytest.raises(VerificationError, match=r"signature_(missing|invalid)"):
        seal(store, signer=SIGNER)
    assert store.objects == before
    assert severe_kinds(store, kept=kept) & {"signature_missing", "signature_invalid"}


def test_late_record_after_a_change_of_keys_is_sealed_with_the_earlier_public_key(
    store: MemoryStore, kept: str
) -> None:
    """A day whose seals another key signed is sealed further only if that key is given."""
    commit(store, window(), [record(DAY_1 + timedelta(hours=3), "later")])
    commit(store, window(5), records_in(window(5), 1))
    with pytest.raises(VerificationError, match="signature_invalid"):
        seal(store, signer=OTHER_SIGNER)
    assert "_seals/000003.sig" in store.objects, "a day without a seal does not need the earlier key"
    seal(store, signer=Ed25519Signer(OTHER_PRIVATE_PEM, [PUBLIC_PEM]))
    both = TrustAnchors(Ed25519Verifier([PUBLIC_PEM, OTHER_PUBLIC_PEM]), kept)
    assert severe(verify(store, anchors=both).findings) == []


@pytest.mark.parametrize("place", ["addendum", "first generation", "foreign part", "own part"])
def test_forged_list_of_erased_parts_is_severe_and_not_sealed(store: MemoryStore, kept: str, place: str) -> None:
    """A generation that adds, or that lists parts which no earlier generation names, erases nothing."""
    of = window(5) if place == "first generation" else window()
    if place in ("addendum", "first generation"):
        commit(store, of, [record(of.start + timedelta(hours=3), "late")])
    else:
        forge_replacement(store, of, keep_old=True)
    manifest = newest(store, of)
    listed = {
        "addendum": manifest.parts[:1],
        "first generation": (),
        "own part": manifest.parts,
        "foreign part": newest(store, window(1)).parts,
    }[place]
    key = WindowKeys(of, of.start.date()).manifest(manifest.generation)
    store.objects[key] = msgspec.structs.replace(manifest, erased=Erasure("none", listed)).to_bytes()
    acceptance = Acceptance(frozenset([key]), "Ada")
    with pytest.raises(VerificationError, match="erasure_inconsistent"):
        seal(store, signer=SIGNER, acceptance=acceptance)
    assert "erasure_inconsistent" in severe_kinds(store, kept=kept)


def _erase(store: MemoryStore, of: TimeWindow) -> str:
    """Replaces a window and lists the parts before as erased; returns the manifest's key."""
    before = newest(store, of).parts
    key = forge_replacement(store, of)
    store.objects[key] = msgspec.structs.replace(newest(store, of), erased=Erasure("none", before)).to_bytes()
    return key


def _replace_as_owner(store: MemoryStore, of: TimeWindow) -> str:
    """Replaces a window as its owner does, who does not know of the generation below; returns the manifest's key."""
    generation = commit(store, of, committed_records(store, of), replace=True).generation
    return WindowKeys(of, of.start.date()).manifest(generation)


@pytest.mark.parametrize("forge", [forge_replacement, _erase], ids=["replacement", "erasure"])
def test_forged_generation_below_an_accepted_replacement_has_to_be_accepted_too(
    store: MemoryStore, kept: str, forge: Callable[[MemoryStore, TimeWindow], str]
) -> None:
    """Who accepts the newest replacement does not accept what somebody else put below it, nor its erasures."""
    forged = forge(store, window())
    mine = _replace_as_owner(store, window())
    before = dict(store.objects)
    for accepted, missing in ((mine, forged), (forged, mine)):
        with pytest.raises(VerificationError, match=f"replacement_not_accepted at {missing}"):
            seal(store, signer=SIGNER, acceptance=Acceptance(frozenset([accepted]), "Ada"))
    assert store.objects == before
    for key, digest in ((True, kept), (True, None), (False, kept), (False, None)):
        anchors = TrustAnchors(VERIFIER if key else None, digest)
        found = severe(verify(store, anchors=anchors).findings)
        assert {one.key for one in found if str(one.kind) == "replacement_not_accepted"} == {forged, mine}
        assert "sealed_part_missing" in {str(one.kind) for one in found}


def test_each_generation_that_is_accepted_is_recorded_and_listed(store: MemoryStore, kept: str) -> None:
    """The newest replacement is compared with the sealed records; one below it is only named."""
    first, second = forge_replacement(store, window(), keep_old=True), _replace_as_owner(store, window())
    done = seal(store, signer=SIGNER, acceptance=Acceptance(frozenset([first, second]), "Ada"))
    assert [(one.key, one.changed_count) for made in done.created for one in made.replacements] == [
        (first, None),
        (second, 1),
    ]
    report = verify(store, anchors=TrustAnchors(VERIFIER, kept))
    assert [(str(one.kind), one.key) for one in report.findings] == [
        ("replacement_accepted", first),
        ("replacement_accepted", second),
    ]


def test_seal_that_accepts_only_the_newest_of_two_replacements_is_severe(store: MemoryStore) -> None:
    """Verification asks for the acceptance of each generation that a later seal names."""
    seal(store)
    forged = forge_replacement(store, window(1), keep_old=True)
    mine = _replace_as_owner(store, window(1))
    sealed = msgspec.json.decode(store.objects["_seals/000002.json"])["manifests"]
    digests = {key: hashlib.sha256(store.objects[key]).hexdigest() for key in (forged, mine)}
    named = [{"key": key, "sha256": digest, "record_count": 2} for key, digest in digests.items()]
    entry = {"key": mine, "replaces": forged.replace(".g0003.", ".g0002."), "accepted_by": "the owner"}
    counts = {"added_count": 0, "changed_count": 0, "removed_count": 0}
    forge_seal(store, "_seals/000002.json", mine, manifests=[*sealed, *named], replacements=[{**entry, **counts}])
    found = severe(verify(store).findings)
    assert [(str(one.kind), one.key) for one in found] == [("replacement_not_accepted", forged)]


def test_erased_part_is_missing_as_long_as_no_seal_accepts_the_erasure(store: MemoryStore, kept: str) -> None:
    """A list of erased parts counts only once its manifest is accepted."""
    key = _erase(store, window())
    assert {"replacement_not_accepted", "sealed_part_missing"} <= severe_kinds(store, kept=kept)
    seal(store, signer=SIGNER, acceptance=Acceptance(frozenset([key]), "Ada"))
    assert severe_kinds(store, kept=kept) == set()


def test_older_seal_is_signed_after_a_later_one_accepted_the_erasure_of_its_parts(store: MemoryStore) -> None:
    """What an accepted erasure removed does not keep the seals before it unsigned."""
    seal(store)
    acceptance = Acceptance(frozenset([_erase(store, window())]), "Ada")
    seal(store, acceptance=acceptance)
    assert seal(store, signer=SIGNER, acceptance=acceptance).signed_count == 3
    assert severe_kinds(store) == set()


def test_older_seal_is_not_signed_if_its_parts_are_gone_by_an_erasure_that_nobody_accepted(store: MemoryStore) -> None:
    """A forged list of erased parts does not make a missing part right while a seal is signed."""
    seal(store)
    _erase(store, window())
    with pytest.raises(VerificationError, match="replacement_not_accepted"):
        seal(store, signer=SIGNER)
    assert "_seals/000001.sig" not in store.objects
    assert "_seals/000002.sig" in store.objects


def test_forged_window_that_overlaps_a_sealed_one_is_severe(store: MemoryStore, kept: str) -> None:
    """A second window over the time of a sealed one stays severe, also after the owner has sealed it."""
    other = TimeWindow(DAY_1 + timedelta(hours=1), DAY_1 + timedelta(hours=2))
    forged = MemoryStore()
    commit(forged, other, [record(other.start, "forged")])
    store.objects.update({key: content for key, content in forged.objects.items() if key not in store.objects})
    seal(store, signer=SIGNER)
    for key in (True, False):
        assert "windows_overlap" in severe_kinds(store, key=key, kept=kept)


def test_forged_late_record_with_the_id_of_a_sealed_one_is_severe(store: MemoryStore, kept: str) -> None:
    """Another content of a sealed record stays severe as a repeated id, also after the owner has sealed it."""
    first = committed_records(store, window())[:1]
    commit(store, window(), alter_one(first))
    seal(store, signer=SIGNER)
    for key in (True, False):
        assert "record_repeated" in severe_kinds(store, key=key, kept=kept)


@pytest.mark.integration
def test_changed_byte_in_any_part_or_manifest_is_severe_without_any_anchor(store: MemoryStore, kept: str) -> None:
    """Parts and manifests prove each other by digest; the kept digest also protects the seals."""
    for key, content in list(store.objects.items()):
        if not key.endswith(".sig"):
            place = len(content) // 2
            store.objects[key] = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            assert severe_kinds(store, key=False, kept=kept), key
            assert key.startswith("_seals/") or severe_kinds(store, key=False), key
            store.objects[key] = content


@pytest.mark.integration
def test_forged_seal_with_wrong_counts_is_not_signed_even_if_its_replacement_is_accepted(
    store: MemoryStore, kept: str
) -> None:
    """An older seal is signed only if it records what this run finds itself."""
    key = forge_replacement(store, window(1), keep_old=True)
    entry = {"key": key, "replaces": key.replace(".g0003.", ".g0002."), "accepted_by": "Ada"}
    counts = {"added_count": 0, "changed_count": 0, "removed_count": 0}
    forge_seal(store, "_seals/000002.json", key, replacements=[{**entry, **counts}])
    done = seal(store, signer=SIGNER, acceptance=Acceptance(frozenset([key]), "Ada"))
    assert [str(found.kind) for found in done.findings] == ["signature_missing"]
    assert "signature_missing" in severe_kinds(store, kept=kept)


@pytest.mark.integration
def test_window_replaced_during_the_checks_is_sealed_as_it_is_afterwards(store: MemoryStore) -> None:
    """A generation that appears while parts are read is part of the seal, so no removed part is covered."""

    class ReplacedWhileRead(MemoryStore):
        def read(self, key: str) -> bytes | None:
            if key.startswith("dt=2026-10-27/") and not any(".g0003." in other for other in self.objects):
                other = MemoryStore()
                other.objects = self.objects
                content = super().read(key)
                forge_replacement(other, window(1))
                return content
            return super().read(key)

    busy = ReplacedWhileRead(store.objects)
    seal(busy, signer=SIGNER)
    assert severe_kinds(busy) == set()


@pytest.mark.parametrize("is_broken", [False, True])
def test_part_is_removable_only_if_the_seals_can_be_read(store: MemoryStore, kept: str, is_broken: bool) -> None:
    """What an unreadable seal covers is unknown, so replaced parts are kept."""
    commit(store, window(5), records_in(window(5), 1))
    replaced = {part.key for part in newest(store, window(5)).parts}
    forge_replacement(store, window(5), keep_old=True)
    if is_broken:
        store.objects["_seals/000001.json"] += b" "
    keys = WindowKeys(window(5), window(5).start.date())
    assert set(SealedParts(store).removable(keys, replaced)) == (set() if is_broken else replaced)
