"""Every store keeps the same promises: whole objects or none, create-only commits, honest listings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from airflow_audit_provider.adapters.storage import FsspecStore, LocalStore, open_store
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import StorageError, StorageUnavailableError

ODD_KEYS = [
    "dt=2026-11-01/window=20261101T000000Z-20261102T000000Z/part-0001-00000-3f2a.jsonl.gz",
    "a b/ü ñ 東.json",
    "plus+and%20percent/100%.json",
    "question?/hash#/brackets[0]{1}.json",
    "star*/quote'/at@/comma,/semi;.json",
    "dots/..hidden/.name",
]


@pytest.fixture(scope="module")
def s3() -> Iterator[fsspec.AbstractFileSystem]:
    """A real S3 protocol over a real socket, where the packages for it are installed."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    fs = fsspec.filesystem(
        "s3", key="test", secret="test", endpoint_url=url, client_kwargs={"region_name": "us-east-1"}
    )
    fs.call_s3("create_bucket", Bucket="bucket")
    yield fs
    server.stop()


@pytest.fixture(params=["local", "local, slash", "memory", "memory, slash", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    slash = "/" if request.param.endswith("slash") else ""
    if request.param.startswith("local"):
        return open_store(fsspec.filesystem("file"), f"{tmp_path}/there/{slash}")
    if request.param.startswith("memory"):
        return open_store(fsspec.filesystem("memory"), f"/{uuid4().hex}/x{slash}")
    return open_store(request.getfixturevalue("s3"), f"bucket/{uuid4().hex}")


def _put(store: Store, key: str, content: bytes = b"whole") -> None:
    staged = store.stage(key)
    staged.write(content)
    staged.close()


def test_the_right_store_is_opened(tmp_path: Path) -> None:
    """Local files get the store that syncs, every other scheme the one over fsspec."""
    assert type(open_store(fsspec.filesystem("file"), str(tmp_path))) is LocalStore
    assert type(open_store(fsspec.filesystem("memory"), "/x")) is FsspecStore


@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_key_can_be_staged_read_and_listed(store: Store, key: str) -> None:
    """A key comes back from a listing as it is given, and its object byte by byte."""
    _put(store, key, b"\x00\xff" * 1000)
    assert store.read(key) == b"\x00\xff" * 1000
    assert list(store.list_keys("")) == [key]
    assert list(store.list_keys(key.split("/", maxsplit=1)[0] + "/")) == [key]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_key_can_be_created_published_and_removed(store: Store, key: str) -> None:
    """Creating, publishing and removing take the same keys."""
    assert store.create(f"c/{key}", b"c")
    _put(store, f"s/{key}", b"p")
    store.publish(f"s/{key}", f"p/{key}")
    assert (store.read(f"c/{key}"), store.read(f"p/{key}"), store.read(f"s/{key}")) == (b"c", b"p", None)
    store.remove([f"c/{key}", f"p/{key}"])
    assert list(store.list_keys("")) == []


def test_nothing_there(store: Store) -> None:
    """What does not exist is read as None, listed as nothing, and removed without an error."""
    assert store.read("no/such.json") is None
    assert list(store.list_keys("no/")) == []
    assert list(store.list_keys("")) == []
    store.remove(["no/such.json", "nor/this"])


def test_a_prefix_is_a_folder(store: Store) -> None:
    """A listing is sorted and never takes a neighbour whose name begins alike."""
    for key in ("dt=10/b", "dt=1/b", "dt=1/a/c", "dt=1x", "dt=1/a.json"):
        _put(store, key)
    assert list(store.list_keys("dt=1/")) == ["dt=1/a.json", "dt=1/a/c", "dt=1/b"]
    assert list(store.list_keys("")) == sorted(["dt=10/b", "dt=1/b", "dt=1/a/c", "dt=1x", "dt=1/a.json"])


def test_a_listing_is_fresh(store: Store) -> None:
    """A key that another process wrote after the first listing is in the second."""
    _put(store, "d/1")
    assert list(store.list_keys("d/")) == ["d/1"]
    _put(store, "d/2")
    assert list(store.list_keys("d/")) == ["d/1", "d/2"]
    store.remove(["d/1"])
    assert list(store.list_keys("d/")) == ["d/2"]


def test_a_listing_tells_sizes(store: Store) -> None:
    """The same keys come with the size of each object in bytes, an empty one's too, sorted and fresh."""
    for key, size_bytes in (("dt=1/b", 5), ("dt=1/a/c", 70_000), ("dt=1/empty", 0), ("dt=2/d", 1)):
        _put(store, key, b"x" * size_bytes)
    assert list(store.list_sizes("dt=1/")) == [("dt=1/a/c", 70_000), ("dt=1/b", 5), ("dt=1/empty", 0)]
    assert [key for key, _ in store.list_sizes("")] == list(store.list_keys(""))
    assert list(store.list_sizes("no/")) == []
    _put(store, "dt=1/b", b"longer")
    assert dict(store.list_sizes("dt=1/"))["dt=1/b"] == 6


def test_an_open_object_is_invisible(store: Store, request: pytest.FixtureRequest) -> None:
    """Nothing lies under a key, and no listing shows it, before its object is closed."""
    if "memory" in request.node.name:
        pytest.skip("fsspec's memory store commits on opening; it holds no commit that outlives a process")
    staged = store.stage("d/open")
    staged.write(b"half")
    assert store.read("d/open") is None
    assert list(store.list_keys("")) == []
    staged.write(b"+half")
    staged.close()
    assert store.read("d/open") == b"half+half"


def test_a_discarded_object_leaves_nothing(store: Store, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """An object given up before its close leaves no key and no file."""
    if "memory" in request.node.name:
        pytest.skip("fsspec's memory store commits on opening")
    staged = store.stage("d/gone")
    staged.write(b"half")
    staged.discard()
    assert store.read("d/gone") is None
    assert list(store.list_keys("")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_discarding_a_closed_object_keeps_it(store: Store) -> None:
    """Discarding after the close is no error and takes nothing away."""
    staged = store.stage("d/kept")
    staged.write(b"whole")
    staged.close()
    staged.discard()
    assert store.read("d/kept") == b"whole"


def test_creating_never_overwrites(store: Store) -> None:
    """The second create of a key says no and changes no byte."""
    assert store.create("m/1.json", b"first")
    assert not store.create("m/1.json", b"second, longer")
    assert store.read("m/1.json") == b"first"
    assert list(store.list_keys("m/")) == ["m/1.json"]


def test_one_of_many_creates_wins(store: Store, request: pytest.FixtureRequest) -> None:
    """Of many writers that create a key at once exactly one is told that it did."""
    if "memory" in request.node.name:
        pytest.skip("fsspec's memory store looks and writes in two steps; it is for one thread")
    told: list[tuple[bool, int]] = []
    writers = [
        threading.Thread(target=lambda n=n: told.append((store.create("m/race", f"{n}".encode()), n))) for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    winners = [number for won, number in told if won]
    assert len(told) == 8
    assert len(winners) == 1
    assert store.read("m/race") == f"{winners[0]}".encode()


def test_publishing_twice_is_once(store: Store) -> None:
    """Publishing again what is published already changes nothing; publishing what does not exist is a named error."""
    _put(store, "_staging/p", b"bytes")
    store.publish("_staging/p", "dt=1/p")
    store.publish("_staging/p", "dt=1/p")
    assert (store.read("dt=1/p"), store.read("_staging/p")) == (b"bytes", None)
    with pytest.raises(StorageError):
        store.publish("_staging/never", "dt=1/never")
    assert store.read("dt=1/never") is None


def test_an_object_larger_than_one_upload(store: Store) -> None:
    """An object of several pieces is whole."""
    piece = bytes(range(256)) * 4096 * 4
    staged = store.stage("d/large")
    for _ in range(3):
        staged.write(piece)
    staged.close()
    assert store.read("d/large") == piece * 3


def test_a_failed_create_leaves_nothing(tmp_path: Path) -> None:
    """A create that fails while writing leaves no file, not even an unfinished one."""
    store = LocalStore(str(tmp_path))
    with pytest.raises(StorageError):
        store.create("m/1", "no bytes")  # type: ignore[arg-type]  # the way to fail in the middle
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_removing_the_last_file_removes_its_folders(tmp_path: Path) -> None:
    """Local folders that become empty go, the destination itself stays."""
    store = LocalStore(str(tmp_path))
    _put(store, "a/b/c")
    _put(store, "a/d")
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


def test_an_unreachable_store_is_retryable(tmp_path: Path) -> None:
    """A server that nobody listens at is the retryable error, with the key and the mend."""
    pytest.importorskip("s3fs")
    options = {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 1}}}
    fs = fsspec.filesystem("s3", key="test", secret="test", **options)
    with pytest.raises(StorageUnavailableError, match="m/1"):
        FsspecStore(fs, "bucket/x").create("m/1", b"x")
