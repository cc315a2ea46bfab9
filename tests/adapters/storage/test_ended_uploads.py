"""An upload whose completion is repeated after a lost response is complete, and one that was aborted can be retried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import FsspecStore
from airflow_audit_provider.exceptions import StorageError, StorageUnavailableError
from tests.adapters.storage.store_fixtures import OpenStore

LARGE = b"x" * (12 << 20)


class StatusError(Exception):
    """An error of a library for an HTTP response."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def _store(monkeypatch: pytest.MonkeyPatch, status: int, uploaded: bytes | None) -> FsspecStore:
    """Returns a store whose uploads end with this status, and with these bytes under the key."""
    fs = fsspec.filesystem("memory", skip_instance_cache=True)
    root = f"/{uuid4().hex}"
    store = FsspecStore(fs, root)
    if uploaded is not None:
        fs.pipe_file(f"{root}/a", uploaded)

    class _Ending:
        closed = False

        def write(self, content: bytes) -> None:
            """Takes bytes."""

        def close(self) -> None:
            """Does nothing."""

        def commit(self) -> None:
            """Ends with the status."""
            raise StatusError(status)

        def discard(self) -> None:
            """Does nothing."""

    monkeypatch.setattr(fs, "open", lambda *_, **__: _Ending())
    return store


@pytest.mark.parametrize("status", [404, 410])
def test_object_that_is_there_with_its_size_is_complete(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """The first completion succeeded, so the status of the repeated one is no error."""
    staged = _store(monkeypatch, status, b"12345").stage("a")
    staged.write(b"123")
    staged.write(b"45")
    staged.close()


@pytest.mark.parametrize("uploaded", [None, b"1234", b""])
def test_upload_that_was_aborted_can_be_retried(monkeypatch: pytest.MonkeyPatch, uploaded: bytes | None) -> None:
    """Without the object, or with another size, the error is retryable and says what may abort uploads."""
    staged = _store(monkeypatch, 404, uploaded).stage("a")
    staged.write(b"12345")
    with pytest.raises(StorageUnavailableError, match=r"ended before it was complete.*lifecycle rule"):
        staged.close()


def test_other_refusal_stays_permanent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing permission is no ended upload, although an object is there."""
    staged = _store(monkeypatch, 403, b"12345").stage("a")
    staged.write(b"12345")
    with pytest.raises(StorageError) as caught:
        staged.close()
    assert not caught.value.retryable


@pytest.fixture(params=["s3-moto", pytest.param("s3-localstack", marks=pytest.mark.nightly)])
def s3(request: pytest.FixtureRequest, open_at: OpenStore) -> Any:
    """A store on an S3 server."""
    return open_at(request.param, "/x")


def _losing_the_response(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a call that repeats the completion of an upload, as botocore does if its response is lost."""

    def call(method: str, *arguments: Any, **values: Any) -> Any:
        if method == "complete_multipart_upload":
            plain(method, *arguments, **values)
        return plain(method, *arguments, **values)

    return call


@pytest.mark.integration
def test_repeated_completion_of_a_large_upload_is_no_error(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large part is staged although the server no longer knows the upload that it completed."""
    fs = s3._fs
    monkeypatch.setattr(fs, "call_s3", _losing_the_response(fs.call_s3))
    staged = s3.stage("d/large")
    staged.write(LARGE)
    staged.close()
    assert s3.read("d/large") == LARGE
