"""Interfaces to the outside world: requests and responses, transports, a clock, spill storage and an object store.

The module has no behaviour: adapters, the shipped fake and test doubles implement the same Protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

_Result = TypeVar("_Result")


class Request(NamedTuple):
    """One GET: ``path`` below the API's base URL, starting with a slash; ``params`` in order, keys may repeat."""

    path: str
    params: tuple[tuple[str, str], ...] = ()


class Response(NamedTuple):
    """One complete response: HTTP status, headers with lower-case names, and the content-decoded body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends a request and waits for the complete response, whatever its status.

    Raises :class:`~airflow_audit_provider.exceptions.SourceUnavailableError` if there is no complete response.
    """

    def send(self, request: Request) -> Response:
        """Sends one GET; blocks until the response is complete."""
        ...


class AsyncTransport(Protocol):
    """The same as :class:`Transport`, for an event loop."""

    async def send(self, request: Request) -> Response:
        """Sends one GET; suspends until the response is complete."""
        ...


class Clock(Protocol):
    """Reads the time and waits. Only an adapter reads the machine's clock."""

    def now(self) -> datetime:
        """Returns the wall-clock time, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Returns monotonic seconds from an arbitrary start."""
        ...

    def sleep(self, seconds: float) -> None:
        """Blocks this thread for ``seconds``."""
        ...

    async def asleep(self, seconds: float) -> None:
        """Suspends this coroutine for ``seconds``."""
        ...

    def jitter(self) -> float:
        """Returns a random number in [0, 1), so that many workers do not retry at the same moment."""
        ...


class SpillStorage(Protocol):
    """Temporary storage for bytes that exceed the memory limit; deleted when the pull ends, however it ends."""

    def append(self, content: bytes) -> int:
        """Appends bytes; returns their offset."""
        ...

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Returns exactly ``size_bytes`` bytes from an offset."""
        ...


class StagedObject(Protocol):
    """An object that is being written: visible under its key only after ``close``."""

    key: str

    def write(self, content: bytes) -> None:
        """Appends bytes."""
        ...

    def close(self) -> None:
        """Completes the object durably and makes it visible under its key."""
        ...

    def discard(self) -> None:
        """Deletes the unfinished object; no-op after ``close``."""
        ...


class ListedObject(NamedTuple):
    """An object as a listing states it; ``md5`` is the digest of its bytes in hex if the store states one.

    S3 with SSE-KMS (also with the AWS-managed key) or SSE-C states another text in the place of the digest.
    """

    key: str
    size_bytes: int
    md5: str | None = None


class Store(Protocol):
    """An object store below one destination: keys are relative to it, with forward slashes."""

    @property
    def is_remote(self) -> bool:
        """Whether each request is known to wait for a network, so that several are worth making at the same time."""
        ...

    def read(self, key: str) -> bytes | None:
        """Returns the whole object, None if it does not exist."""
        ...

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys below a prefix that ends in a slash, sorted and without caching."""
        ...

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yields the same keys, each with its object's size in bytes, sorted by key and without caching."""
        ...

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """Yields what a listing states about the same keys, sorted by key and without caching."""
        ...

    def list_folders(self, prefix: str) -> list[str]:
        """Returns the names of the folders directly below a prefix, sorted and without caching; lists no key.

        A folder may be among them although all its objects were removed.
        """
        ...

    def list_neighbours(self, prefixes: Sequence[str]) -> Iterator[str]:
        """Yields the keys below several prefixes that sort next to each other, by one listing if the store can."""
        ...

    def present(self, names: Collection[str]) -> Mapping[str, str | None]:
        """Returns which of these names at the top level may exist, by one listing if the store can.

        A name is an object's key, or a folder that ends in a slash. A name that is left out does not exist; a store
        that would have to ask for each returns all. The value is an object's MD5 digest in hex if the store states it.
        """
        ...

    def stage(self, key: str) -> StagedObject:
        """Opens an object for writing; nothing is visible before its ``close``."""
        ...

    def publish(self, staged_key: str, key: str) -> None:
        """Copies a closed object to its final key, by a link or a server-side copy; idempotent.

        The staged object stays, so that another attempt can resume if this one ends while it publishes.
        """
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Writes a small object in one operation unless it exists; returns whether this call created it."""
        ...

    def put(self, key: str, content: bytes) -> bool:
        """Writes a small object in one operation; returns whether the store has confirmed the digest of its bytes.

        Idempotent: the key has to contain the digest of the content. Without the confirmation, list the object.
        """
        ...

    def gather(self, calls: Sequence[Callable[[], _Result]]) -> list[_Result]:
        """Makes independent calls of this store and returns their results in order; side by side if it is remote."""
        ...

    def remove(self, keys: Iterable[str]) -> None:
        """Removes objects; a key that does not exist is ignored."""
        ...


class ObjectLock(NamedTuple):
    """Protection of an object by its store.

    ``mode`` is ``COMPLIANCE`` (nobody can end it early) or ``GOVERNANCE`` (a permission can), ``until`` is when it
    ends. A legal hold has no end date; a permission removes it. Without any of the three, the object is not protected.
    """

    mode: str | None = None
    until: datetime | None = None
    has_legal_hold: bool = False

    def is_active(self, now: datetime) -> bool:
        """Returns whether the store keeps the object at ``now``."""
        return self.has_legal_hold or (self.until is not None and self.until > now)


class ObjectLockReader(Protocol):
    """Reads the locks of a store's objects; only for stores that have object locks."""

    def is_enabled(self) -> bool:
        """Returns False if nothing in the bucket can be locked, True also if the connection may not ask."""
        ...

    def read(self, keys: Iterable[str]) -> Iterator[tuple[str, ObjectLock]]:
        """Yields the keys in their order with the lock of each object; leaves out objects that do not exist."""
        ...
