"""Seals: canonical bytes, the chain of seals, and a finding for each way to break it."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.archive.object_keys import WindowKeys, seal_key, signature_key
from airflow_audit_provider.core.verification.envelopes import (
    SEAL_PAYLOAD_TYPE,
    Envelope,
    EnvelopeSignature,
    read_envelope,
)
from airflow_audit_provider.core.verification.manifest_chain import StoredManifest, read_chain
from airflow_audit_provider.core.verification.seal_content import Seal, SealedManifest
from airflow_audit_provider.core.verification.seals import SealChain, as_sealed, sealed_findings
from airflow_audit_provider.core.windows.window import TimeWindow
from tests.core.verification.manifests import KEYS, manifest, stored

SHA = "ab" * 32
GOLDEN = (
    b'{"day":"2026-11-01",'
    b'"manifests":[{"key":"_manifests/dt=2026-11-01/20261101T000000Z-20261102T000000Z.g0001.json",'
    b'"record_count":2,"sha256":"abababababababababababababababababababababababababababababababab"}],'
    b'"number":1,"previous_sha256":null,"seal_version":1}'
)


def named(day: int, generation: int = 1, sha256: str = SHA) -> SealedManifest:
    """Returns an entry of a seal for a manifest of a day of November."""
    window = TimeWindow(datetime(2026, 11, day, tzinfo=UTC), datetime(2026, 11, day + 1, tzinfo=UTC))
    return SealedManifest(WindowKeys(window, date(2026, 11, day)).manifest(generation), sha256, 2)


def november(day: int) -> date:
    """Returns a day of November."""
    return date(2026, 11, day)


def chain(*days: tuple[int, list[SealedManifest]]) -> dict[str, bytes]:
    """Returns the stored seals of these days, in this order."""
    objects: dict[str, bytes] = {}
    for day, manifests in days:
        made = SealChain(objects).next_seal(november(day), manifests)
        assert made is not None
        objects[made.key] = made.to_bytes()
    return objects


def kinds(found: SealChain) -> list[str]:
    """Returns the kinds of a chain's findings."""
    return [str(one.kind) for one in found.findings]


THREE = chain((1, [named(1)]), (2, [named(2)]), (1, [named(1), named(1, 2)]))


def test_seal_has_the_golden_bytes() -> None:
    """The first seal of a day has exactly these bytes, without a time."""
    made = SealChain({}).next_seal(november(1), [named(1)])
    assert made is not None
    assert (made.key, made.to_bytes()) == ("_seals/000001.json", GOLDEN)


def test_seal_has_a_time_only_if_given() -> None:
    """A seal has the time of sealing only if it is given."""
    made = SealChain({}).next_seal(november(1), [named(1)], datetime(2026, 11, 2, tzinfo=UTC))
    assert made is not None
    assert b'"sealed_at":"2026-11-02T00:00:00Z"' in made.to_bytes()
    assert kinds(SealChain({made.key: made.to_bytes()})) == []


def test_seal_has_the_digest_of_its_predecessor() -> None:
    """Seals of all days are numbered from 1, and each has the digest of the stored bytes of its predecessor."""
    found = SealChain(THREE)
    assert found.findings == []
    assert [(seal.number, seal.day.day) for seal in found.seals] == [(1, 1), (2, 2), (3, 1)]
    digests = [hashlib.sha256(THREE[seal_key(number)]).hexdigest() for number in (1, 2, 3)]
    assert [seal.previous_sha256 for seal in found.seals] == [None, *digests[:2]]
    assert found.newest_sha256 == digests[2]
    assert found.days == {november(1), november(2)}
    assert SealChain({}).newest_sha256 is None


def test_day_without_new_manifests_gets_no_seal() -> None:
    """A day gets another seal only if it has a manifest that no seal names yet."""
    found = SealChain(THREE)
    assert found.next_seal(november(1), [named(1, 2), named(1)]) is None
    assert found.next_seal(november(1), [named(1)]) is None
    assert found.next_seal(november(3), []) is None
    later = found.next_seal(november(1), [named(1, 3), named(1, 2), named(1)])
    assert later is not None
    assert [one.key[-7:-5] for one in later.manifests] == ["01", "02", "03"]
    assert later.number == 4


def rewritten(at: int, **changes: Any) -> dict[str, bytes]:
    """Returns the three seals with one changed and encoded again."""
    seal = msgspec.structs.replace(SealChain(THREE).seals[at - 1], **changes)
    return {**THREE, seal_key(at): seal.to_bytes()}


