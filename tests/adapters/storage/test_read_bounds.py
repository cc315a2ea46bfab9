"""A store with bounds reads and lists no more than they allow, whatever somebody has put there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.bounded_calls import read_known
from airflow_audit_provider.adapters.storage.fsspec_store import FsspecStore, store_from_filesystem
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.adapters.storage.read_bounds import ReadBounds, ReadMeter
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import ReadLimitExceededError, StorageError
from tests.adapters.storage.real_stores import Servers
from tests.adapters.storage.store_fixtures import OpenStore, put, remote_stores

BOUNDS = ReadBounds(object_bytes=1000, total_bytes=2500, object_count=6, listed_count=12)


@pytest.fixture(params=["local", "memory", *remote_stores()])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    name = str(request.param)
    if name == "local":
        return LocalStore(str(tmp_path))
    if name == "memory":
        return store_from_filesystem(fsspec.filesystem("memory"), f"/{uuid4().hex}")
    opened: Store = request.getfixturevalue("open_at")(name, "/x")
    return opened


def _bounded(store: Any, bounds: ReadBounds = BOUNDS) -> Store:
    """Returns the same store with bounds."""
    if isinstance(store, LocalStore):
        return LocalStore(str(store._root), bounds)
    return FsspecStore(store._fs, store._root, bounds)


def test_objects_within_bounds_are_read_as_they_are(store: Store) -> None:
    """An empty object, one of the largest size and a missing one are read as without bounds."""
    for key, content in (("f/empty", b""), ("f/large", b"x" * 1000)):
        put(store, key, content)
        assert _bounded(store).read(key) == content
    assert _bounded(store).read("f/none") is None
    if not isinstance(store, LocalStore):
        # Only there a folder is in the way of a file.
        assert _bounded(store).read("f") is None


def test_object_beyond_bound_is_an_error_with_its_key(store: Store) -> None:
    """One byte too many is an error, and the next object is read."""
    put(store, "f/large", b"x" * 1001)
    put(store, "f/small", b"y")
    bounded = _bounded(store)
    with pytest.raises(ReadLimitExceededError, match="more than 1,000 bytes") as caught:
        bounded.read("f/large")
    assert caught.value.key == "f/large"
    assert bounded.read("f/small") == b"y"


def test_objects_together_beyond_bounds_are_an_error_without_a_key(store: Store) -> None:
    """Neither many bytes nor many objects are read by one reader."""
    put(store, "f/large", b"x" * 1000)
    put(store, "f/small", b"y")
    bounded = _bounded(store)
    assert [bounded.read("f/large") for _ in range(2)] == [b"x" * 1000] * 2
    with pytest.raises(ReadLimitExceededError, match="more than 2,500 bytes") as caught:
        bounded.read("f/large")
    assert caught.value.key is None
    bounded = _bounded(store)
    assert [bounded.read("f/small") for _ in range(6)] == [b"y"] * 6
    with pytest.raises(ReadLimitExceededError, match="more than 6 objects"):
        bounded.read("f/small")


@pytest.mark.parametrize("listing", ["list_keys", "list_sizes", "list_objects"])
def test_listing_beyond_bound_is_an_error(store: Store, listing: str) -> None:
    """Twelve keys are listed, thirteen are not; all listings of a reader count together."""
    for number in range(10):
        put(store, f"f/{number}", b"x")
    bounded = _bounded(store)
    assert [str(one[0]) if isinstance(one, tuple) else one for one in getattr(bounded, listing)("f/")] == [
        f"f/{number}" for number in range(10)
    ]
    assert list(getattr(bounded, listing)("none/")) == []
    with pytest.raises(ReadLimitExceededError, match="more than 12 keys"):
        list(getattr(bounded, listing)("f/"))


def test_sparse_file_of_a_terabyte_is_not_read_into_memory(tmp_path: Path) -> None:
    """Such a file costs its author no space."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ReadLimitExceededError):
        LocalStore(str(tmp_path), BOUNDS).read("huge")


@pytest.mark.integration
def test_read_from_s3_asks_for_no_byte_beyond_bound(open_at: OpenStore) -> None:
    """A read is one request with a range, and a listing ends with the page that reaches the bound."""
    store, sent = open_at("s3-moto", "/x"), []
    for number in range(12):
        put(store, f"f/{number}", b"x" * 5000)

    def note(model: Any, params: Any, **_: Any) -> None:
        sent.append((model.name, params["headers"].get("Range")))

    events = store._fs.s3.meta.events
    store._fs.req_kw = {"MaxKeys": 5}
    events.register("before-call.s3", note)
    try:
        bounded = _bounded(store, BOUNDS._replace(listed_count=4))
        with pytest.raises(ReadLimitExceededError):
            bounded.read("f/1")
        with pytest.raises(ReadLimitExceededError):
            list(bounded.list_keys("f/"))
    finally:
        events.unregister("before-call.s3", note)
        store._fs.req_kw = {}
    assert sent == [("GetObject", "bytes=0-1000"), ("ListObjectsV2", None)]


@pytest.mark.integration
def test_blob_that_library_decompresses_is_not_read(open_at: OpenStore) -> None:
    """A small blob with a content encoding could fill the memory."""
    import gzip

    store = open_at("azurite", "/x")
    content = gzip.compress(b"x" * 900_000)
    store._fs.pipe_file(store._path("f/bomb"), content, content_settings={"content_encoding": "gzip"})
    assert len(content) < BOUNDS.object_bytes
    with pytest.raises(ReadLimitExceededError, match="content encoding 'gzip'"):
        _bounded(store).read("f/bomb")


def test_object_of_google_that_library_decompresses_is_not_read() -> None:
    """The emulator keeps no content encoding, so the file system's answer is given here."""
    fs: Any = SimpleNamespace(
        invalidate_cache=lambda: None, info=lambda path: {"size": 5, "type": "file", "contentEncoding": "gzip"}
    )
    with pytest.raises(ReadLimitExceededError, match="content encoding 'gzip'"):
        read_known(fs, "bucket/key", "key", ReadMeter(BOUNDS), 1001)


@pytest.mark.integration
def test_store_with_bounds_that_refuses_is_a_storage_error(open_at: OpenStore, servers: Servers) -> None:
    """A refusal keeps its meaning."""
    server, bucket = servers("azurite"), f"bucket-{uuid4().hex[:12]}"
    server.make_bucket(bucket)
    bounded = _bounded(open_at("azurite", "/x", bucket, server.wrong_fields()))
    for refused in (lambda: bounded.read("f/x"), lambda: list(bounded.list_keys("f/"))):
        with pytest.raises(StorageError) as caught:
            refused()
        assert not isinstance(caught.value, ReadLimitExceededError)
