"""The contract of every store: complete objects or none, create-only commits, correct listings."""

from __future__ import annotations

import gc
import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_audit_provider.core.archive.object_keys import UNFINISHED_FOLDER
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import StorageError
from tests.adapters.storage.real_stores import Servers
from tests.adapters.storage.store_fixtures import OpenStore, kind_of, put, remote_stores

ODD_KEYS = [
    "dt=2026-11-01/window=20261101T000000Z-20261102T000000Z/part-0001-00000-3f2a.jsonl.gz",
    "a b/ü ñ 東.json",
    "plus+and%20percent/100%.json",
    "question?/brackets[0]{1}.json",
    "hash#/star*/quote'/at@/comma,.json",
    "semi;colon/tilde~.json",
    "dots/..hidden/.name",
]


MEMORY = "fsspec's memory store commits on opening and looks before it writes; no commit outlives its process"


def _leave_out_what_the_emulator_cuts(request: pytest.FixtureRequest, key: str) -> None:
    if kind_of(request) == "gcs" and ";" in key:
        pytest.skip("gcp-storage-emulator cuts an object's name at a semicolon; GCS does not")


@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_key_can_be_staged_read_and_listed(store: Store, key: str, request: pytest.FixtureRequest) -> None:
    """A key is listed as it is given, and its object is read back unchanged."""
    _leave_out_what_the_emulator_cuts(request, key)
    put(store, key, b"\x00\xff" * 1000)
    assert store.read(key) == b"\x00\xff" * 1000
    assert list(store.list_keys("")) == [key]
    assert list(store.list_keys(key.split("/", maxsplit=1)[0] + "/")) == [key]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_key_can_be_created_published_and_removed(store: Store, key: str, request: pytest.FixtureRequest) -> None:
    """Creating, publishing and removing accept the same keys."""
    _leave_out_what_the_emulator_cuts(request, key)
    assert store.create(f"c/{key}", b"c")
    put(store, f"s/{key}", b"p")
    store.publish(f"s/{key}", f"p/{key}")
    assert (store.read(f"c/{key}"), store.read(f"p/{key}"), store.read(f"s/{key}")) == (b"c", b"p", b"p")
    store.remove([f"c/{key}", f"p/{key}", f"s/{key}"])
    assert list(store.list_keys("")) == []


@pytest.mark.integration
def test_key_that_the_library_would_change_is_an_error(open_at: OpenStore) -> None:
    """A key that adlfs would change, with a question mark before a hash, is an error."""
    store = open_at("azurite", "/x")
    with pytest.raises(StorageError, match="without \\? and #"):
        store.create("question?/hash#/a.json", b"x")
    assert list(store.list_keys("")) == []


def test_missing_object_is_read_as_none(store: Store) -> None:
    """A missing object is read as None, listed as nothing, and removed without an error."""
    assert store.read("no/such.json") is None
    assert list(store.list_keys("no/")) == []
    assert list(store.list_keys("")) == []
    store.remove(["no/such.json", "nor/this"])


def test_a_prefix_is_a_folder(store: Store) -> None:
    """A listing is sorted and has no neighbour whose name begins with the prefix."""
    for key in ("dt=10/b", "dt=1/b", "dt=1/a/c", "dt=1x", "dt=1/a.json"):
        put(store, key)
    assert list(store.list_keys("dt=1/")) == ["dt=1/a.json", "dt=1/a/c", "dt=1/b"]
    assert list(store.list_keys("")) == sorted(["dt=10/b", "dt=1/b", "dt=1/a/c", "dt=1x", "dt=1/a.json"])


def test_folders_are_listed_without_what_is_in_them(store: Store) -> None:
    """The folders directly below a prefix are listed, sorted and afresh; none below a folder that does not exist."""
    for key in ("dt=10/b", "dt=1/b", "dt=1/a/c", "dt=1x", "_m/dt=2/x.json", "_m/a.json"):
        put(store, key)
    # A local store may keep the empty folder of files that were being written.
    assert [name for name in store.list_folders("") if name != "_staging"] == ["_m", "dt=1", "dt=10"]
    assert store.list_folders("dt=1/") == ["a"]
    assert store.list_folders("_m/") == ["dt=2"]
    assert store.list_folders("no/") == store.list_folders("dt=10/") == []
    put(store, "_m/dt=3/y/z.json")
    assert store.list_folders("_m/") == ["dt=2", "dt=3"]


@pytest.mark.parametrize("store", remote_stores("path"), indirect=True)
def test_an_object_may_be_named_like_a_folder(store: Store) -> None:
    """An object whose key is the prefix without its slash is not in the prefix's listing."""
    put(store, "dt=1")
    assert list(store.list_keys("dt=1/")) == store.list_folders("dt=1/") == store.list_folders("") == []
    put(store, "dt=1/a")
    assert list(store.list_keys("dt=1/")) == ["dt=1/a"]
    assert list(store.list_keys("")) == ["dt=1", "dt=1/a"]


