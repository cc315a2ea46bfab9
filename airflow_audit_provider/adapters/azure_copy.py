"""Azure's server-side copy, which may go on after the request that asked for it was answered.

Knows: the copy state in the properties of an Azure blob, reached through an fsspec file system of adlfs.
Must not know: what is copied, any other store.
Its one rule: a copy counts when Azure says success; until then its source must not go.
"""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.exceptions import StorageUnavailableError

# Inside one account a copy is nearly always done at once; a part is at most some hundred megabytes.
_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 0.5


def await_azure_copy(fs: Any, path: str, clock: Clock | None = None) -> None:
    """Wait until the copy that made the blob at ``path`` is done; nothing to wait for on another store.

    Raises ``StorageUnavailableError`` for a copy that failed, was aborted, or takes longer than five minutes.
    """
    service = getattr(fs, "service_client", None)
    if service is None:
        return
    clock = clock or SystemClock()
    give_up_at = clock.monotonic() + _PATIENCE_SECONDS
    while (status := _copy_status(fs, service, path)) == "pending" and clock.monotonic() < give_up_at:
        clock.sleep(_PAUSE_SECONDS)
    if status not in {None, "success"}:
        raise StorageUnavailableError(
            f"Azure's copy to {path!r} is {status}. Nothing was removed; run the window again.", key=path
        )


def _copy_status(fs: Any, service: Any, path: str) -> str | None:
    container, _, blob = path.lstrip("/").partition("/")

    async def ask() -> str | None:
        async with service.get_blob_client(container=container, blob=blob) as client:
            status: str | None = (await client.get_blob_properties()).copy.status
            return status

    return asyncio.run_coroutine_threadsafe(ask(), fs.loop).result()
