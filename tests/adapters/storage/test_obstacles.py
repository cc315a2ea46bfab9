"""Odd files in a local destination, and keys that lead out of any, are named errors or findings and never wait."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import FsspecStore, LocalStore
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import StorageError, VerificationError
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from tests.adapters.storage.store_fixtures import put
from tests.pipelines.verify.dataset import commit, records_in, two_days, window

LATER = datetime(2027, 6, 1, tzinfo=UTC)


def _make_socket(path: Path) -> None:
    here = Path.cwd()
    # The path of a socket has at most some hundred characters.
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "a folder"),
    "link to a folder": (lambda path: path.symlink_to(path.parent), "a folder"),
    "dead link": (lambda path: path.symlink_to("/nowhere"), "a link that leads nowhere"),
    "link to itself": (lambda path: path.symlink_to(path), "a link that leads nowhere"),
    "pipe": (os.mkfifo, "a named pipe"),
    "socket": (_make_socket, "a socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
}


@contextmanager
def named(kind: str) -> Iterator[None]:
    """Expects the error that names what is in the way, and says what to do."""
    with pytest.raises(StorageError, match=rf"is {kind}\. .*Move it out of the destination") as caught:
        yield
    assert not caught.value.retryable


@pytest.mark.parametrize("odd", ODD)
def test_odd_file_in_the_place_of_an_object_is_named(tmp_path: Path, odd: str) -> None:
    """Reading and creating say what is there instead of a file."""
    make, kind = ODD[odd]
    (tmp_path / "m").mkdir()
    make(tmp_path / "m" / "1")
    store = LocalStore(str(tmp_path))
    with named(kind):
        store.read("m/1")
    with named(kind):
        store.create("m/1", b"x")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("place", ["m", "_staging", "_staging/unfinished"])
@pytest.mark.parametrize(
    ("odd", "kind"), [("file", "a file"), ("dead link", "a link that leads nowhere"), ("pipe", "a named pipe")]
)
def test_odd_file_in_the_place_of_a_folder_is_named(tmp_path: Path, place: str, odd: str, kind: str) -> None:
    """Writing says what is there instead of the folder, also instead of that of unfinished files."""
    store, path = LocalStore(str(tmp_path)), tmp_path / place
    path.parent.mkdir(exist_ok=True)
    make = Path.touch if odd == "file" else ODD[odd][0]
    make(path)
    with named(kind):
        store.create("m/1", b"x")
    with named(kind):
        put(store, "m/1")
    with named(kind):
        put(store, "_staging/1")
        store.publish("_staging/1", "m/1")


def test_destination_that_is_a_file_is_named(tmp_path: Path) -> None:
    """A file in the place of the destination itself is named."""
    (tmp_path / "file").touch()
    with named("a file"):
        LocalStore(str(tmp_path / "file")).create("m/1", b"x")


def test_folder_in_the_place_of_a_part_is_named_and_leaves_no_unfinished_file(tmp_path: Path) -> None:
    """Publishing to a folder, or a staged file that is gone, does not pass for a published part."""
    store = LocalStore(str(tmp_path))
    put(store, "_staging/1")
    (tmp_path / "dt=1" / "part").mkdir(parents=True)
    with named("a folder"):
        store.publish("_staging/1", "dt=1/part")
    with named("a folder"):
        store.publish("_staging/gone", "dt=1/part")
    with named("a folder"):
        store.remove(["dt=1/part"])
    assert list(store.list_keys("")) == ["_staging/1"]


def test_file_that_exists_is_still_not_created(tmp_path: Path) -> None:
    """A file stays as it is, also behind a link, and the caller learns that it exists."""
    store = LocalStore(str(tmp_path))
    assert store.create("m/1", b"x")
    (tmp_path / "m" / "2").symlink_to(tmp_path / "m" / "1")
    assert (store.create("m/1", b"y"), store.create("m/2", b"y")) == (False, False)


@pytest.mark.integration
@pytest.mark.parametrize("odd", ["folder", "link to a folder", "dead link", "pipe"])
@pytest.mark.parametrize(
    "name",
    [
        "_seals/000001.json", "_seals/000002.json", "_seals/000003.json", "_seals/000001.sig", "_seals/note",
        "_manifests/dt=2026-10-26/20261026T000000Z-20261026T120000Z.g0001.json", "_manifests/dt=2026-10-29",
        "_manifests/dt=2026-10-26/20261026T000000Z-20261026T120000Z.g0003.json", "_dataset.json", "note",
        "_verified/20261129T101500Z-0123456789abcdef.json", "dt=2026-10-26/window=x", "_staging/x",
        "_staging/20261026T000000Z-20261026T120000Z/a/attempt.json",
        "_staging/20261026T000000Z-20261026T120000Z/a/checkpoint-00001.json",
    ],
)  # fmt: skip
def test_odd_file_anywhere_is_a_finding_or_a_named_error_of_every_reader(tmp_path: Path, name: str, odd: str) -> None:
    """Whatever stands in the place of an object, nobody waits for it or fails without saying what to do."""
    store, path = LocalStore(str(tmp_path)), tmp_path / name
    two_days(store)
    seal(store)
    if path.is_file():
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    ODD[odd][0](path)
    errors = [
        _storage_error(action)
        for action in (
            lambda: coverage(store, LATER),
            lambda: seal(store),
            lambda: sweep(store, LATER),
            lambda: commit(store, window(), records_in(window(), 1, "new")),
            lambda: verify(store),
        )
    ]
    assert all("Move it out of the destination" in message for message in filter(None, errors))
    if odd != "folder" and not any(errors):
        assert name in {one.key for one in verify(store).findings}


def _storage_error(action: Callable[[], object]) -> str | None:
    """Returns the message of the storage error that an action raises, None if there is none."""
    try:
        action()
    except StorageError as error:
        return error.message
    except VerificationError:
        return None
    return None


@pytest.fixture(params=["local", "memory"])
def below(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind, in a folder with a file beside it."""
    (tmp_path / "beside").write_bytes(b"secret")
    if request.param == "local":
        (tmp_path / "there").mkdir()
        return LocalStore(str(tmp_path / "there"))
    return FsspecStore(fsspec.filesystem("memory"), "/there")


@pytest.mark.parametrize("key", ["../beside", "a/../../beside", "/beside", "a/./b", "..", "a\\..\\..\\beside", "a/.."])
def test_key_that_leads_elsewhere_is_refused_by_every_operation(below: Store, key: str) -> None:
    """No operation follows a key out of its folder."""
    operations: list[Callable[[], object]] = [
        lambda: below.read(key),
        lambda: list(below.list_keys(key)),
        lambda: list(below.list_sizes(f"{key}/")),
        lambda: below.list_folders(f"{key}/"),
        lambda: below.stage(key),
        lambda: below.publish(key, "a"),
        lambda: below.publish("a", key),
        lambda: below.create(key, b"x"),
        lambda: below.remove([key]),
    ]
    for operation in operations:
        with pytest.raises(StorageError, match="leads out of its folder") as caught:
            operation()
        assert not caught.value.retryable
