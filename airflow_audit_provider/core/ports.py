"""What the core and the pipeline need of the world, as Protocols and plain values.

Knows: the shape of a request, an answer, a clock, an object store and a place to put bytes aside.
Must not know: who implements them.
Its one rule: no behaviour here; an adapter, a fake and a test double satisfy the same lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol


class Request(NamedTuple):
    """One GET: ``path`` below the API's base URL, starting with a slash; ``params`` in order, keys may repeat."""

    path: str
    params: tuple[tuple[str, str], ...] = ()


class Response(NamedTuple):
    """One whole answer: HTTP status, header fields with lower-case names, body bytes (content-decoded)."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request and waits for the whole answer, whatever its status.

    Raises :class:`~airflow_audit_provider.exceptions.SourceUnavailableError` when no whole answer came.
    """

    def send(self, request: Request) -> Response:
        """Send one GET; block until its answer is whole."""
        ...


class AsyncTransport(Protocol):
    """The same as :class:`Transport`, for a running event loop."""

    async def send(self, request: Request) -> Response:
        """Send one GET; suspend until its answer is whole."""
        ...


class Clock(Protocol):
    """Tells the time and waits. Only an adapter may read the machine's clock."""

    def now(self) -> datetime:
        """Return the wall-clock time, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never run backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block this thread for so many seconds."""
        ...

    async def asleep(self, seconds: float) -> None:
        """Suspend this coroutine for so many seconds."""
        ...

    def jitter(self) -> float:
        """Return a random number in [0, 1), so that many workers do not retry in step."""
        ...


class SpillStorage(Protocol):
    """Bytes put aside for the length of one pull; gone when it ends, however it ends."""

    def append(self, content: bytes) -> int:
        """Put bytes aside; return the offset they lie at."""
        ...

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes that were put aside, all that are asked for."""
        ...


class StagedObject(Protocol):
    """An object being written where no reader looks: visible under its key only after ``close``."""

    key: str

    def write(self, content: bytes) -> None:
        """Append bytes."""
        ...

    def close(self) -> None:
        """Make the object whole and visible under its key, durably."""
        ...

    def discard(self) -> None:
        """Give the object up and leave nothing; no error after ``close``."""
        ...


class Store(Protocol):
    """An object store seen from one destination: keys are relative to it, with forward slashes."""

    def read(self, key: str) -> bytes | None:
        """Return the whole object, or None when there is none."""
        ...

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix that ends in a slash, freshly listed, in sorted order."""
        ...

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the same keys, each with its object's size in bytes, freshly listed, sorted by key."""
        ...

    def stage(self, key: str) -> StagedObject:
        """Open an object for writing; nothing is visible before its ``close``."""
        ...

    def publish(self, staged_key: str, key: str) -> None:
        """Copy a closed object to its final key (a link or a server-side copy); idempotent.

        The staged object stays, so that a try that dies while it publishes can be gone on with.
        """
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Write a small object in one operation unless it exists; return whether this call created it."""
        ...

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; a key that is already gone is no error."""
        ...
