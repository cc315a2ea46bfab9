"""S3 buckets whose default retention locks every object: what is written, hidden, kept and reported.

The store contract of ``test_store_contract.py`` runs in such buckets, too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import (
    LocalStore,
    object_locks_of,
    require_object_locks,
    store_from_filesystem,
)
from airflow_audit_provider.adapters.storage.object_lock import S3ObjectLocks
from airflow_audit_provider.core.ports import ObjectLock
from airflow_audit_provider.exceptions import ConfigurationError, StorageError, StorageUnavailableError
from tests.adapters.storage.real_stores import S3Server, Servers
from tests.adapters.storage.store_fixtures import OpenStore, put

pytestmark = pytest.mark.integration
MODES = ("COMPLIANCE", "GOVERNANCE")
SERVERS = ("s3-moto", pytest.param("s3-localstack", marks=pytest.mark.nightly))
OpenLocked = Callable[..., tuple[Any, S3Server, str]]


@pytest.fixture
def open_locked(servers: Servers, open_at: OpenStore) -> OpenLocked:
    """Opens a store in a new bucket that locks every object for 30 days; returns the server and the bucket, too."""

    def opened(name: str = "s3-moto", mode: str = "COMPLIANCE", **arguments: Any) -> tuple[Any, S3Server, str]:
        server, bucket = servers(name), f"locked-{uuid4().hex[:12]}"
        assert isinstance(server, S3Server)
        server.make_locked_bucket(bucket, mode)
        return open_at(name, "/x", bucket=bucket, **arguments), server, bucket

    return opened


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("mode", MODES)
def test_every_written_object_is_locked(name: str, mode: str, open_locked: OpenLocked) -> None:
    """Staged, created, published and empty objects get the bucket's default retention, also those of many uploads."""
    store, _, _ = open_locked(name, mode)
    put(store, "_staging/part")
    put(store, "_staging/empty", b"")
    put(store, "_staging/large", b"x" * (6 << 20))
    store.publish("_staging/part", "dt=1/part")
    store.publish("_staging/large", "dt=1/large")
    assert store.create("_manifests/1.json", b"{}")
    locks = dict(store.object_locks().read(store.list_keys("")))
    assert len(locks) == 6
    for lock in locks.values():
        assert lock.mode == mode
        assert timedelta(days=29) < lock.until - datetime.now(UTC) <= timedelta(days=30)


@pytest.mark.parametrize("name", SERVERS)
def test_removed_object_is_hidden_and_kept(name: str, open_locked: OpenLocked) -> None:
    """A removal succeeds and hides the object from every reading and listing; its version cannot be deleted."""
    store, server, bucket = open_locked(name)
    put(store, "_staging/part", b"whole")
    store.remove(["_staging/part"])
    assert (store.read("_staging/part"), list(store.list_keys(""))) == (None, [])
    assert dict(store.object_locks().read(["_staging/part"])) == {}
    (version,) = server.all_versions(bucket)
    assert (version["Key"], version["Size"], version["IsLatest"]) == ("x/_staging/part", 5, False)
    client = server.client()
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key="x/_staging/part", VersionId=version["VersionId"])
    assert store.create("_staging/part", b"again")
    assert store.read("_staging/part") == b"again"


@pytest.mark.parametrize("name", SERVERS)
def test_locks_of_single_objects_are_read(name: str, open_locked: OpenLocked) -> None:
    """A longer retention and a legal hold show; missing objects are left out, the order of the keys stays."""
    store, server, bucket = open_locked(name)
    for key in ("b", "a"):
        assert store.create(key, b"")
    until = (datetime.now(UTC) + timedelta(days=400)).replace(microsecond=0)
    client = server.client()
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    client.put_object_retention(Bucket=bucket, Key="x/a", Retention=retention, ChecksumAlgorithm="CRC32")
    client.put_object_legal_hold(Bucket=bucket, Key="x/b", LegalHold={"Status": "ON"}, ChecksumAlgorithm="CRC32")
    (first, held), (second, longer) = store.object_locks().read(["b", "none", "a"])
    assert (first, second) == ("b", "a")
    assert held.has_legal_hold
    assert longer == ObjectLock("COMPLIANCE", until)