def test_a_listing_is_fresh(store: Store) -> None:
    """A key that another process wrote after the first listing is in the second."""
    put(store, "d/1")
    assert list(store.list_keys("d/")) == ["d/1"]
    put(store, "d/2")
    assert list(store.list_keys("d/")) == ["d/1", "d/2"]
    store.remove(["d/1"])
    assert list(store.list_keys("d/")) == ["d/2"]


@pytest.mark.parametrize("name", remote_stores())
def test_listing_has_keys_of_other_clients(name: str, servers: Servers, open_at: OpenStore) -> None:
    """A key that another client wrote after a listing is in the next one, despite the library's cache."""
    server, bucket = servers(name), f"shared-{uuid4().hex[:12]}"
    server.make_bucket(bucket)
    store = open_at(name, "/x", bucket=bucket)
    put(store, "d/1")
    assert list(store.list_keys("d/")) == ["d/1"]
    server.put_if_absent(bucket, "x/d/2", b"of another")
    assert list(store.list_sizes("d/")) == [("d/1", 5), ("d/2", 10)]


def test_listing_has_sizes(store: Store) -> None:
    """A listing has the current size of each object in bytes, sorted by key, also of an empty one."""
    for key, size_bytes in (("dt=1/b", 5), ("dt=1/a/c", 70_000), ("dt=1/empty", 0), ("dt=2/d", 1)):
        put(store, key, b"x" * size_bytes)
    assert list(store.list_sizes("dt=1/")) == [("dt=1/a/c", 70_000), ("dt=1/b", 5), ("dt=1/empty", 0)]
    assert [key for key, _ in store.list_sizes("")] == list(store.list_keys(""))
    assert list(store.list_sizes("no/")) == []
    put(store, "dt=1/b", b"longer")
    assert dict(store.list_sizes("dt=1/"))["dt=1/b"] == 6


def test_listing_states_the_digest_of_the_bytes_or_none(store: Store) -> None:
    """S3 states the MD5 digest of a small object, and other stores state none."""
    store.put("d/1", b"first")
    store.create("d/2", b"second")
    listed = list(store.list_objects("d/"))
    assert [(one.key, one.size_bytes) for one in listed] == [("d/1", 5), ("d/2", 6)]
    digests = [hashlib.md5(content, usedforsecurity=False).hexdigest() for content in (b"first", b"second")]
    assert [one.md5 for one in listed] in (digests, [None, None])
    store.put("d/1", b"other")
    assert next(one.md5 for one in store.list_objects("d/")) != digests[0]


def _finished(store: Store) -> list[str]:
    """Returns every key except those of local files that are being written."""
    return [key for key in store.list_keys("") if not key.startswith(UNFINISHED_FOLDER)]


def test_an_open_object_is_invisible(store: Store, request: pytest.FixtureRequest) -> None:
    """An object is neither readable nor listed before it is closed."""
    if kind_of(request) == "memory":
        pytest.skip(MEMORY)
    staged = store.stage("d/open")
    staged.write(b"half")
    assert store.read("d/open") is None
    assert _finished(store) == []
    staged.write(b"+half")
    staged.close()
    assert store.read("d/open") == b"half+half"


