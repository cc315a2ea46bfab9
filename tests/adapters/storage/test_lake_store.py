"""A store of two places: keys below ext/ are the lake's, all others the destination's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore, object_locks_of
from airflow_audit_provider.adapters.storage.lake_store import LakeStore, destination_from_uri
from airflow_audit_provider.core.archive.dataset import dataset_of
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import ConfigurationError, StorageError, StorageUnavailableError
from tests.core.verification.manifests import manifest
from tests.pipelines.pull.landing import LAKE

KEY = "ext/cf/region=eu-central-1/part.parquet"


class Opened:
    """Opens the lake's bucket in a folder and notes the URIs."""

    def __init__(self, folder: Path) -> None:
        self.uris: list[str] = []
        self.lake = LocalStore(str(folder / "lake"))
        self.home = LocalStore(str(folder / "home"))

    def __call__(self, uri: str) -> Store:
        self.uris.append(uri)
        return self.lake


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """An empty destination and an empty lake."""
    return Opened(tmp_path)


def test_every_operation_goes_to_the_place_of_its_key(opened: Opened) -> None:
    """Parts are in the lake only, all else at the destination only, and a removal reaches both."""
    store = LakeStore(opened.home, opened, "s3://lake")
    staged = store.stage("_staging/w/part-00000")
    staged.write(b"part")
    staged.close()
    store.publish("_staging/w/part-00000", KEY)
    store.publish("_staging/w/part-00000", "dt=2026-11-01/part")
    store.put("ext/two", b"two")
    assert store.create("_manifests/one.json", b"{}")
    assert list(opened.lake.list_sizes("")) == [(KEY, 4), ("ext/two", 3)]
    assert list(store.list_keys("")) == list(opened.home.list_keys(""))
    assert [list(store.list_keys("ext/")), store.read(KEY), store.read("_manifests/one.json")] == [
        [KEY, "ext/two"],
        b"part",
        b"{}",
    ]
    store.remove([KEY, "_manifests/one.json", "ext/none"])
    assert (list(opened.lake.list_keys("")), store.read("_manifests/one.json")) == (["ext/two"], None)
    assert opened.uris == ["s3://lake"]


def test_bucket_is_named_by_the_descriptor(opened: Opened) -> None:
    """The bucket is opened once, at the first key of the lake, by the URI in the dataset descriptor."""
    opened.home.create("_dataset.json", dataset_of(manifest(layout=LAKE)).to_bytes())
    opened.lake.put(KEY, b"part")
    store = LakeStore(opened.home, opened)
    assert store.read("_dataset.json")
    assert opened.uris == []
    was_remote = store.is_remote
    assert [store.read(KEY), store.read(KEY)] == [b"part", b"part"]
    assert opened.uris == [LAKE.bucket]
    assert (was_remote, store.is_remote) == (False, True)
    assert LakeStore(opened.home, opened, LAKE.bucket).is_remote


def test_bucket_that_is_not_configured_is_not_opened(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor that names another bucket than those in the environment opens none; one of those is opened."""
    opened.home.create("_dataset.json", dataset_of(manifest(layout=LAKE)).to_bytes())
    monkeypatch.setenv("CLOUDFLARE_AUDIT_LAKE_BUCKETS", "s3://one, s3://two/")
    with pytest.raises(ConfigurationError, match=r"CLOUDFLARE_AUDIT_LAKE_BUCKETS does not list this bucket"):
        LakeStore(opened.home, opened).read(KEY)
    with pytest.raises(ConfigurationError, match="add it to the variable"):
        LakeStore(opened.home, opened).remove([KEY])
    assert opened.uris == []
    monkeypatch.setenv("CLOUDFLARE_AUDIT_LAKE_BUCKETS", f"s3://one,{LAKE.bucket}/")
    assert LakeStore(opened.home, opened).read(KEY) is None
    assert opened.uris == [LAKE.bucket]


@pytest.mark.parametrize("descriptor", [None, dataset_of(manifest()).to_bytes()])
def test_lake_without_a_descriptor_that_names_it_is_an_error(opened: Opened, descriptor: bytes | None) -> None:
    """A key of the lake is an error if no descriptor, or that of an ordinary dataset, is there."""
    if descriptor is not None:
        opened.home.create("_dataset.json", descriptor)
    with pytest.raises(
        StorageError, match=r"the descriptor _dataset\.json of the destination (is missing|names no lake)"
    ):
        LakeStore(opened.home, opened).read(KEY)


def test_staged_object_that_is_gone_can_be_tried_again(opened: Opened) -> None:
    """Publishing a staged object that is gone is an error that a retry can fix, and writes nothing."""
    store = LakeStore(opened.home, opened, "s3://lake")
    with pytest.raises(StorageUnavailableError, match="is gone"):
        store.publish("_staging/w/part-00000", KEY)
    assert not list(opened.lake.list_keys(""))


def test_destination_of_an_ordinary_dataset_is_that_folder(tmp_path: Path) -> None:
    """A local folder is opened as it is, and has no object locks."""
    store = destination_from_uri(str(tmp_path / "home"))
    store.put("dt=2026-11-01/part", b"part")
    assert list(LocalStore(str(tmp_path / "home")).list_keys("")) == ["dt=2026-11-01/part"]
    assert object_locks_of(store) is None
    assert not store.is_remote
    shutil.rmtree(tmp_path / "home")
