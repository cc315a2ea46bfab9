"""Objects that need more than one upload request keep the store contract."""

from __future__ import annotations

import gc
import random

import pytest

from airflow_audit_provider.core.ports import Store
from tests.adapters.storage.store_fixtures import kind_of, remote_stores

pytestmark = pytest.mark.integration
# The key of an object makes no difference to its upload.
PATHS_ONLY = pytest.mark.parametrize("store", ["local-path", *remote_stores("path")], indirect=True)


@PATHS_ONLY
def test_create_of_megabytes_never_overwrites(store: Store) -> None:
    """A large manifest is created as a whole or not at all, however the library uploads it."""
    first, second = b"1" * (7 << 20), b"2" * (6 << 20)
    assert store.create("m/large.json", first)
    assert not store.create("m/large.json", second)
    assert store.read("m/large.json") == first


# Boundaries of uploads: fsspec's buffer of 5 MiB, Azure's and S3's block of 50 MiB, GCS's unit of 256 KiB.
@PATHS_ONLY
@pytest.mark.parametrize(
    "size_bytes",
    [
        *[1, (1 << 18) + 1, 5 << 20, (50 << 20) + 3],
        *[pytest.param(size, marks=pytest.mark.nightly) for size in (1 << 18, (5 << 20) + 1, 12 << 20, 60_000_000)],
    ],
)
def test_object_larger_than_one_upload_is_complete(store: Store, size_bytes: int) -> None:
    """An object of any size is staged in many writes and copied to its final key without a change."""
    content = random.Random(size_bytes).randbytes(size_bytes)
    staged = store.stage("_staging/large")
    for start in range(0, size_bytes, 1_000_003):
        staged.write(content[start : start + 1_000_003])
    staged.close()
    assert list(store.list_sizes("_staging/")) == [("_staging/large", size_bytes)]
    store.publish("_staging/large", "d/large")
    assert store.read("d/large") == content
    store.remove(["_staging/large"])
    assert list(store.list_keys("")) == ["d/large"]


@pytest.mark.usefixtures("collects_new_objects")
@PATHS_ONLY
def test_discarded_large_upload_leaves_nothing(store: Store, request: pytest.FixtureRequest) -> None:
    """A multipart upload that is discarded leaves no key and no open upload."""
    staged = store.stage("d/gone")
    for _ in range(61):
        staged.write(b"x" * 1_000_000)
    staged.discard()
    del staged
    gc.collect()
    assert list(store.list_keys("")) == []
    if kind_of(request).startswith("s3"):
        assert request.getfixturevalue("servers")(kind_of(request)).open_uploads() == []
