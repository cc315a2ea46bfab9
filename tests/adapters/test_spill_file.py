"""What is put aside on the machine's own disk comes back whole, leaves nothing, and says so when there is no room."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.spill_file import SpillFile
from airflow_audit_provider.exceptions import StorageUnavailableError

LARGEST_FILE = 1000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary files go to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def full_disk() -> Iterator[None]:
    """A real limit on the size of a file: what is beyond it is refused, to this whole process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_put_aside_comes_back(folder: Path) -> None:
    """An offset leads to its bytes, in any order, whatever lies around them."""
    scratch = SpillFile()
    offsets = [scratch.append(bytes([number]) * number) for number in range(1, 50)]
    assert offsets[:4] == [0, 1, 3, 6]
    for number in (49, 1, 30):
        assert scratch.read(offsets[number - 1], number) == bytes([number]) * number
    assert scratch.append(b"more") == offsets[-1] + 49
    scratch.close()


def test_nothing_has_a_name_and_nothing_is_left(folder: Path) -> None:
    """Neither while there is something nor after; a killed process leaves no file either."""
    scratch = SpillFile()
    scratch.append(b"x" * 100)
    assert not list(folder.iterdir())
    scratch.close()
    scratch.close()
    assert not list(folder.iterdir())


def test_what_was_never_filled_opens_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small window touches no disk but its destination's."""
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("a file was opened"))
    scratch = SpillFile()
    assert scratch.read(0, 0) == b""
    scratch.close()


def test_a_full_disk_is_no_reason_to_fail(folder: Path) -> None:
    """What it takes no more is held in memory: all of it comes back, that before as that after."""
    scratch = SpillFile()
    pieces = [bytes([number]) * 300 for number in range(1, 8)]
    with full_disk():
        offsets = [scratch.append(piece) for piece in pieces]
    assert sum(map(len, pieces)) > LARGEST_FILE
    assert offsets == [300 * number for number in range(7)]
    assert [scratch.read(offset, 300) for offset in offsets] == pieces
    assert scratch.read(offsets[5] + 290, 10) == bytes([6]) * 10
    scratch.close()


def test_a_folder_that_is_not_there_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a place for temporary files everything is held in memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    scratch = SpillFile()
    assert [scratch.append(b"one"), scratch.append(b"three")] == [0, 3]
    assert scratch.read(3, 5) == b"three"
    scratch.close()


@pytest.mark.parametrize("has_folder", [True, False])
def test_what_does_not_come_back_is_named(has_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short read never passes for a whole one, nor a closed scratch for an empty or a new one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path if has_folder else tmp_path / "missing"))
    scratch = SpillFile()
    scratch.append(b"x" * 100)
    with pytest.raises(
        StorageUnavailableError, match=r"could not be read back \(10 of 11 bytes\).* TMPDIR .* run the window"
    ):
        scratch.read(90, 11)
    scratch.close()
    with pytest.raises(StorageUnavailableError, match="0 of 8 bytes"):
        scratch.read(0, 8)
    scratch.append(b"new")
    with pytest.raises(StorageUnavailableError, match="0 of 8 bytes"):
        scratch.read(90, 8)
    scratch.close()
