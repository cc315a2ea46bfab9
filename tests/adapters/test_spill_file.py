"""Spill files: spilled bytes are read back, no file is left behind, and memory is used if the disk is full."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.spill_file import SpillFile, spilled_copy
from airflow_audit_provider.exceptions import StorageUnavailableError

LARGEST_FILE = 1000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def full_disk() -> Iterator[None]:
    """Limits the size of files for this process, so that writes beyond it fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_spilled_bytes_are_read_back(folder: Path) -> None:
    """The bytes at each offset are read back, in any order."""
    spill_file = SpillFile()
    offsets = [spill_file.append(bytes([number]) * number) for number in range(1, 50)]
    assert offsets[:4] == [0, 1, 3, 6]
    for number in (49, 1, 30):
        assert spill_file.read(offsets[number - 1], number) == bytes([number]) * number
    assert spill_file.append(b"more") == offsets[-1] + 49
    spill_file.close()


def test_file_has_no_name_and_is_gone_after_close(folder: Path) -> None:
    """The file has no name even while it is open, so that a killed process leaves no file."""
    spill_file = SpillFile()
    spill_file.append(b"x" * 100)
    assert not list(folder.iterdir())
    spill_file.close()
    spill_file.close()
    assert not list(folder.iterdir())


def test_empty_spill_opens_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spill file opens no temporary file before the first append."""
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("a file was opened"))
    spill_file = SpillFile()
    assert spill_file.read(0, 0) == b""
    spill_file.close()


def test_full_disk_falls_back_to_memory(folder: Path) -> None:
    """If the disk is full, further bytes are kept in memory, and all bytes are read back."""
    spill_file = SpillFile()
    pieces = [bytes([number]) * 300 for number in range(1, 8)]
    with full_disk():
        offsets = [spill_file.append(piece) for piece in pieces]
    assert sum(map(len, pieces)) > LARGEST_FILE
    assert offsets == [300 * number for number in range(7)]
    assert [spill_file.read(offset, 300) for offset in offsets] == pieces
    assert spill_file.read(offsets[5] + 290, 10) == bytes([6]) * 10
    spill_file.close()


def test_missing_folder_falls_back_to_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a folder for temporary files all bytes are kept in memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    spill_file = SpillFile()
    assert [spill_file.append(b"one"), spill_file.append(b"three")] == [0, 3]
    assert spill_file.read(3, 5) == b"three"
    spill_file.close()


@pytest.mark.parametrize("has_folder", [True, False])
def test_short_read_is_an_error(has_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading fewer bytes than requested is an error, also after the file is closed or used again."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path if has_folder else tmp_path / "missing"))
    spill_file = SpillFile()
    spill_file.append(b"x" * 100)
    with pytest.raises(
        StorageUnavailableError, match=r"could not be read back \(10 of 11 bytes\).* TMPDIR .* run the window"
    ):
        spill_file.read(90, 11)
    spill_file.close()
    with pytest.raises(StorageUnavailableError, match="0 of 8 bytes"):
        spill_file.read(0, 8)
    spill_file.append(b"new")
    with pytest.raises(StorageUnavailableError, match="0 of 8 bytes"):
        spill_file.read(90, 8)
    spill_file.close()


def test_copy_is_a_file_of_this_user_until_the_end_of_the_block(folder: Path) -> None:
    """A copy has the bytes, no rights for others and a name of its own."""
    with spilled_copy(b"one", ".parquet") as one, spilled_copy(b"two", ".parquet") as two:
        assert one is not None
        assert two is not None
        assert (Path(one).read_bytes(), Path(two).read_bytes()) == (b"one", b"two")
        assert Path(one).stat().st_mode & 0o077 == 0
        assert one != two
    assert list(folder.iterdir()) == []


def test_copy_is_removed_after_an_error(folder: Path) -> None:
    """An error in the block is not held back, and the file is gone."""
    with pytest.raises(ZeroDivisionError), spilled_copy(b"one", ".parquet"):
        raise ZeroDivisionError
    assert list(folder.iterdir()) == []


def test_copy_that_cannot_be_written_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk, and without a folder, there is no path and no file."""
    with full_disk(), spilled_copy(b"x" * (LARGEST_FILE + 1), ".parquet") as path:
        assert path is None
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))
    with spilled_copy(b"x", ".parquet") as path:
        assert path is None
