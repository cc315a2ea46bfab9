"""Counts the calls of an S3 client by kind and key, and how many of them had to wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4

import fsspec

from airflow_audit_provider.adapters.storage.fsspec_store import store_from_filesystem
from airflow_audit_provider.core.ports import Store
from tests.adapters.storage.real_stores import REGION

_DELAY_SECONDS = 0.1


class Call(NamedTuple):
    """One call: its operation, what it is about, and its depth, which is one more than that of all calls before it."""

    operation: str
    about: str
    depth: int


class CountedCalls:
    """The calls that an s3fs file system makes inside of :meth:`counting`, by events of its botocore client.

    A call's depth is one more than the greatest depth of the calls that had ended when it began. The greatest depth is
    the number of latencies that a run waits for. Each call is delayed, so that those that are made side by side overlap
    also on a machine that is slow to start a thread.
    """

    def __init__(self, fs: Any) -> None:
        self.calls: list[Call] = []
        self._client = fs.s3
        self._ended_depth = 0

        self._lock = Lock()

    @property
    def depth(self) -> int:
        """The number of calls that had to wait for each other."""
        return max((call.depth for call in self.calls), default=0)

    @contextmanager
    def counting(self) -> Iterator[CountedCalls]:
        """Counts from here to the end of the block; what was counted before is forgotten."""
        events = self._client.meta.events
        self.calls, self._ended_depth = [], 0
        events.register("before-call.s3", self._begin)
        events.register("after-call.s3", self._end)
        try:
            yield self
        finally:
            events.unregister("before-call.s3", self._begin)
            events.unregister("after-call.s3", self._end)

    async def _begin(self, model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        with self._lock:
            query = params.get("query_string") or {}
            about = params["url_path"] + str(query.get("prefix", ""))
            call = Call(model.name, about, self._ended_depth + 1)
            context["counted_depth"] = call.depth
            self.calls.append(call)
        await asyncio.sleep(_DELAY_SECONDS)

    def _end(self, context: dict[str, Any], **_: Any) -> None:
        with self._lock:
            self._ended_depth = max(self._ended_depth, context["counted_depth"])

    def __str__(self) -> str:
        return "\n".join(f"{call.depth} {call.operation} {call.about}" for call in self.calls)


class Bucket:
    """A destination in a new bucket of S3 by moto, with a client of its own that counts."""

    def __init__(self, server: Any) -> None:
        name = f"counted-{uuid4().hex[:12]}"
        server.make_bucket(name)
        where = {"endpoint_url": server.url, "region_name": REGION}
        fs = fsspec.filesystem(
            "s3", key=server.key_id, secret=server.key, client_kwargs=where, skip_instance_cache=True
        )
        self.store: Store = store_from_filesystem(fs, f"{name}/audit")
        self._calls = CountedCalls(fs)

    def calls_of(self, run: Callable[[], object]) -> CountedCalls:
        """Returns the calls of a run."""
        with self._calls.counting():
            run()
        return self._calls
