"""Store and transport that crash or fail at the Nth operation.

Invariant: every operation counts; the chosen one crashes either before or after it takes effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from airflow_audit_provider.core.ports import ListedObject, Request, Response, StagedObject, Store, Transport
from airflow_audit_provider.exceptions import StorageUnavailableError

_Result = TypeVar("_Result")


class KilledError(BaseException):
    """Simulates a killed worker: a BaseException, so that no error handling of the package runs after it."""


class CrashPoint:
    """Counts operations and lets one of them crash or fail.

    ``at`` counts from 1, 0 means never. With ``after_effect`` the operation takes effect first. With ``is_kill`` the
    worker is killed and every later operation raises; without it the operation fails once as an unreachable store does.
    """

    def __init__(self, at: int = 0, *, after_effect: bool = False, is_kill: bool = True) -> None:
        self.operations: list[str] = []
        self._at = at
        self._after_effect = after_effect
        self._is_kill = is_kill

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Counts an operation; raises before or after it if it is the chosen one."""
        if self._is_kill and 0 < self._at <= len(self.operations):
            raise KilledError("killed earlier")
        self.operations.append(name)
        is_chosen = len(self.operations) == self._at
        if is_chosen and not self._after_effect:
            raise self._error(name)
        yield
        if is_chosen:
            raise self._error(name)

    def _error(self, name: str) -> BaseException:
        text = f"crashed at operation {self._at}, {name}"
        return KilledError(text) if self._is_kill else StorageUnavailableError(f"The store {text}. Run again.")


class CrashingStore:
    """Store that forwards to another one and crashes at the crash point."""

    def __init__(self, store: Store, crash: CrashPoint) -> None:
        self._store = store
        self._crash = crash

    @property
    def is_remote(self) -> bool:
        """Returns what the store says."""
        return self._store.is_remote

    def read(self, key: str) -> bytes | None:
        """Reads, unless killed."""
        with self._crash.operation(f"read {key}"):
            return self._store.read(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Lists keys, unless killed."""
        with self._crash.operation(f"list {prefix}"):
            found = list(self._store.list_keys(prefix))
        return iter(found)

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Lists keys and sizes, unless killed."""
        with self._crash.operation(f"list sizes {prefix}"):
            found = list(self._store.list_sizes(prefix))
        return iter(found)

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """Lists what the store states about objects, unless killed."""
        with self._crash.operation(f"list objects {prefix}"):
            found = list(self._store.list_objects(prefix))
        return iter(found)

    def list_folders(self, prefix: str) -> list[str]:
        """Lists folders, unless killed."""
        with self._crash.operation(f"list folders {prefix}"):
            return self._store.list_folders(prefix)

    def list_neighbours(self, prefixes: Sequence[str]) -> Iterator[str]:
        """Lists keys of several folders as one operation, unless killed."""
        with self._crash.operation(f"list {' '.join(prefixes)}"):
            found = list(self._store.list_neighbours(prefixes))
        return iter(found)

    def present(self, names: Collection[str]) -> Mapping[str, str | None]:
        """Looks names up as one operation, unless killed."""
        with self._crash.operation("list the top level"):
            return self._store.present(names)

    def stage(self, key: str) -> StagedObject:
        """Opens an object that has the same crash point, unless killed."""
        with self._crash.operation(f"stage {key}"):
            staged = self._store.stage(key)
        return _CrashingObject(staged, self._crash)

    def publish(self, staged_key: str, key: str) -> None:
        """Publishes, unless killed."""
        with self._crash.operation(f"publish {key}"):
            self._store.publish(staged_key, key)

    def create(self, key: str, content: bytes) -> bool:
        """Creates, unless killed."""
        with self._crash.operation(f"create {key}"):
            return self._store.create(key, content)

    def put(self, key: str, content: bytes) -> bool:
        """Writes, unless killed."""
        with self._crash.operation(f"put {key}"):
            return self._store.put(key, content)

    def gather(self, calls: Sequence[Callable[[], _Result]]) -> list[_Result]:
        """Makes the calls one after the other, so that each of them has a number."""
        return [call() for call in calls]

    def remove(self, keys: Iterable[str]) -> None:
        """Removes keys one by one, unless killed."""
        for key in keys:
            with self._crash.operation(f"remove {key}"):
                self._store.remove([key])


class _CrashingObject:
    def __init__(self, staged: StagedObject, crash: CrashPoint) -> None:
        self.key = staged.key
        self._staged = staged
        self._crash = crash

    def write(self, content: bytes) -> None:
        with self._crash.operation(f"write {self.key}"):
            self._staged.write(content)

    def close(self) -> None:
        with self._crash.operation(f"close {self.key}"):
            self._staged.close()

    def discard(self) -> None:
        with self._crash.operation(f"discard {self.key}"):
            self._staged.discard()


class CrashingTransport:
    """Transport that forwards to another one and crashes at the crash point."""

    def __init__(self, transport: Transport, crash: CrashPoint) -> None:
        self._transport = transport
        self._crash = crash

    def send(self, request: Request) -> Response:
        """Sends the request, unless killed."""
        with self._crash.operation(request.path):
            return self._transport.send(request)
