"""The script on the page "Check with standard tools" finds every damage to a real sealed dataset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.pipelines.seal import seal
from tests.docs.blocks import all_blocks
from tests.pipelines.verify.dataset import two_days


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
    assert answer.stdout.startswith("intact; newest seal ")
    assert len(answer.stdout.split()[-1]) == 64


@pytest.mark.parametrize("pattern", ["_seals/000001.json", "_manifests/*/*.g0001.json", "dt=*/*/*"])
def test_a_changed_or_missing_object_fails(copy: Path, pattern: str) -> None:
    """A missing or changed object of each kind makes the block fail."""
    path = min(copy.glob(pattern))
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b" " + content[-1:])
    assert check(copy).returncode != 0
    path.unlink()
    assert check(copy).returncode != 0
