"""A server-side copy on Azure counts when it is done; Azurite always is at once, so a stub takes its time here."""

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
    """A blob whose copy state is read from a script, the last of it again and again."""

    def __init__(self, statuses: list[str | None]) -> None:
        self.statuses = statuses
        self.asked: list[tuple[str, str]] = []

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    async def get_blob_properties(self) -> Any:
        """Return the next state of the copy."""
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return SimpleNamespace(copy=SimpleNamespace(status=status))

    def get_blob_client(self, container: str, blob: str) -> _Blob:
        """Note which blob is asked for."""
        self.asked.append((container, blob))
        return self


def _wait(statuses: list[str | None]) -> tuple[ManualClock, _Blob]:
    clock, blob = ManualClock(), _Blob(statuses)
    await_azure_copy(SimpleNamespace(service_client=blob, loop=fsspec.asyn.get_loop()), "bucket/a/b", clock)
    return clock, blob


@pytest.mark.parametrize("statuses", [["success"], [None], ["pending", "pending", "success"]])
def test_a_copy_is_waited_for(statuses: list[str | None]) -> None:
    """The blob itself is asked until its copy is done, with a pause between two questions."""
    question_count = len(statuses)
    start = ManualClock().now()
    clock, blob = _wait(statuses)
    assert blob.asked == [("bucket", "a/b")] * question_count
    assert (clock.now() - start).total_seconds() == 0.5 * (question_count - 1)


@pytest.mark.parametrize("statuses", [["failed"], ["pending", "aborted"], ["pending"]])
def test_a_copy_that_does_not_end_well_is_an_error(statuses: list[str | None]) -> None:
    """A copy that fails, is aborted or takes minutes is the retryable error, so that its source is not removed."""
    with pytest.raises(StorageUnavailableError, match=f"has the status {statuses[-1]}"):
        _wait(statuses)


def test_other_stores_are_not_asked() -> None:
    """A file system that is not Azure's has nothing to wait for."""
    await_azure_copy(fsspec.filesystem("memory"), "bucket/a/b")
