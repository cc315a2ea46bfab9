"""However many pages are requested, the threads and results of readings have bounds, and no credential is shown."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider._airflow.coverage_page import readings as readings_module
from airflow_audit_provider._airflow.coverage_page.readings import (
    KEPT_SECONDS,
    MOST_WAITING,
    MOST_WEIGHT,
    Reading,
    Readings,
)
from airflow_audit_provider._airflow.coverage_page.view_cache import ViewCache
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.testing.clock import ManualClock

SECRET = "Credential=hidden"


@pytest.fixture
def may_end() -> Iterator[threading.Event]:
    """An event that ends the readings of a test."""
    event = threading.Event()
    yield event
    event.set()


def test_readings_that_do_not_end_have_bounded_number_of_threads(may_end: threading.Event) -> None:
    """Requests for ever more pages of a store that hangs are answered at once, and later ones read again."""
    before = threading.active_count()
    readings = Readings[bool](SystemClock(), 600)
    started = [readings.start(str(number), lambda: may_end.wait(600)) for number in range(500)]
    assert threading.active_count() - before <= 64
    assert readings.wait(started[-1]).result is None
    may_end.set()
    for reading in started[:64]:
        assert reading.done.wait(60)
    assert readings.wait(readings.start("499", lambda: True)).result is True


def test_requests_that_wait_for_a_store_leave_threads_of_the_server(may_end: threading.Event) -> None:
    """Of 40 requests, which are all threads of the server, eight wait for a store that hangs, the others do not."""
    readings = [Readings[bool](SystemClock(), 600) for _ in range(2)]
    with ThreadPoolExecutor(40) as threads:
        waiting = [
            threads.submit(one.wait, one.start(str(number), lambda: may_end.wait(600)))
            for number in range(20)
            for one in readings
        ]
        for _ in range(40 - MOST_WAITING):
            waiting.remove(next(as_completed(waiting, timeout=60)))
        assert len(waiting) == MOST_WAITING
        assert not wait(waiting, timeout=0.2).done
        assert readings[0].wait(readings[0].start("late", bool)).result is None
        may_end.set()
    assert readings[0].wait(readings[0].start("19", bool)).result is True


def test_reading_behind_stores_that_hang_gets_its_turn(
    may_end: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any DAG author can create assets in stores that never answer."""
    monkeypatch.setattr(readings_module, "_TURN_SECONDS", 0.1)
    readings = Readings[bool](SystemClock(), 60)
    for number in range(10):
        readings.start(str(number), lambda: may_end.wait(600))
    assert readings.wait(readings.start("good", lambda: True)).result is True


def test_readings_of_many_pages_keep_bounded_number_of_results() -> None:
    """A result that is dropped is read again."""
    readings = Readings[int](SystemClock(), 60)
    first = readings.wait(readings.start("0", int))
    for number in range(1, 300):
        readings.wait(readings.start(str(number), int))
    assert readings.start("299", int).done.is_set()
    assert readings.start("0", int) is not first


def test_readings_of_large_destinations_keep_bounded_weight() -> None:
    """Two results that are heavier than the bound together are not both kept; the newest one is, whatever it weighs."""
    readings = Readings[int](SystemClock(), 60, lambda weight: weight)

    def read(name: str, weight: int) -> Reading[int]:
        return readings.wait(readings.start(name, lambda: weight))

    first, second = read("a", MOST_WEIGHT // 2 + 1), read("b", MOST_WEIGHT // 2 + 1)
    assert read("b", 0) is second
    assert read("a", 0) is not first
    heavy = read("c", 2 * MOST_WEIGHT)
    assert read("c", 0) is heavy
    assert read("b", 0) is not second


def test_reading_that_takes_minutes_is_kept_for_a_minute_after_its_end() -> None:
    """A destination of hundreds of thousands of keys is listed for minutes, and each refresh would begin again."""
    clock, may_end = ManualClock(), threading.Event()
    readings = Readings[bool](clock, 60)
    reading = readings.start("d", lambda: may_end.wait(60))
    clock.advance(300)
    may_end.set()
    assert reading.done.wait(60)
    clock.advance(KEPT_SECONDS)
    assert readings.start("d", lambda: True) is reading
    clock.advance(1)
    assert readings.start("d", lambda: True) is not reading


@pytest.fixture
def reading() -> Reading[int]:
    """A reading that has ended."""
    readings = Readings[int](SystemClock(), 60)
    return readings.wait(readings.start("d", int))


def test_view_of_one_reading_and_minute_is_computed_once(reading: Reading[int]) -> None:
    """Requests at the same time wait for one computation, and later ones of the same minute get its result."""
    cache, count, may_end = ViewCache(), 0, threading.Event()
    now = datetime(2026, 11, 30, 12, 0, 1, tzinfo=UTC)

    def compute(minute: datetime) -> datetime:
        nonlocal count
        count += 1
        may_end.wait(60)
        return minute

    with ThreadPoolExecutor(8) as threads:
        found = [threads.submit(cache.get, ("d",), reading, now, compute) for _ in range(8)]
        may_end.set()
    assert ({one.result() for one in found}, count) == ({now.replace(second=0)}, 1)
    cache.get(("d",), reading, now + timedelta(seconds=58), compute)
    assert count == 1
    cache.get(("d",), reading, now + timedelta(seconds=60), compute)
    other = Readings[int](SystemClock(), 60).start("d", int)
    cache.get(("d",), other, now + timedelta(seconds=60), compute)
    assert count == 3


def test_views_of_many_pages_are_bounded_and_keep_no_reading(reading: Reading[int]) -> None:
    """The oldest view is computed again, and the reading that views come from, which is large, is not kept."""
    cache, computed, references = ViewCache(), list[str](), sys.getrefcount(reading)
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)

    def noted(name: str, minute: datetime) -> datetime:
        computed.append(name)
        return minute

    def get(name: str) -> None:
        cache.get((name,), reading, now, lambda minute: noted(name, minute))

    for number in range(100):
        get(str(number))
    get("99")
    get("0")
    assert computed[99:] == ["99", "0"]
    assert sys.getrefcount(reading) == references


def test_reading_without_a_thread_is_made_by_later_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server at its limit of threads does not leave a dataset unread for ever."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    readings = Readings[int](SystemClock(), 60)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", start)
        assert readings.wait(readings.start("d", int)).result is None
    assert readings.wait(readings.start("d", int)).result == 0


@pytest.mark.parametrize("form", ["it failed (ValueError: {}). Check it.", "it failed ({}). Check it."])
def test_reading_that_fails_by_library_shows_its_kind_alone(form: str) -> None:
    """The message of the provider quotes the library's error, whose text may hold a credential."""

    def read() -> int:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise StorageError(form.format(error)) from error

    readings = Readings[int](SystemClock(), 60)
    assert readings.wait(readings.start("d", read)).error == "it failed (ValueError). Check it."
