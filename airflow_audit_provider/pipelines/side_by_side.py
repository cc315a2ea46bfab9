"""Reads and lists several objects of a store at the same time, if each request waits for a network.

Invariant: results come in the order of the keys, and no more than a fixed number of them is in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.core.ports import Clock, Store
from airflow_audit_provider.exceptions import ReadLimitExceededError

_Key = TypeVar("_Key")
_Result = TypeVar("_Result")
# A read of a small object from S3 takes some 30 ms, so a year of hourly windows takes a quarter of a minute.
_CONCURRENT_REQUESTS = 16
# Handing one key to a thread costs as much as reading a local file, so that thousands are handed over in groups.
_MOST_IN_GROUP = 8
# A small file on a local disk is read in 0.1 ms, one on a network file system in one or a few milliseconds. A single
# slow request proves nothing: it may have waited for the interpreter's lock.
_SLOW_SECONDS = 0.001
_SLOW_REQUESTS = 3
_CLOCK = SystemClock()


def each(
    store: Store, request: Callable[[_Key], _Result], keys: Sequence[_Key], clock: Clock = _CLOCK
) -> Iterator[_Result]:
    """Yields the result of a request for each key, in their order; the first error is raised and ends the requests.

    Requests to a remote store are made at the same time. Those to a local one are made one after the other, until three
    in a row are slow: a folder can be mounted over a network.
    """
    done_count = slow_count = 0
    while not store.is_remote and done_count < len(keys) and slow_count < _SLOW_REQUESTS:
        started_at = clock.monotonic()
        result = request(keys[done_count])
        is_slow = clock.monotonic() - started_at >= _SLOW_SECONDS
        slow_count = slow_count + 1 if is_slow else 0
        done_count += 1
        yield result
    yield from _in_threads(request, keys[done_count:])


def _in_threads(request: Callable[[_Key], _Result], keys: Sequence[_Key]) -> Iterator[_Result]:
    size = min(_MOST_IN_GROUP, -(-len(keys) // (4 * _CONCURRENT_REQUESTS)) or 1)
    groups = [keys[start : start + size] for start in range(0, len(keys), size)]
    if len(groups) <= 1:
        yield from map(request, keys)
        return
    pool = ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(groups)), thread_name_prefix="audit-log-store")
    pending: deque[Future[list[_Result]]] = deque()
    try:
        for group in groups:
            pending.append(pool.submit(lambda some: [request(key) for key in some], group))
            if len(pending) > 2 * _CONCURRENT_REQUESTS:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_each(store: Store, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Yields each key with the content of its object, None if it does not exist."""
    return zip(keys, each(store, store.read, keys), strict=True)


def read_each_within_bounds(
    store: Store, keys: Sequence[str]
) -> Iterator[tuple[str, bytes | ReadLimitExceededError | None]]:
    """Yields the same, with the error in the place of an object that is too large by itself for the store's bounds."""

    def read(key: str) -> bytes | ReadLimitExceededError | None:
        try:
            return store.read(key)
        except ReadLimitExceededError as error:
            if error.key is None:
                raise
            return error

    return zip(keys, each(store, read, keys), strict=True)


def list_each(store: Store, prefixes: Sequence[str]) -> list[str]:
    """Returns the keys below several prefixes."""
    return [key for keys in each(store, lambda prefix: list(store.list_keys(prefix)), prefixes) for key in keys]
