"""What only local files promise, and which store is opened for which file system."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from airflow_audit_provider.adapters.storage import FsspecStore, LocalStore, open_store
from airflow_audit_provider.exceptions import StorageError
from tests.adapters.store_fixtures import put


def test_the_right_store_is_opened(tmp_path: Path) -> None:
    """Local files get the store that syncs, every other scheme the one over fsspec."""
    assert type(open_store(fsspec.filesystem("file"), str(tmp_path))) is LocalStore
    assert type(open_store(fsspec.filesystem("memory"), "/x")) is FsspecStore


def test_a_failed_create_leaves_nothing(tmp_path: Path) -> None:
    """A create that fails while writing leaves no file, not even an unfinished one."""
    store = LocalStore(str(tmp_path))
    with pytest.raises(StorageError):
        store.create("m/1", "no bytes")  # type: ignore[arg-type]  # the way to fail in the middle
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_removing_the_last_file_removes_its_folders(tmp_path: Path) -> None:
    """Local folders that become empty go, the destination itself stays."""
    store = LocalStore(str(tmp_path))
    put(store, "a/b/c")
    put(store, "a/d")
    store.remove(["a/b/c"])
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["d"]
    store.remove(["a/d"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_refused_for_good(tmp_path: Path) -> None:
    """A destination below a file is an error that no retry mends, and it names the key."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="m/1") as caught:
        LocalStore(f"{tmp_path}/file").create("m/1", b"x")
    assert not caught.value.retryable
    assert caught.value.key == "m/1"
