"""Any object of a sealed and signed dataset that is changed, cut, removed, swapped or added gives a finding."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from tests.hypothesis_profiles import examples, places
from tests.pipelines.verify.dataset import DAY_1, PRIVATE_PEM, PUBLIC_PEM, commit, record, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore

pytestmark = pytest.mark.integration


def sealed(store: Store) -> str:
    """Commits, seals and signs two days, then a late record of the first; returns the newest seal's digest."""
    two_days(store)
    signer = Ed25519Signer(PRIVATE_PEM)
    seal(store, signer=signer)
    commit(store, window(), [record(DAY_1 + timedelta(hours=2), "later")])
    newest = seal(store, signer=signer).newest_seal_sha256
    assert newest is not None
    return newest


@cache
def _undamaged() -> tuple[dict[str, bytes], str]:
    store = MemoryStore()
    newest = sealed(store)
    return store.objects, newest


def _anchors(anchor: str | None = None) -> TrustAnchors:
    return TrustAnchors(Ed25519Verifier([PUBLIC_PEM]), anchor)


def _is_found(objects: dict[str, bytes]) -> bool:
    """Returns whether verification finds something severe without the digest of the newest seal."""
    return bool(severe(verify(MemoryStore(objects), anchors=_anchors()).findings))


KEYS = sorted(_undamaged()[0])
# Divides neither the eight bits of a byte nor the length of a digest.
STEP = 29
# One part, one manifest, one seal and one signature are damaged in each run of `make test`, every object at night.
_FIRST_OF_EACH_KIND = {
    next(key for key in KEYS if re.search(kind, key)) for kind in ("^dt=", "^_man", r"\d\.json$", "sig$")
}
KEYS_BY_COST = [key if key in _FIRST_OF_EACH_KIND else pytest.param(key, marks=pytest.mark.nightly) for key in KEYS]


def test_dataset_has_every_kind_of_object() -> None:
    """The undamaged dataset has parts, manifests of three generations, seals and signatures, and no finding."""
    objects, newest = _undamaged()
    kinds = {key.split("/")[0].split("=")[0] for key in objects}
    assert kinds == {"_dataset.json", "dt", "_manifests", "_seals"}
    assert sum(key.endswith(".sig") for key in objects) == 3
    assert any(".g0003." in key for key in objects)
    report = verify(MemoryStore(objects), anchors=_anchors(newest))
    assert report.findings == ()
    assert (report.window_count, report.part_count, report.record_count, report.seal_count) == (3, 4, 7, 3)
    assert report.newest_seal_sha256 == newest


@pytest.mark.parametrize("key", KEYS_BY_COST)
def test_every_flipped_byte_is_found(key: str) -> None:
    """One flipped bit in any byte of any object is found; `make nightly` flips every one."""
    objects, _ = _undamaged()
    content = objects[key]
    undetected = [
        place
        for place in places(len(content), STEP)
        if not _is_found({**objects, key: _flipped(content, place, 1 << place % 8)})
    ]
    assert undetected == []


@examples(300)
@given(st.sampled_from(KEYS), st.integers(min_value=0), st.integers(1, 255))
def test_any_other_byte_is_found(key: str, place: int, mask: int) -> None:
    """Any other value of any byte is found."""
    objects, _ = _undamaged()
    content = objects[key]
    assert _is_found({**objects, key: _flipped(content, place % len(content), mask)})


def _flipped(content: bytes, place: int, mask: int) -> bytes:
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


@pytest.mark.parametrize("key", KEYS_BY_COST)
def test_every_truncation_is_found(key: str) -> None:
    """An object that is cut at any byte, one byte longer or empty is found; `make nightly` cuts at every one."""
    objects, _ = _undamaged()
    content = objects[key]
    cuts = [content[:length] for length in places(len(content), STEP)]
    assert all(_is_found({**objects, key: cut}) for cut in [*cuts, content + b"\n", content + b"\0"])


