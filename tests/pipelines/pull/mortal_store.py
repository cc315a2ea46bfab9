"""A store and a transport that die at the Nth operation.

Invariant: every operation counts, and the one that kills does so before or after it took effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from airflow_audit_provider.core.ports import Request, Response, StagedObject, Store, Transport
from airflow_audit_provider.exceptions import StorageUnavailableError


class KilledError(BaseException):
    """The worker is gone: nothing after it runs, not even cleaning up."""


class Death:
    """Counts operations and ends one of them.

    ``at`` counts from 1 (0: never); ``late`` ends it after it took effect; ``for_good`` kills the worker, else the
    operation fails once as an unreachable store does.
    """

    def __init__(self, at: int = 0, *, late: bool = False, for_good: bool = True) -> None:
        self.operations: list[str] = []
        self._at = at
        self._late = late
        self._for_good = for_good

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Count one operation; die around it if it is the one."""
        if self._for_good and 0 < self._at <= len(self.operations):
            raise KilledError("long gone")
        self.operations.append(name)
        dies = len(self.operations) == self._at
        if dies and not self._late:
            raise self._error(name)
        yield
        if dies:
            raise self._error(name)

    def _error(self, name: str) -> BaseException:
        text = f"died at operation {self._at}, {name}"
        return KilledError(text) if self._for_good else StorageUnavailableError(f"The store {text}. Run again.")


class MortalStore:
    """A store around another one; satisfies the port."""

    def __init__(self, store: Store, death: Death) -> None:
        self._store = store
        self._death = death

    def read(self, key: str) -> bytes | None:
        """Read, if alive."""
        with self._death.operation(f"read {key}"):
            return self._store.read(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """List, if alive."""
        with self._death.operation(f"list {prefix}"):
            found = list(self._store.list_keys(prefix))
        return iter(found)

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """List with sizes, if alive."""
        with self._death.operation(f"list sizes {prefix}"):
            found = list(self._store.list_sizes(prefix))
        return iter(found)

    def stage(self, key: str) -> StagedObject:
        """Open an object that is as mortal, if alive."""
        with self._death.operation(f"stage {key}"):
            staged = self._store.stage(key)
        return _MortalObject(staged, self._death)

    def publish(self, staged_key: str, key: str) -> None:
        """Publish, if alive."""
        with self._death.operation(f"publish {key}"):
            self._store.publish(staged_key, key)

    def create(self, key: str, content: bytes) -> bool:
        """Create, if alive."""
        with self._death.operation(f"create {key}"):
            return self._store.create(key, content)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove one by one, if alive."""
        for key in keys:
            with self._death.operation(f"remove {key}"):
                self._store.remove([key])


class _MortalObject:
    def __init__(self, staged: StagedObject, death: Death) -> None:
        self.key = staged.key
        self._staged = staged
        self._death = death

    def write(self, content: bytes) -> None:
        with self._death.operation(f"write {self.key}"):
            self._staged.write(content)

    def close(self) -> None:
        with self._death.operation(f"close {self.key}"):
            self._staged.close()

    def discard(self) -> None:
        with self._death.operation(f"discard {self.key}"):
            self._staged.discard()


class MortalTransport:
    """A transport around another one; satisfies the port."""

    def __init__(self, transport: Transport, death: Death) -> None:
        self._transport = transport
        self._death = death

    def send(self, request: Request) -> Response:
        """Ask, if alive."""
        with self._death.operation(request.path):
            return self._transport.send(request)
