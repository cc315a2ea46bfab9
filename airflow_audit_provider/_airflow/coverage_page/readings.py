"""Reads datasets in the background, so that a slow store holds no request of the web server.

A reading is kept for a minute after its end, however long it took, so a page that is opened again costs the store
nothing.

Invariant: a request waits for a bounded time, and a bounded number of requests waits at a time; nothing is read twice
at the same time; the number of threads, and the number and weight of results that are kept, have bounds, however many
pages are requested.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.verification.findings import printable
from airflow_audit_provider.exceptions import AuditProviderError

log = logging.getLogger(__name__)
KEPT_SECONDS, WAITED_SECONDS = 60.0, 8.0
_MOST_AT_A_TIME = 4
# The API server has 40 threads for all of its requests, and each page that waits occupies one of them.
MOST_WAITING = 8
_WAITING = threading.BoundedSemaphore(MOST_WAITING)
# Readings that wait for their turn have a thread each.
_MOST_BEGUN, _MOST_KEPT = 64, 256
# Bytes, or what somebody estimates as bytes: results of enormous destinations would fill the memory together.
MOST_WEIGHT = 256 << 20
# After so long a reading begins although the others have not ended: stores that hang must not hold up all others.
_TURN_SECONDS = 30.0


_Result = TypeVar("_Result")


@dataclass(slots=True, weakref_slot=True, eq=False)
class Reading(Generic[_Result]):
    """What is read: ``result`` once it has ended well, ``error`` in words once it has failed.

    ``began`` and ``ended`` are seconds of the monotonic clock, ``ended`` once it is ``done``.
    """

    began_at: datetime
    began: float
    result: _Result | None = None
    weight: int = 0
    error: str = ""
    ended: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)


class Readings(Generic[_Result]):
    """Readings by name; how one is made is given with each start, and it may raise anything.

    ``weigh`` returns about how many bytes a result takes.
    """

    def __init__(
        self,
        clock: Clock,
        waited_seconds: float = WAITED_SECONDS,
        weigh: Callable[[_Result], int] | None = None,
    ) -> None:
        self._clock = clock
        self._waited_seconds = waited_seconds
        self._weigh = weigh
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(_MOST_AT_A_TIME)
        self._readings: dict[str, Reading[_Result]] = {}

    def start(self, name: str, read: Callable[[], _Result], *, again: bool = False) -> Reading[_Result]:
        """Returns the reading of a name; a new one, made by ``read``, if there is none, or if it has ended and is old.

        ``again`` makes a new one unless the present one has not ended. If too many have not ended, the result is one
        that never ends and is not waited for: a later request makes it.
        """
        with self._lock:
            found = self._readings.get(name)
            if found is not None and not (found.done.is_set() and (again or self._is_old(found))):
                return found
            self._forget_old()
            reading = Reading[_Result](self._clock.now(), self._clock.monotonic())
            if sum(not one.done.is_set() for one in self._readings.values()) >= _MOST_BEGUN:
                return self._postponed(reading)
            # A daemon: a store that never answers must not hold up the end of the server.
            thread = threading.Thread(target=self._run, args=(read, reading), daemon=True, name="audit-log-page")
            try:
                thread.start()
            except RuntimeError:
                # The operating system gives the server no more threads.
                return self._postponed(reading)
            self._readings.pop(name, None)
            self._readings[name] = reading
        return reading

    def _postponed(self, reading: Reading[_Result]) -> Reading[_Result]:
        reading.began -= self._waited_seconds
        return reading

    def wait(self, reading: Reading[_Result]) -> Reading[_Result]:
        """Waits until a reading has ended, or for the longest time that a page may take.

        Does not wait if too many requests of this process do: the page then says so and is opened again by itself.
        """
        if not reading.done.is_set() and _WAITING.acquire(blocking=False):
            try:
                reading.done.wait(max(0.0, reading.began + self._waited_seconds - self._clock.monotonic()))
            finally:
                _WAITING.release()
        return reading

    def _is_old(self, reading: Reading[_Result]) -> bool:
        """Returns whether a reading that has ended is kept no longer."""
        return self._clock.monotonic() - reading.ended > KEPT_SECONDS

    def _forget_old(self) -> None:
        """Drops readings that nobody would get, and the oldest of the others if they are too many or too heavy."""
        ended = [name for name, one in self._readings.items() if one.done.is_set()]
        left = MOST_WEIGHT
        for place, name in enumerate(reversed(ended)):
            left -= self._readings[name].weight
            is_beyond = place >= _MOST_KEPT or (left < 0 and place > 0)
            if is_beyond or self._is_old(self._readings[name]):
                del self._readings[name]

    def _run(self, read: Callable[[], _Result], reading: Reading[_Result]) -> None:
        has_slot = self._slots.acquire(timeout=_TURN_SECONDS)
        try:
            result = read()
            reading.weight = self._weigh(result) if self._weigh else 0
            reading.result = result
        except AuditProviderError as error:
            reading.error = error.own_words()
            log_detail(error)
        except Exception as error:
            # A library's error, whose text may hold a credential.
            log.warning("The coverage page could not read a dataset", exc_info=True)
            reading.error = (
                f"The destination could not be read ({type(error).__name__}). See the log of the API server for the "
                "reason, and check the destination's connection."
            )
        finally:
            if has_slot:
                self._slots.release()
            with self._lock:
                reading.ended = self._clock.monotonic()
                reading.done.set()
                self._forget_old()


def log_detail(error: AuditProviderError) -> None:
    """Logs an error if the page does not show all of it."""
    if error.own_words() != error.message:
        log.warning("The coverage page could not read a dataset. %s", printable(error.message))
