"""Many readings under way at once on a clock that only their waiting moves.

Invariant: what happens next is what is due first; nothing depends on the machine's speed or on threads.
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
    """Runs tasks, generators that yield the seconds until they want to go on, in the order of what is due."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._due: list[tuple[float, int, Task]] = []
        self._order = count()

    def now(self) -> datetime:
        """Return the wall clock's time."""
        return DEFAULT_START + timedelta(seconds=self.seconds)

    def start(self, task: Task) -> None:
        """Let a task go on as soon as everybody who is due before has."""
        self._put(0.0, task)

    def run(self) -> None:
        """Go on until no task is left."""
        while self._due:
            self.seconds, _, task = heapq.heappop(self._due)
            pause = next(task, None)
            if pause is not None:
                self._put(pause, task)

    def _put(self, pause: Pause, task: Task) -> None:
        heapq.heappush(self._due, (self.seconds + pause, next(self._order), task))


class Travel(NamedTuple):
    """Seconds that one answer takes, there and back, shortest and longest."""

    shortest_seconds: float = 0.0
    longest_seconds: float = 0.0


class Players:
    """So many workers that take readings from one row of scripts, each the next when it is done with one."""

    def __init__(self, time: VirtualTime, fake: FakeCloudflare, travel: Travel) -> None:
        self.refused_count = 0
        self.ended_at_seconds = 0.0
        self._time = time
        self._fake = fake
        self._travel = travel
        self._random = Random(7)

    def play(self, scripts: Iterable[FetchScript], worker_count: int) -> None:
        """Put the workers to work; they move when the time runs."""
        row = iter(scripts)
        for _ in range(worker_count):
            self._time.start(self._work(row))

    def _work(self, row: Iterator[FetchScript]) -> Task:
        for script in row:
            step = next(script, None)
            while step is not None:
                answer = None
                if isinstance(step, Wait):
                    yield step.seconds
                elif isinstance(step, Send):
                    there, back = self._trip()
                    yield there
                    answer = self._answer(step.request)
                    yield back
                moment = StepTime(self._time.now(), self._time.seconds, 0.5)
                try:
                    step = script.send(StepResult(moment, answer))
                except StopIteration:
                    step = None
            self.ended_at_seconds = self._time.seconds

    def _trip(self) -> tuple[float, float]:
        each = self._travel.shortest_seconds / 2
        late = self._random.uniform(0.0, self._travel.longest_seconds - self._travel.shortest_seconds)
        share = self._random.random()
        return each + late * share, each + late * (1 - share)

    def _answer(self, request: Request) -> Response:
        answer = self._fake.answer("GET", BASE_PATH + request.path, request.params, BEARER)
        self.refused_count += answer.status == 429
        return answer
