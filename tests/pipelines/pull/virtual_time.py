"""Runs many readers at once on a virtual clock that advances only when they wait.

Invariant: tasks run in the order of their due times; nothing depends on threads or the machine's speed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import NamedTuple

from airflow_audit_provider.core.paging.fetch import FetchScript, Send, StepResult, StepTime, Wait
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.testing.clock import DEFAULT_START
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.routes import BASE_PATH
from airflow_audit_provider.testing.settings import TOKEN

BEARER = {"authorization": f"Bearer {TOKEN}"}
Pause = float
Task = Iterator[Pause]


class VirtualTime:
    """Runs tasks in the order of their due times; a task is a generator that yields seconds to wait."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._due: list[tuple[float, int, Task]] = []
        self._order = count()

    def now(self) -> datetime:
        """Returns the wall clock's time."""
        return DEFAULT_START + timedelta(seconds=self.seconds)

    def start(self, task: Task) -> None:
        """Starts a task after all tasks that are due now."""
        self._put(0.0, task)

    def run(self) -> None:
        """Runs until all tasks have ended."""
        while self._due:
            self.seconds, _, task = heapq.heappop(self._due)
            pause = next(task, None)
            if pause is not None:
                self._put(pause, task)

    def _put(self, pause: Pause, task: Task) -> None:
        heapq.heappush(self._due, (self.seconds + pause, next(self._order), task))


class Latency(NamedTuple):
    """Shortest and longest seconds from a request to its response."""

    shortest_seconds: float = 0.0
    longest_seconds: float = 0.0


class ReaderPool:
    """Workers that take scripts from one queue and drive each to its end."""

    def __init__(self, time: VirtualTime, fake: FakeCloudflare, latency: Latency) -> None:
        self.refused_count = 0
        self.ended_at_seconds = 0.0
        self._time = time
        self._fake = fake
        self._latency = latency
        self._random = Random(7)

    def start_workers(self, scripts: Iterable[FetchScript], worker_count: int) -> None:
        """Starts the workers; they advance while the virtual time runs."""
        queue = iter(scripts)
        for _ in range(worker_count):
            self._time.start(self._work(queue))

    def _work(self, queue: Iterator[FetchScript]) -> Task:
        for script in queue:
            step = next(script, None)
            while step is not None:
                response = None
                if isinstance(step, Wait):
                    yield step.seconds
                elif isinstance(step, Send):
                    there, back = self._draw_delays()
                    yield there
                    response = self._respond(step.request)
                    yield back
                moment = StepTime(self._time.now(), self._time.seconds, 0.5)
                try:
                    step = script.send(StepResult(moment, response))
                except StopIteration:
                    step = None
            self.ended_at_seconds = self._time.seconds

    def _draw_delays(self) -> tuple[float, float]:
        each = self._latency.shortest_seconds / 2
        late = self._random.uniform(0.0, self._latency.longest_seconds - self._latency.shortest_seconds)
        share = self._random.random()
        return each + late * share, each + late * (1 - share)

    def _respond(self, request: Request) -> Response:
        response = self._fake.answer("GET", BASE_PATH + request.path, request.params, BEARER)
        self.refused_count += response.status == 429
        return response