def without(*keys: str) -> dict[str, bytes]:
    """Returns the three seals without these keys."""
    return {key: content for key, content in THREE.items() if key not in keys}


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        (without("_seals/000002.json"), ["seal_missing"]),
        (without("_seals/000001.json"), ["seal_missing"]),
        (without("_seals/000001.json", "_seals/000002.json"), ["seal_missing"]),
        (without("_seals/000003.json"), []),
        ({**THREE, "_seals/000005.sig": b""}, ["seal_missing", "signature_orphaned"]),
        ({**THREE, "_seals/999999999999.json": b""}, ["seal_missing", "seal_unreadable"]),
        ({**THREE, "_seals/000002.json": b"{}"}, ["seal_unchained", "seal_unreadable"]),
        ({**THREE, "_seals/000003.json": THREE["_seals/000003.json"] + b" "}, ["seal_unreadable"]),
        ({**THREE, "_seals/000003.json": b"[" * 100_000}, ["seal_unreadable"]),
        (rewritten(3, seal_version=2), ["seal_unreadable"]),
        (rewritten(3, seal_version=0), ["seal_unreadable"]),
        (rewritten(3, manifests=(named(1, 2), named(1))), ["seal_unreadable"]),
        (rewritten(3, manifests=(named(1), named(1))), ["seal_unreadable"]),
        (rewritten(3, number=4), ["seal_misplaced"]),
        (rewritten(3, day=november(2)), ["seal_misplaced", "seal_misplaced"]),
        (rewritten(3, manifests=(SealedManifest("elsewhere", SHA, 2),)), ["seal_misplaced"]),
        (rewritten(3, previous_sha256=SHA), ["seal_unchained"]),
        (rewritten(3, previous_sha256=None), ["seal_unchained"]),
        (rewritten(2, manifests=(named(2, 1, "cd" * 32),)), ["seal_unchained"]),
        (rewritten(1, previous_sha256=SHA), ["seal_unchained", "seal_unchained"]),
    ],
)
def test_each_break_of_the_chain_is_named(objects: dict[str, bytes], expected: list[str]) -> None:
    """A seal that is missing, damaged, moved or rewritten, found from the newest back to the first."""
    found = SealChain(objects)
    assert kinds(found) == expected
    assert all(one.detail.endswith(".") for one in found.findings)


def test_other_keys_are_no_seals() -> None:
    """Objects without the key of a seal are ignored; the check of unexpected objects finds them."""
    assert SealChain({"_seals/notes": b"", "_seals/1.json": b""}).last_number == 0


def sealed_kinds(objects: dict[str, bytes], *found: SealedManifest, listed: set[str] | None = None) -> list[str]:
    """Returns the kinds of findings for these manifests."""
    by_key: dict[str, SealedManifest | None] = {one.key: one for one in found}
    return [str(one.kind) for one in sealed_findings(SealChain(objects), by_key, listed or set(by_key))]


ALL = (named(1), named(1, 2), named(2))


def test_manifests_are_sealed_by_their_stored_bytes() -> None:
    """The digest is that of the stored bytes, even if unreadable; a manifest removed meanwhile has none."""
    kept = [*stored(manifest()), StoredManifest(KEYS.manifest(2), b"{}"), StoredManifest(KEYS.manifest(3), None)]
    assert as_sealed(kept, read_chain(kept)) == {
        kept[0].key: SealedManifest(kept[0].key, hashlib.sha256(manifest().to_bytes()).hexdigest(), 2),
        kept[1].key: SealedManifest(kept[1].key, hashlib.sha256(b"{}").hexdigest(), 0),
        kept[2].key: None,
    }


def test_sealed_manifests_must_be_unchanged() -> None:
    """A sealed manifest that is missing or changed is a finding, even if only an older seal names it."""
    assert sealed_kinds(THREE, *ALL) == []
    assert sealed_kinds(THREE, named(1), named(2)) == ["sealed_manifest_missing"]
    assert sealed_kinds(THREE, named(1), named(1, 2, "cd" * 32), named(2)) == ["sealed_manifest_changed"]
    counted = msgspec.structs.replace(named(2), record_count=3)
    assert sealed_kinds(THREE, named(1), named(1, 2), counted) == ["sealed_manifest_changed"]
    gone = {one.key: one for one in ALL} | {named(2).key: None}
    assert [one.kind for one in sealed_findings(SealChain(THREE), gone, set(gone))] == ["sealed_manifest_missing"]


def test_manifests_outside_the_range_are_checked_by_the_listing() -> None:
    """A sealed manifest outside the range must be listed; its bytes are not compared."""
    assert sealed_kinds(THREE, named(2), listed={one.key for one in ALL}) == []
    assert sealed_kinds(THREE, named(2), listed={named(1).key, named(2).key}) == ["sealed_manifest_missing"]


