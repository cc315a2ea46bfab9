"""Guarantees of local files, and which store is opened for which file system."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import FsspecStore, LocalStore, store_from_filesystem
from airflow_audit_provider.core.verification.findings import FindingKind, Severity
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.adapters.storage.store_fixtures import put
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of


def test_store_is_opened_by_its_scheme(tmp_path: Path) -> None:
    """Local files get the store that syncs, every other scheme the one over fsspec."""
    assert type(store_from_filesystem(fsspec.filesystem("file"), str(tmp_path))) is LocalStore
    assert type(store_from_filesystem(fsspec.filesystem("memory"), "/x")) is FsspecStore


def test_a_failed_create_leaves_nothing(tmp_path: Path) -> None:
    """A create that fails while writing leaves no file, not even an unfinished one."""
    store = LocalStore(str(tmp_path))
    with pytest.raises(StorageError):
        store.create("m/1", "no bytes")  # type: ignore[arg-type]  # text makes the write fail midway
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_removing_the_last_file_removes_its_folders(tmp_path: Path) -> None:
    """Local folders that become empty are removed, the destination itself stays."""
    store = LocalStore(str(tmp_path))
    put(store, "a/b/c")
    put(store, "a/d")
    store.remove(["a/b/c"])
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["d"]
    store.remove(["a/d"])
    assert list(tmp_path.iterdir()) == []


def test_destination_below_a_file_is_not_retryable(tmp_path: Path) -> None:
    """A destination below a file is an error that is not retryable and has the key."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="m/1") as caught:
        LocalStore(f"{tmp_path}/file").create("m/1", b"x")
    assert not caught.value.retryable
    assert caught.value.key == "m/1"


def test_unfinished_file_is_listed_and_swept(tmp_path: Path) -> None:
    """A file that a killed worker left unfinished has a key in staging, and a sweep removes it later."""
    store, now = LocalStore(str(tmp_path)), datetime.now(UTC)
    staged = store.stage("_staging/20261101T000000Z-20261102T000000Z/one/part-00000")
    staged.write(b"half")
    (key,) = store.list_keys("_staging/")
    assert key.startswith("_staging/unfinished/")
    assert sweep(store, now, timedelta(hours=1)).keys == ()
    assert sweep(store, now + timedelta(hours=2), timedelta(hours=1), dry_run=True).keys == (key,)
    assert list(store.list_keys("")) == [key]
    assert sweep(store, now + timedelta(hours=2), timedelta(hours=1)).keys == (key,)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    staged.discard()


@pytest.mark.integration
@pytest.mark.parametrize("name", ["evil.jsonl.unfinished", ".hidden", "linked folder", "dead link"])
def test_unnamed_file_among_parts_is_severe(name: str, tmp_path: Path) -> None:
    """A hidden file, an unfinished one or a link where readers look is a severe finding."""
    store, fake, clock = LocalStore(str(tmp_path)), fake_with(ManualClock()), ManualClock()
    land(pull_spec(), reader_of(fake, clock), store)
    (part,) = tmp_path.glob("dt=*/*/*")
    if name.endswith(("folder", "link")):
        (part.parent / name).symlink_to("/tmp" if name.endswith("folder") else "/nowhere")
    else:
        (part.parent / name).write_bytes(b'{"id":"forged"}\n')
    (found,) = verify(store).findings
    assert (found.kind, found.severity) == (FindingKind.OBJECT_UNEXPECTED, Severity.SEVERE)


def test_folder_removed_while_listing_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that another run removes during a listing is left out; an unreadable one is an error."""
    store, scan = LocalStore(str(tmp_path)), os.scandir
    put(store, "a/x")
    put(store, "b/y")

    def scan_but(error: OSError, path: str) -> object:
        if path.endswith("/b/."):
            raise error
        return scan(path)

    monkeypatch.setattr(os, "scandir", partial(scan_but, FileNotFoundError("b")))
    assert list(store.list_keys("")) == ["a/x"]
    monkeypatch.setattr(os, "scandir", partial(scan_but, PermissionError("b")))
    with pytest.raises(StorageError, match="has the permission"):
        list(store.list_keys(""))
