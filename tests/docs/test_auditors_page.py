"""The script on the page "Check with standard tools" finds every damage to a real sealed dataset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.adapters.timestamps import HttpTimestamper, TimestampAuthority
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from tests.docs.blocks import all_blocks
from tests.pipelines.verify.authority import Authority, served
from tests.pipelines.verify.dataset import OTHER_PRIVATE_PEM, PRIVATE_PEM, PUBLIC_PEM, two_days, window
from tests.pipelines.verify.forgery import forge_replacement


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A local copy of a sealed dataset."""
    store = LocalStore(str(tmp_path))
    two_days(store)
    seal(store)
    return tmp_path


def check(copy: Path) -> subprocess.CompletedProcess[str]:
    """Runs the page's block in the copy, isolated from every package."""
    (block,) = (
        block
        for block in all_blocks()
        if block.document == "docs/auditors/check-without-this-package.md" and "_seals" in block.code
    )
    command = [sys.executable, "-I", "-S", "-c", block.code]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)


def test_a_sound_copy_passes(copy: Path) -> None:
    """For an intact copy, the block prints the newest seal's digest with only the standard library."""
    answer = check(copy)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("erased parts []\nintact; newest seal ")
    assert len(answer.stdout.split()[-1]) == 64


def test_a_sealed_part_that_was_replaced_and_is_gone_fails(copy: Path) -> None:
    """The block also reads what a seal covers and no reader reads any more, and names who accepted a replacement."""
    store = LocalStore(str(copy))
    key = forge_replacement(store, window(), keep_old=True)
    seal(store, acceptance=Acceptance(frozenset([key]), "Ada"))
    answer = check(copy)
    assert answer.returncode == 0, answer.stderr
    assert "accepted by Ada" in answer.stdout
    min(copy.glob("dt=2026-10-26/*/part-0001-*")).unlink()
    assert check(copy).returncode != 0


@pytest.mark.parametrize("pattern", ["_seals/000001.json", "_manifests/*/*.g0001.json", "dt=*/*/*"])
def test_a_changed_or_missing_object_fails(copy: Path, pattern: str) -> None:
    """A missing or changed object of each kind makes the block fail."""
    path = min(copy.glob(pattern))
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b" " + content[-1:])
    assert check(copy).returncode != 0
    path.unlink()
    assert check(copy).returncode != 0


@pytest.fixture
def stamped(tmp_path: Path) -> Path:
    """A signed and time-stamped dataset, with the public key and the authority's certificate beside it."""
    (tmp_path / "authority").mkdir()
    authority = Authority(tmp_path / "authority")
    folder = tmp_path / "copy"
    store = LocalStore(str(folder))
    two_days(store)
    with served(authority) as url:
        seal(store, signer=Ed25519Signer(PRIVATE_PEM), timestamper=HttpTimestamper(TimestampAuthority(url)))
    (folder / "seal.pub.pem").write_text(PUBLIC_PEM)
    (folder / "tsa-root.pem").write_text(authority.root_pem)
    return folder


def test_signatures_and_time_stamps_are_checked_with_openssl(stamped: Path) -> None:
    """The block passes a sound dataset, prints when each seal existed, and leaves no file behind."""
    before = sorted(stamped.rglob("*"))
    answer = check(stamped)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("Time stamp: ") == 2
    assert sorted(stamped.rglob("*")) == before


@pytest.mark.parametrize("key", ["000001.sig", "000002.sig", "000001.tsr", "000002.tsr"])
def test_wrong_or_missing_signature_or_time_stamp_fails(stamped: Path, key: str) -> None:
    """Each signature and each time stamp is read, and those of another seal fail."""
    path = stamped / "_seals" / key
    other = path.with_name(("000002" if key.startswith("000001") else "000001") + path.suffix)
    path.write_bytes(other.read_bytes())
    assert check(stamped).returncode != 0
    path.unlink()
    assert check(stamped).returncode != 0


def test_signature_of_another_key_fails(stamped: Path) -> None:
    """An envelope with the right payload and another key's signature is refused."""
    path = stamped / "_seals" / "000001.sig"
    content = (stamped / "_seals" / "000001.json").read_bytes()
    path.write_bytes(Ed25519Signer(OTHER_PRIVATE_PEM).sign(content).to_bytes())
    assert check(stamped).returncode != 0
