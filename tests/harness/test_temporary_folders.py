"""Tests write to memory only if there is enough of it, and to the folder that was named if one was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.temporary_folders import ENOUGH_BYTES, ROOT_VARIABLE, use_memory


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with enough memory, in which the folder of the test is one in memory."""
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    monkeypatch.setattr("os.statvfs", lambda _: type("System", (), {"f_bavail": ENOUGH_BYTES, "f_frsize": 1}))
    (tmp_path / "mounts").write_text(f"/dev/vda / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n")
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {ENOUGH_BYTES >> 10} kB\n")
    return tmp_path


def _root(folder: Path, proc: Path) -> str | None:
    use_memory(folder, proc)
    return os.environ.get(ROOT_VARIABLE)


def test_enough_memory_is_used(proc: Path) -> None:
    """A folder in memory becomes the root of the tests' folders."""
    assert _root(proc, proc) == str(proc)


def test_named_folder_is_kept(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root that the caller has named stays."""
    monkeypatch.setenv(ROOT_VARIABLE, "/tmp/named")
    assert _root(proc, proc) == "/tmp/named"


@pytest.mark.parametrize("name", ["mounts", "meminfo"])
def test_unknown_memory_is_not_used(proc: Path, name: str) -> None:
    """Without the system's word that the folder is in memory, or of how much is free, the disk is used."""
    (proc / name).unlink()
    assert _root(proc, proc) is None


def test_little_memory_is_not_used(proc: Path) -> None:
    """A machine whose processes need its memory uses the disk."""
    (proc / "meminfo").write_text(f"MemAvailable: {(ENOUGH_BYTES >> 10) - 1} kB\n")
    assert _root(proc, proc) is None
