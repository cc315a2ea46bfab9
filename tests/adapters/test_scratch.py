"""What is put aside on the machine's own disk comes back whole, leaves nothing, and says so when there is no room."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.scratch import Scratch
from airflow_audit_provider.exceptions import StorageUnavailableError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary files go to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def largest_file() -> Iterator[int]:
    """A real limit on the size of a file, as a full disk would be one: what is beyond it is refused."""
    limit, before = 1000, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_put_aside_comes_back(folder: Path) -> None:
    """An offset leads to its bytes, in any order, whatever lies around them."""
    scratch = Scratch()
    offsets = [scratch.append(bytes([number]) * number) for number in range(1, 50)]
    assert offsets[:4] == [0, 1, 3, 6]
    for number in (49, 1, 30):
        assert scratch.read(offsets[number - 1], number) == bytes([number]) * number
    assert scratch.append(b"more") == offsets[-1] + 49
    scratch.close()


def test_nothing_has_a_name_and_nothing_is_left(folder: Path) -> None:
    """Neither while there is something nor after; a killed process leaves no file either."""
    scratch = Scratch()
    scratch.append(b"x" * 100)
    assert not list(folder.iterdir())
    scratch.close()
    scratch.close()
    assert not list(folder.iterdir())


def test_what_was_never_filled_opens_no_file() -> None:
    """A small window touches no disk but its destination's."""
    scratch = Scratch()
    assert scratch.read(0, 0) == b""
    scratch.close()


def test_a_full_disk_is_named_and_worth_another_try(folder: Path, largest_file: int) -> None:
    """The error says where there is no room, what to do, and that it passes."""
    scratch = Scratch()
    scratch.append(b"x" * (largest_file - 10))
    with pytest.raises(StorageUnavailableError, match=r"temporary files takes no more .* set TMPDIR") as caught:
        scratch.append(b"y" * 11)
    assert caught.value.retryable
    assert scratch.read(largest_file - 11, 2) == b"xy"
    scratch.close()


def test_what_does_not_come_back_is_named(folder: Path) -> None:
    """A short read never passes for a whole one, nor a closed scratch for an empty one."""
    scratch = Scratch()
    scratch.append(b"x" * 100)
    with pytest.raises(StorageUnavailableError, match=r"does not come back \(10 bytes of 11\).* TMPDIR"):
        scratch.read(90, 11)
    scratch.close()
    with pytest.raises(StorageUnavailableError, match="0 bytes of 8"):
        scratch.read(0, 8)


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is found missing when the first bytes come."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageUnavailableError, match=r"No such file or directory.*TMPDIR"):
        Scratch().append(b"x")