def test_locks_of_many_objects_are_read_in_order(open_locked: OpenLocked) -> None:
    """More keys than are asked at once come back complete and in order."""
    store, _, _ = open_locked()
    keys = [f"k{number:03}" for number in range(120)]
    for key in keys[::40]:
        assert store.create(key, b"")
    assert [key for key, _ in store.object_locks().read(keys)] == keys[::40]


@pytest.mark.parametrize("name", SERVERS)
def test_bucket_without_object_lock_is_named(name: str, open_at: OpenStore) -> None:
    """An S3 bucket without Object Lock has a reader that says so; requiring locks is an error."""
    store = open_at(name, "/x")
    locks = object_locks_of(store)
    assert locks is not None
    assert not locks.is_enabled()
    with pytest.raises(ConfigurationError, match="has no Object Lock"):
        require_object_locks(store)


def test_store_without_object_lock_is_named(tmp_path: Any) -> None:
    """Local files and other file systems have no reader; requiring locks is an error."""
    for store in (LocalStore(str(tmp_path)), store_from_filesystem(fsspec.filesystem("memory"), "/x")):
        assert object_locks_of(store) is None
        with pytest.raises(ConfigurationError, match="has no Object Lock"):
            require_object_locks(store)


class _ClientError(Exception):
    """The error of botocore that s3fs translates, with the status where botocore has it."""

    def __init__(self, status: int) -> None:
        super().__init__("refused")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


class _Answering:
    """An s3fs whose bucket answers a request for its lock configuration with a status."""

    def __init__(self, status: int) -> None:
        self._status = status

    def split_path(self, path: str) -> tuple[str, str, None]:
        """Returns the bucket and the key."""
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def call_s3(self, method: str, **_: object) -> object:
        """Raises the answer as s3fs does."""
        raise OSError("refused") from _ClientError(self._status)


@pytest.mark.parametrize(
    ("status", "is_enabled"), [(403, True), (400, False), (404, False), (405, False), (501, False)]
)
def test_bucket_that_does_not_tell_is_asked_object_by_object(status: int, is_enabled: bool) -> None:
    """Without the permission to ask, locks may exist; a server that does not know the request has none."""
    assert S3ObjectLocks(_Answering(status), lambda key: f"bucket/{key}").is_enabled() is is_enabled


def test_unreachable_store_is_no_answer_about_locks() -> None:
    """A server error while locks are read is not taken for a bucket or an object without a lock."""
    locks = S3ObjectLocks(_Answering(503), lambda key: f"bucket/{key}")
    with pytest.raises(StorageUnavailableError):
        locks.is_enabled()
    with pytest.raises(StorageUnavailableError):
        list(locks.read(["key"]))


def test_copy_of_a_missing_object_is_an_error(open_locked: OpenLocked) -> None:
    """The copy of a missing object is an error, and nothing appears under the final key."""
    store, _, _ = open_locked()
    with pytest.raises(StorageError) as caught:
        store.publish("_staging/none", "dt=1/none")
    assert not isinstance(caught.value, StorageUnavailableError)
    assert list(store.list_keys("")) == []


def test_upload_without_integrity_header_is_a_permanent_error(open_locked: OpenLocked, servers: Servers) -> None:
    """A connection that switches CRC32 off cannot write here; the error has the server's own words."""
    fields = servers("s3-moto").fields()
    fields["extra"]["config_kwargs"] = {"request_checksum_calculation": "when_required"}
    store, _, _ = open_locked(fields=fields)
    with pytest.raises(StorageError, match="x-amz-sdk-checksum-algorithm header required") as caught:
        store.create("_manifests/1.json", b"{}")
    assert not isinstance(caught.value, StorageUnavailableError)
