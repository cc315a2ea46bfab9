"""CPU time of this provider's pull by stage, each without the stages that it calls.

Invariant: only functions that are called once a page or group are wrapped, so that measuring costs little.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

PACKAGE = "airflow_audit_provider"
# Name of the stage -> function that is wrapped.
STAGES = {
    "httpx: send, receive": "adapters.cloudflare.http:HttpTransport.send",
    "envelope → raw records": "core.api.responses:_read_envelope",
    "raw records → id, time, bytes": "core.api.responses:read_records",
    "page protocol: receive": "core.paging.window_reader:Paginator.receive",
    "page protocol: is_sorted": "core.paging.paginator:is_sorted",
    "page protocol: add": "core.paging.paginator:SeenRecords.add",
    "page protocol: inside": "core.paging.paginator:inside",
    "window reader: receive": "core.paging.window_reader:WindowReader.receive",
    "window reader: sort": "core.paging.window_reader:in_order",
    "window reader: inside": "core.paging.window_reader:inside",
    "slices: put together": "adapters.cloudflare.parallel:ParallelReader._fetch",
    "stage: filter, group": "pipelines.part_writer:PartWriter.add",
    "stage: digest of records": "pipelines.part_writer:PartWriter._encode",
    "stage: digest of part, write": "pipelines.part_writer:_OpenPart.write",
    "encode: jsonl": "formats.jsonl:JsonlEncoder.encode",
    "encode: csv": "formats.csv:CsvEncoder.encode",
    "encode: parquet": "formats.parquet:ParquetEncoder.encode",
    "encode: parquet row groups": "formats.parquet:ParquetEncoder._write_row_group",
    "encode: raw arrays": "formats.tables:RawRows.to_arrow",
    "encode: normalized arrays": "formats.tables:NormalizedRows.to_arrow",
    "encode: normalized columns": "formats.tables:normalize",
    "encode: ocsf events, arrays": "formats.tables:OcsfRows.to_arrow",
}
REST = "everything else"


class Stopwatch:
    """Adds up the CPU seconds of nested stages; each second belongs to the innermost one.

    ``missing`` names the stages that the package no longer has.
    """

    def __init__(self) -> None:
        self.spent_seconds: dict[str, float] = {}
        self.missing: list[str] = []
        self._open = [REST]
        self._last = time.thread_time()

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function wrapped by the stopwatch."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._turn(name)
            try:
                return function(*args, **kwargs)
            finally:
                self._turn(None)

        return timed

    def stop(self) -> dict[str, float]:
        """Returns the CPU seconds by stage."""
        self._turn(REST)
        return self.spent_seconds

    def _turn(self, entered: str | None) -> None:
        now = time.thread_time()
        self.spent_seconds[self._open[-1]] = self.spent_seconds.get(self._open[-1], 0.0) + now - self._last
        self._last = now
        if entered is None:
            self._open.pop()
        else:
            self._open.append(entered)


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """Wraps every stage during the block; the pull must stay in this thread."""
    watch = Stopwatch()
    with ExitStack() as stack:
        for name, place in STAGES.items():
            module, _, path = place.partition(":")
            *owners, attribute = path.split(".")
            owner: Any = importlib.import_module(f"{PACKAGE}.{module}")
            owner = functools.reduce(getattr, owners, owner)
            if hasattr(owner, attribute):
                stack.enter_context(mock.patch.object(owner, attribute, watch.around(name, getattr(owner, attribute))))
            else:
                watch.missing.append(name)
        yield watch