@pytest.mark.usefixtures("collects_new_objects")
@pytest.mark.integration
def test_a_discarded_object_leaves_nothing(store: Store, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """An object that is discarded before its close leaves no key and no file."""
    if kind_of(request) == "memory":
        pytest.skip(MEMORY)
    staged = store.stage("d/gone")
    staged.write(b"half")
    staged.discard()
    del staged
    gc.collect()
    assert store.read("d/gone") is None
    assert list(store.list_keys("")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_discarding_a_closed_object_keeps_it(store: Store) -> None:
    """Discarding after the close is no error and removes nothing."""
    staged = store.stage("d/kept")
    staged.write(b"whole")
    staged.close()
    staged.discard()
    assert store.read("d/kept") == b"whole"


@pytest.mark.usefixtures("collects_new_objects")
@pytest.mark.integration
def test_abandoned_upload_leaves_nothing(store: Store, request: pytest.FixtureRequest) -> None:
    """An upload that an exception leaves open makes no object, collected or not."""
    if kind_of(request) == "memory":
        pytest.skip(MEMORY)

    def fails() -> None:
        staged = store.stage("d/dead")
        staged.write(b"half" * 100)
        raise RuntimeError("midway")

    # pytest.raises would keep a reference to the frame and so to the upload.
    with suppress(RuntimeError):
        fails()
    gc.collect()
    assert store.read("d/dead") is None
    assert _finished(store) == []


@pytest.mark.usefixtures("collects_new_objects")
@pytest.mark.parametrize("given_up", ["discarded", "forgotten"])
@pytest.mark.parametrize("store", remote_stores("path"), indirect=True)
def test_discarded_upload_is_never_committed(store: Store, given_up: str) -> None:
    """Closing the library's file after a discard, as its finalizer does, commits nothing."""
    staged: Any = store.stage("d/gone")
    staged.write(b"half")
    file = staged._file
    if given_up == "discarded":
        staged.discard()
    del staged
    gc.collect()
    file.close()
    file.__del__()
    assert list(store.list_keys("")) == []


def test_creating_never_overwrites(store: Store) -> None:
    """The second create of a key returns False and changes no byte."""
    assert store.create("m/1.json", b"first")
    assert not store.create("m/1.json", b"second, longer")
    assert store.read("m/1.json") == b"first"
    assert list(store.list_keys("m/")) == ["m/1.json"]


@pytest.mark.integration
def test_one_of_many_creates_wins(store: Store, request: pytest.FixtureRequest) -> None:
    """Of two or eight concurrent creates of a key exactly one returns True, and its bytes stay."""
    if kind_of(request) == "memory":
        pytest.skip(MEMORY)
    for number, writer_count in enumerate([2] * 20 + [8] * 2):
        key = f"m/race {number}"
        with ThreadPoolExecutor(writer_count) as writers:
            reported = list(writers.map(lambda n, key=key: store.create(key, f"{n}".encode()), range(writer_count)))
        assert reported.count(True) == 1
        assert store.read(key) == f"{reported.index(True)}".encode()


def test_an_empty_object_is_an_object(store: Store) -> None:
    """An object of no bytes is staged, created, published, listed and read like any other."""
    put(store, "_staging/empty", b"")
    assert store.read("_staging/empty") == b""
    store.publish("_staging/empty", "d/empty")
    store.remove(["_staging/empty"])
    assert store.create("m/empty", b"")
    assert list(store.list_sizes("")) == [("d/empty", 0), ("m/empty", 0)]
    assert (store.read("d/empty"), store.read("m/empty")) == (b"", b"")


def test_publishing_twice_changes_nothing(store: Store) -> None:
    """Publishing a published object again changes nothing; publishing a missing one is an error."""
    put(store, "_staging/p", b"bytes")
    store.publish("_staging/p", "dt=1/p")
    store.publish("_staging/p", "dt=1/p")
    assert (store.read("dt=1/p"), store.read("_staging/p")) == (b"bytes", b"bytes")
    with pytest.raises(StorageError):
        store.publish("_staging/never", "dt=1/never")
    assert store.read("dt=1/never") is None


def test_publish_after_a_killed_attempt_completes(store: Store) -> None:
    """If the copy exists and the staged object as well, publishing again leaves one complete object."""
    put(store, "_staging/p", b"bytes")
    put(store, "dt=1/p", b"bytes")
    store.publish("_staging/p", "dt=1/p")
    store.remove(["_staging/p"])
    assert list(store.list_sizes("")) == [("dt=1/p", 5)]
    assert store.read("dt=1/p") == b"bytes"


def test_several_folders_are_listed_as_each_alone(store: Store) -> None:
    """A listing of folders has their keys in order, and none between, before or after them."""
    for key in (
        "m/dt=10/a",
        "m/dt=11/b",
        "m/dt=11/c/d",
        "m/dt=11x",
        "m/dt=12/e",
        "m/dt=13/f",
        "m/dt=2/g",
        "m/x",
        "n/h",
    ):
        put(store, key)
    assert list(store.list_neighbours(["m/dt=11/", "m/dt=12/"])) == ["m/dt=11/b", "m/dt=11/c/d", "m/dt=12/e"]
    assert list(store.list_neighbours(["m/dt=11/", "m/dt=13/"])) == ["m/dt=11/b", "m/dt=11/c/d", "m/dt=13/f"]
    assert list(store.list_neighbours(["m/dt=14/", "m/dt=15/"])) == []
    assert list(store.list_neighbours(["m/dt=2/"])) == ["m/dt=2/g"]


def test_names_at_the_top_level_that_exist_are_present(store: Store) -> None:
    """A name that exists is never left out, and a digest that is stated is that of the object's bytes."""
    names = ("_a.json", "_folder/", "_other/", "_z.json")
    put(store, "_a.json", b"bytes")
    put(store, "_folder/deep/one")
    put(store, "other/_z.json")
    found = store.present(names)
    assert {"_a.json", "_folder/"} <= set(found) <= set(names)
    assert found["_a.json"] in {None, hashlib.md5(b"bytes").hexdigest()}
    assert found["_folder/"] is None


def test_small_object_is_put_as_a_whole(store: Store) -> None:
    """An object is written by one call, over an older one too, and nothing else is left."""
    store.put("dt=1/part", b"old")
    store.put("dt=1/part", b"whole")
    store.put("dt=1/empty", b"")
    assert (store.read("dt=1/part"), store.read("dt=1/empty")) == (b"whole", b"")
    assert _finished(store) == ["dt=1/empty", "dt=1/part"]


def test_gathered_calls_return_their_results_in_order(store: Store) -> None:
    """More calls than are made at a time have their results in order; the first error is raised."""
    for number in range(20):
        put(store, f"d/{number:02}", b"%d" % number)
    calls = [partial(store.read, f"d/{number:02}") for number in range(20)]
    assert store.gather(calls) == [b"%d" % number for number in range(20)]
    assert store.gather([]) == []
    with pytest.raises(StorageError):
        store.gather([*calls, partial(store.read, "/d/00")])
    store.remove([f"d/{number:02}" for number in range(20)])
    assert list(store.list_keys("")) == []