@pytest.mark.parametrize("key", KEYS)
def test_every_deletion_is_found(key: str) -> None:
    """Any object that is missing is a severe finding."""
    objects, _ = _undamaged()
    assert _is_found({other: content for other, content in objects.items() if other != key})


def test_every_swap_is_found() -> None:
    """Any two different objects that are swapped are found."""
    objects, _ = _undamaged()
    swaps = [(one, other) for one, other in combinations(KEYS, 2) if objects[one] != objects[other]]
    assert all(_is_found({**objects, one: objects[other], other: objects[one]}) for one, other in swaps)


def _inserted_keys() -> list[str]:
    part = next(key for key in KEYS if key.startswith("dt="))
    manifest = next(key for key in KEYS if key.startswith("_manifests/"))
    return [
        part.replace("part-0001-00000", "part-0001-00001"),
        part.replace("part-0001", "part-0009"),
        part.rsplit("/", 1)[0] + "/notes.txt",
        "dt=2026-10-26/part.jsonl",
        "dt=2030-01-01/window=20300101T000000Z-20300102T000000Z/part-0001-00000-0000000000000000.jsonl",
        manifest.replace(".g0001.", ".g0004."),
        manifest.replace(".g0001.", ".g9999999999."),
        manifest.replace(".g0001.", ".g0000."),
        manifest.replace("dt=2026-10-26", "dt=2026-10-27"),
        manifest.replace("20261026T120000Z", "20261026T060000Z"),
        "_manifests/readme.json",
        "_seals/000004.json",
        "_seals/000009.sig",
        "_seals/999999999999.json",
        "_seals/000000.json",
        "_seals/notes",
    ]


@pytest.mark.parametrize("key", _inserted_keys())
def test_every_insertion_is_found(key: str) -> None:
    """An object under a new key is found, whatever its content."""
    objects, _ = _undamaged()
    for content in {b"", b"x", b"{}", *objects.values()}:
        assert key not in objects
        assert _is_found({**objects, key: content}), content


def test_valid_commit_after_sealing_is_found() -> None:
    """A forged late record with a valid manifest is found, because no seal of its day names the manifest."""
    store = MemoryStore(_undamaged()[0])
    commit(store, window(), [record(DAY_1 + timedelta(hours=3), "forged")])
    assert {found.kind for found in severe(verify(store, anchors=_anchors()).findings)} == {"manifest_unsealed"}


def test_loss_of_the_newest_seal_is_found_by_its_digest() -> None:
    """Removing the newest seal and everything that only it names is found only by the expected seal digest."""
    objects, newest = _undamaged()
    store = MemoryStore(objects)
    covered = next(key for key in KEYS if ".g0003." in key)
    part = next(key for key in KEYS if "part-0003" in key)
    store.remove([covered, part, "_seals/000003.json", "_seals/000003.sig"])
    assert severe(verify(store, anchors=_anchors()).findings) == []
    (found,) = severe(verify(store, anchors=_anchors(newest)).findings)
    assert found.kind == "seal_not_found"


Damage = Callable[[Path], object]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    path.write_bytes(_flipped(path.read_bytes(), path.stat().st_size // 2, 1))


@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink])
def test_damaged_files_are_found(damage: Damage, tmp_path: Path) -> None:
    """Each local file of a dataset that is cut, changed or removed is found."""
    store = LocalStore(str(tmp_path))
    sealed(store)
    assert verify(store, anchors=_anchors()).findings == ()
    for key in list(store.list_keys("")):
        before = (tmp_path / key).read_bytes()
        damage(tmp_path / key)
        assert severe(verify(store, anchors=_anchors()).findings), key
        (tmp_path / key).write_bytes(before)
    (tmp_path / "dt=2026-10-26" / "more.jsonl").write_bytes(b"{}")
    assert severe(verify(store, anchors=_anchors()).findings)
