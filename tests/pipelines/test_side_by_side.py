"""Requests for several objects: side by side where they wait for a network, and one after the other where not."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import StorageUnavailableError
from airflow_audit_provider.pipelines.side_by_side import each
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.verify.memory_store import MemoryStore

KEYS = [f"{number:03}" for number in range(200)]


class Requests:
    """Requests that each take some seconds, and the keys that were asked for in the calling thread."""

    def __init__(self, seconds: float = 0.0, slow: Sequence[str] = ()) -> None:
        self.clock = ManualClock()
        self.in_this_thread: list[str] = []
        self._thread, self._seconds, self._slow = threading.get_ident(), seconds, slow

    def __call__(self, key: str) -> str:
        if threading.get_ident() == self._thread:
            self.in_this_thread.append(key)
            self.clock.sleep(1.0 if key in self._slow else self._seconds)
        return f"content of {key}"


def results(store: Store, requests: Requests) -> list[str]:
    """Returns the results of all keys."""
    return list(each(store, requests, KEYS, requests.clock))


def test_requests_to_a_remote_store_are_made_in_threads() -> None:
    """Each waits for the network, so none is made by the caller."""
    requests = Requests()
    assert results(MemoryStore(), requests) == [f"content of {key}" for key in KEYS]
    assert requests.in_this_thread == []


def test_requests_to_a_local_disk_are_made_by_the_caller() -> None:
    """To hand a request to a thread takes longer than to read a small file."""
    requests = Requests(0.0009)
    assert results(LocalStore("/nowhere"), requests) == [f"content of {key}" for key in KEYS]
    assert requests.in_this_thread == KEYS


@pytest.mark.parametrize("slow", [KEYS[:3], KEYS[7:10], KEYS[-3:]], ids=["first", "some", "last"])
def test_slow_folder_has_the_rest_of_its_requests_in_threads(slow: list[str]) -> None:
    """A folder that is mounted over a network is as slow as a remote store."""
    requests = Requests(0.0, slow)
    assert results(LocalStore("/nowhere"), requests) == [f"content of {key}" for key in KEYS]
    assert requests.in_this_thread == KEYS[: KEYS.index(slow[-1]) + 1]


def test_single_slow_requests_do_not_make_a_folder_slow() -> None:
    """A request can wait for the interpreter's lock."""
    requests = Requests(0.0, [*KEYS[::3], *KEYS[1::3]])
    assert results(LocalStore("/nowhere"), requests) == [f"content of {key}" for key in KEYS]
    assert requests.in_this_thread == KEYS


def test_time_that_the_caller_takes_does_not_count() -> None:
    """Only the request says how slow the folder is, not what is done with its result."""
    requests = Requests()
    for _ in each(LocalStore("/nowhere"), requests, KEYS, requests.clock):
        requests.clock.sleep(1.0)
    assert requests.in_this_thread == KEYS


@pytest.mark.parametrize("store", [MemoryStore(), LocalStore("/nowhere")], ids=["remote", "local"])
def test_first_error_ends_the_requests(store: Store) -> None:
    """The results before it come, and its error is raised."""
    asked: list[str] = []

    def fail(key: str) -> str:
        asked.append(key)
        if key == KEYS[50]:
            raise StorageUnavailableError("It cannot be read. Try again.")
        return key

    found: list[str] = []
    with pytest.raises(StorageUnavailableError):
        found.extend(each(store, fail, KEYS))
    assert found == KEYS[: len(found)]
    assert len(asked) < len(KEYS)