def test_unsealed_manifests_are_found() -> None:
    """A new manifest of a sealed day or of another day is a finding, but not in a destination without seals."""
    assert sealed_kinds(THREE, *ALL, named(2, 2)) == ["manifest_unsealed"]
    assert sealed_kinds(THREE, *ALL, named(3)) == ["day_unsealed"]
    assert sealed_kinds({}, named(3)) == []
    assert sealed_kinds(THREE, *ALL, SealedManifest("_manifests/notes", SHA, 0)) == []


def test_expected_digest_may_be_of_any_seal() -> None:
    """The expected digest may be that of any seal of the chain; a missing seal is a finding."""
    anchor = hashlib.sha256(THREE["_seals/000002.json"]).hexdigest()
    assert list(SealChain(THREE).expected_seal_findings(anchor)) == []
    assert list(SealChain(THREE).expected_seal_findings(anchor.upper())) == []
    for objects in (without("_seals/000002.json", "_seals/000003.json"), {}):
        (found,) = SealChain(objects).expected_seal_findings(anchor)
        assert found.kind == "seal_not_found"


class Verifier:
    """Verifier with one key, ``k``, whose signature is the digest of the content."""

    def verify(self, content: bytes, envelope: Envelope) -> str | None:
        """Returns the error, or None."""
        return None if envelope == signed(content) else "No."


def signed(content: bytes) -> Envelope:
    """Returns the envelope that the verifier expects."""
    signature = EnvelopeSignature("k", hashlib.sha256(content).digest())
    return Envelope(content, SEAL_PAYLOAD_TYPE, (signature,))


SIGNED = THREE | {signature_key(n): signed(THREE[seal_key(n)]).to_bytes() for n in (1, 2, 3)}
HALF_SIGNED = {key: content for key, content in SIGNED.items() if key != "_seals/000003.sig"}


@pytest.mark.parametrize(
    ("objects", "with_key", "without_key"),
    [
        (THREE, ["signature_missing"] * 3, []),
        (SIGNED, [], ["signature_unchecked"] * 3),
        (HALF_SIGNED, ["signature_missing"], ["signature_unchecked"] * 2 + ["signature_missing"]),
        (
            {**SIGNED, "_seals/000003.sig": SIGNED["_seals/000002.sig"]},
            ["signature_invalid"],
            ["signature_unchecked"] * 2 + ["signature_invalid"],
        ),
        (
            {**SIGNED, "_seals/000003.sig": b"{}"},
            ["signature_invalid"],
            ["signature_unchecked"] * 2 + ["signature_invalid"],
        ),
    ],
)
def test_signatures_are_checked(objects: dict[str, bytes], with_key: list[str], without_key: list[str]) -> None:
    """With a public key each seal needs its own signature; without one, presence and format are checked."""
    found = SealChain(objects)
    assert [str(one.kind) for one in found.signature_findings(Verifier())] == with_key
    assert [str(one.kind) for one in found.signature_findings(None)] == without_key


def test_unsigned_seals_are_listed() -> None:
    """A seal without a signature, as a crash between the two leaves it, is listed as unsigned."""
    assert [seal.number for seal in SealChain(HALF_SIGNED).unsigned] == [3]
    assert SealChain(HALF_SIGNED).signature(3) is None


def test_signature_is_a_canonical_dsse_envelope() -> None:
    """An envelope has payload, type, key id and signature; another encoding, type or payload is invalid."""
    content = b"\x00" * 3
    one = Envelope(content, SEAL_PAYLOAD_TYPE, (EnvelopeSignature("k", b"\x00" * 64),))
    stored = one.to_bytes()
    assert msgspec.json.decode(stored) == {
        "payload": "AAAA",
        "payloadType": "application/vnd.airflow-audit-provider.seal+json",
        "signatures": [{"keyid": "k", "sig": "A" * 86 + "=="}],
    }
    assert read_envelope(stored, content) == one
    others = [stored + b" ", stored.replace(b'A=="', b'B=="'), b"", b"[" * 100_000, b'{"payload":1}']
    others.append(stored.replace(b"seal+json", b"sael+json"))
    for other in others:
        assert isinstance(read_envelope(other, content), str)
    assert read_envelope(stored, b"other") == "The envelope does not hold the bytes of its seal."


def test_seal_has_the_key_of_its_number() -> None:
    """The key of a seal comes from its number."""
    assert Seal(12, november(1), (), None).key == "_seals/000012.json"
