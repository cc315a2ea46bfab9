"""What a store refuses is told from what it cannot do now, by real libraries against servers that say so."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_audit_provider.adapters.storage.errors import status_of, translate_storage_errors
from airflow_audit_provider.adapters.storage.fsspec_store import FsspecStore
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import StorageError, StorageUnavailableError
from tests.adapters.storage.real_stores import AzureServer, GcsServer, S3Server
from tests.adapters.storage.refusing_server import refusing
from tests.adapters.storage.serving import free_port
from tests.adapters.storage.store_fixtures import OpenStore, Servers, connect

pytestmark = pytest.mark.integration


def _stage(store: Store) -> None:
    staged = store.stage("m/1")
    staged.write(b"x")
    staged.close()


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("m/1"),
    "list": lambda store: list(store.list_keys("m/")),
    "create": lambda store: store.create("m/1", b"x"),
    "publish": lambda store: store.publish("_staging/1", "m/1"),
    "remove": lambda store: store.remove(["m/1"]),
    "stage": _stage,
}
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries' own retries wait no time between each other."""
    plain = asyncio.sleep

    async def sleep(_delay: float, result: object = None) -> object:
        return await plain(0, result)

    monkeypatch.setattr(asyncio, "sleep", sleep)


@pytest.fixture
def store_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], FsspecStore]:
    """Open a store by a connection to a server that none of our fixtures started."""

    def opened(server: Any) -> FsspecStore:
        from airflow.sdk import ObjectStoragePath

        place = ObjectStoragePath(f"{server.scheme}://bucket/x", conn_id=connect(monkeypatch, server.fields()))
        return FsspecStore(place.fs, place.path)

    return opened


def _server(kind: str, url: str) -> Any:
    if kind == "azure":
        return AzureServer(url, "bm90IGEgcmVhbCBrZXk=")
    return GcsServer(url) if kind == "gcs" else S3Server(url)


@EVERY_OPERATION
@pytest.mark.parametrize("status", [403, 500, 503, 429])
@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
@pytest.mark.usefixtures("hasty")
def test_a_status_says_whether_to_try_again(
    kind: str, status: int, operation: str, store_at: Callable[[Any], FsspecStore]
) -> None:
    """A refusal is never retried, a store in trouble always; both are named, with the key."""
    with refusing(status, "json" if kind == "gcs" else "xml") as url:
        store = store_at(_server(kind, url))
        with pytest.raises(StorageError) as caught:
            OPERATIONS[operation](store)
    assert caught.value.retryable is (status != 403)
    assert caught.value.key in {"m/1", "m/", "_staging/1"}


@EVERY_OPERATION
@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
@pytest.mark.usefixtures("hasty")
def test_an_unreachable_store_is_retryable(kind: str, operation: str, store_at: Callable[[Any], FsspecStore]) -> None:
    """A server that nobody listens at is the retryable error, with the key and the mend."""
    store = store_at(_server(kind, f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(StorageUnavailableError, match="reachable"):
        OPERATIONS[operation](store)


@pytest.mark.parametrize("name", ["s3-moto", "s3-localstack", "azurite", "gcs"])
@pytest.mark.parametrize("operation", ["create", "publish", "stage"])
def test_a_missing_bucket_is_named(name: str, operation: str, open_at: OpenStore) -> None:
    """Writing to a bucket that is not there is refused for good, and says what to check."""
    store = open_at(name, "/x", bucket="no-such-bucket-here")
    with pytest.raises(StorageError, match="bucket or folder exists") as caught:
        OPERATIONS[operation](store)
    assert not caught.value.retryable


@EVERY_OPERATION
@pytest.mark.parametrize("name", ["s3rver", "azurite"])
def test_a_wrong_key_is_named(name: str, operation: str, open_at: OpenStore, servers: Servers) -> None:
    """A credential that a real server refuses is refused for good, and no part of it stands in the error."""
    wrong = servers(name).wrong_fields()
    store = open_at(name, "/x", fields=wrong)
    with pytest.raises(StorageError, match="connection") as caught:
        OPERATIONS[operation](store)
    assert not caught.value.retryable
    assert "not-the-key" not in str(caught.value)
    assert "AccountKey" not in str(caught.value)


class _OddError(Exception):
    def __init__(self, **facts: object) -> None:
        super().__init__("odd")
        self.__dict__.update(facts)


class _Conflicting(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Answers a create as S3 does to one of two under way, after the other took effect or before."""

    cachable = False
    other_wrote = True

    def pipe_file(self, path: str, value: bytes, **options: object) -> None:
        """Let the other one write, or not, and refuse this one for now."""
        if self.other_wrote:
            super().pipe_file(path, b"the other's")
        raise _OddError(status_code=409)


def test_a_conflict_is_lost_to_the_one_who_wrote() -> None:
    """A 409 with an object there is a no, because the other create that is under way takes effect."""
    store = FsspecStore(_Conflicting(), "/conflict")
    assert not store.create("m/1", b"mine")
    assert store.read("m/1") == b"the other's"


def test_a_conflict_with_nothing_there_is_tried_again() -> None:
    """A 409 with no object there says neither yes nor no, so it is the retryable error."""
    fs = _Conflicting()
    fs.other_wrote = False
    with pytest.raises(StorageUnavailableError):
        FsspecStore(fs, "/no-conflict").create("m/1", b"mine")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (_OddError(status_code=503), 503),
        (_OddError(status=429), 429),
        (_OddError(code=403), 403),
        (_OddError(response={"ResponseMetadata": {"HTTPStatusCode": 412}}), 412),
        (_OddError(code="404", status=200), None),
        (_OddError(response=None), None),
    ],
)
def test_a_status_is_found_where_libraries_keep_it(error: Exception, status: int | None) -> None:
    """The status of azure-core, aiohttp, gcsfs and botocore is found, also behind an error raised from theirs."""
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    assert (status_of(error), status_of(wrapped)) == (status, status)


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (OSError(errno.ENOSPC, "no space left"), True),
        (OSError(errno.EROFS, "read-only"), False),
        (OSError("Forbidden: said by gcsfs"), False),
        (ConnectionResetError("cut"), True),
        (TimeoutError("late"), True),
        (PermissionError("no"), False),
        (ValueError("spelled wrong"), False),
        (_OddError(status_code=409), True),
        (type("NoCredentialsError", (Exception,), {})("none"), False),
    ],
)
def test_what_no_server_said_is_judged_by_its_kind(error: Exception, retryable: bool) -> None:
    """A full disk and a cut line pass; a read-only disk and a missing credential do not."""
    with pytest.raises(StorageError, match="'m/1'") as caught, translate_storage_errors("written", "m/1"):
        raise error
    assert caught.value.retryable is retryable
    assert caught.value.__cause__ is error


def test_what_happened_before_an_error_is_not_its_cause() -> None:
    """A line that is cut while a missing object is looked into is no missing object."""
    cut = ConnectionResetError("cut")
    cut.__context__ = FileNotFoundError("not there")
    with pytest.raises(StorageUnavailableError), translate_storage_errors("published", "m/1"):
        raise cut
