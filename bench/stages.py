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
    "HTTP: send request, receive response": "adapters.cloudflare.http:HttpTransport.send",
    "JSON: split a response into records": "core.api.responses:_read_envelope",
    "JSON: read id and time of each record": "core.api.responses:read_records",
    "paging: process a page": "core.paging.window_reader:Paginator.receive",
    "paging: check the order": "core.paging.errors:is_sorted",
    "paging: remove duplicates": "core.paging.paginator:SeenRecords.add",
    "paging: select records in the range": "core.paging.paginator:inside",
    "window: process a page": "core.paging.window_reader:WindowReader.receive",
    "window: sort records": "core.paging.window_reader:in_order",
    "window: select records in the range": "core.paging.window_reader:inside",
    "combine slices fetched in parallel": "adapters.cloudflare.parallel:ParallelReader._fetch",
    "write: filter and group records": "pipelines.part_writer:PartWriter.add",
    "write: digest of the records": "pipelines.part_writer:PartWriter._encode",
    "write: digest of the part, write the file": "pipelines.part_writer:_OpenPart.write",
    "encode: JSON Lines": "formats.jsonl:JsonlEncoder.encode",
    "encode: CSV": "formats.csv:CsvEncoder.encode",
    "encode: Parquet": "formats.parquet:ParquetEncoder.encode",
    "encode: Parquet row groups": "formats.parquet:ParquetEncoder._write_row_group",
    "encode: Arrow arrays, raw": "formats.tables:RawRows.to_arrow",
    "encode: Arrow arrays, normalized": "formats.tables:NormalizedRows.to_arrow",
    "encode: compute normalized columns": "formats.tables:normalize",
    "encode: OCSF events, Arrow arrays": "formats.tables:OcsfRows.to_arrow",
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
