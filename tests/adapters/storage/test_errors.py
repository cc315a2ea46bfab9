"""Errors of stores are retryable or not, by real libraries against servers that send each status."""

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
from tests.adapters.storage.real_stores import AzureServer, GcsServer, S3Server, Servers
from tests.adapters.storage.refusing_server import refusing
from tests.adapters.storage.serving import free_port
from tests.adapters.storage.store_fixtures import OpenStore, connect

pytestmark = pytest.mark.integration


def _stage(store: Store) -> None:
    staged = store.stage("m/1")
    staged.write(b"x")
    staged.close()


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("m/1"),
    "list": lambda store: list(store.list_keys("m/")),
    "list folders": lambda store: store.list_folders("m/"),
    "create": lambda store: store.create("m/1", b"x"),
    "publish": lambda store: store.publish("_staging/1", "m/1"),
    "remove": lambda store: store.remove(["m/1"]),
    "stage": _stage,
}
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries of the libraries without a pause."""
    plain = asyncio.sleep

    async def sleep(_delay: float, result: object = None) -> object:
        return await plain(0, result)

    monkeypatch.setattr(asyncio, "sleep", sleep)


@pytest.fixture
def store_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], FsspecStore]:
    """Opens a store on a server that no other fixture has started."""

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
def test_status_decides_whether_to_retry(
    kind: str, status: int, operation: str, store_at: Callable[[Any], FsspecStore]
) -> None:
    """A 403 is not retryable, a 429 or 5xx is; each error has the key."""
    with refusing(status, "json" if kind == "gcs" else "xml") as url:
        store = store_at(_server(kind, url))
        with pytest.raises(StorageError) as caught:
            OPERATIONS[operation](store)
    assert caught.value.retryable is (status != 403)
    assert caught.value.key in {"m/1", "m/", "_staging/1"}


@EVERY_OPERATION
@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
@pytest.mark.usefixtures("hasty")
def test_unreachable_store_is_retryable(kind: str, operation: str, store_at: Callable[[Any], FsspecStore]) -> None:
    """A port without a server is a retryable error with a remedy."""
    store = store_at(_server(kind, f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(StorageUnavailableError, match="reachable"):
        OPERATIONS[operation](store)


@pytest.mark.parametrize("name", ["s3-moto", "s3-localstack", "azurite", "gcs"])
@pytest.mark.parametrize("operation", ["create", "publish", "stage"])
def test_missing_bucket_fails(name: str, operation: str, open_at: OpenStore) -> None:
    """Writing to a bucket that does not exist is not retryable and says what to check."""
    store = open_at(name, "/x", bucket="no-such-bucket-here")
    with pytest.raises(StorageError, match="bucket or folder exists") as caught:
        OPERATIONS[operation](store)
    assert not caught.value.retryable


@EVERY_OPERATION
@pytest.mark.parametrize("name", ["s3rver", "azurite"])
def test_wrong_credential_fails(name: str, operation: str, open_at: OpenStore, servers: Servers) -> None:
    """A credential that a real server rejects is not retryable, and the error does not contain it."""
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
    """Answers a create with 409, as S3 does for one of two concurrent writes."""

    cachable = False
    other_wrote = True

    def pipe_file(self, path: str, value: bytes, **options: object) -> None:
        """Lets the other write succeed if ``other_wrote``, and rejects this one."""
        if self.other_wrote:
            super().pipe_file(path, b"the other's")
        raise _OddError(status_code=409)


def test_conflict_with_an_object_is_a_lost_create() -> None:
    """A create that gets 409 returns False if the object exists, because the other create has won."""
    store = FsspecStore(_Conflicting(), "/conflict")
    assert not store.create("m/1", b"mine")
    assert store.read("m/1") == b"the other's"


def test_conflict_without_an_object_is_retryable() -> None:
    """A create that gets 409 is retryable if the object does not exist, because its outcome is unknown."""
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
def test_status_is_found_in_errors_of_all_libraries(error: Exception, status: int | None) -> None:
    """The status in errors of azure-core, aiohttp, gcsfs and botocore is found, also in a cause."""
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
def test_errors_without_a_status_are_classified_by_type(error: Exception, retryable: bool) -> None:
    """A full disk and a lost connection are retryable; a read-only disk and a missing credential are not."""
    with pytest.raises(StorageError, match="'m/1'") as caught, translate_storage_errors("written", "m/1"):
        raise error
    assert caught.value.retryable is retryable
    assert caught.value.__cause__ is error


def test_context_of_an_error_is_not_its_cause() -> None:
    """A connection lost while a missing object is handled is a lost connection, not a missing object."""
    cut = ConnectionResetError("cut")
    cut.__context__ = FileNotFoundError("not there")
    with pytest.raises(StorageUnavailableError), translate_storage_errors("published", "m/1"):
        raise cut


def test_error_about_the_root_of_a_destination_names_it_by_a_slash() -> None:
    """A listing of the whole destination has no key, and its error names ``/`` instead of an empty text."""
    with (
        pytest.raises(StorageUnavailableError, match=r"^'/' could not be listed"),
        translate_storage_errors("listed", ""),
    ):
        raise ConnectionError("no route")
