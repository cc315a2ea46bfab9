"""The script on the page "Check with standard tools" finds every damage to a real sealed dataset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from tests.docs.blocks import all_blocks
from tests.pipelines.verify.dataset import two_days, window
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
