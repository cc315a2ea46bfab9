"""Server-side copies on Azure are waited for; Azurite copies at once, so a stub takes longer here."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace, TracebackType
from typing import Any

import fsspec.asyn
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import await_azure_copy
from airflow_audit_provider.exceptions import StorageUnavailableError
from airflow_audit_provider.testing.clock import ManualClock


class _Blob(AbstractAsyncContextManager["_Blob"]):
    """A blob whose copy has these statuses one after the other, and then the last one."""

    def __init__(self, statuses: list[str | None]) -> None:
        self.statuses = statuses
        self.requested: list[tuple[str, str]] = []

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes nothing."""

    async def get_blob_properties(self) -> Any:
        """Returns the next status of the copy."""
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return SimpleNamespace(copy=SimpleNamespace(status=status))

    def get_blob_client(self, container: str, blob: str) -> _Blob:
        """Records which blob is requested."""
        self.requested.append((container, blob))
        return self


def _wait(statuses: list[str | None]) -> tuple[ManualClock, _Blob]:
    clock, blob = ManualClock(), _Blob(statuses)
    await_azure_copy(SimpleNamespace(service_client=blob, loop=fsspec.asyn.get_loop()), "bucket/a/b", clock)
    return clock, blob


@pytest.mark.parametrize("statuses", [["success"], [None], ["pending", "pending", "success"]])
def test_copy_is_waited_for(statuses: list[str | None]) -> None:
    """The blob is polled until its copy is done, with a pause between polls."""
    poll_count = len(statuses)
    start = ManualClock().now()
    clock, blob = _wait(statuses)
    assert blob.requested == [("bucket", "a/b")] * poll_count
    assert (clock.now() - start).total_seconds() == 0.5 * (poll_count - 1)


@pytest.mark.parametrize("statuses", [["failed"], ["pending", "aborted"], ["pending"]])
def test_unfinished_copy_is_retryable(statuses: list[str | None]) -> None:
    """A copy that fails, is aborted or takes minutes is a retryable error, so that its source is not removed."""
    with pytest.raises(StorageUnavailableError, match=f"has the status {statuses[-1]}"):
        _wait(statuses)


def test_other_stores_are_not_polled() -> None:
    """A file system that is not Azure's returns at once."""
    await_azure_copy(fsspec.filesystem("memory"), "bucket/a/b")
