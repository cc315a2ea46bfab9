"""Processes that share one token: requests refused, and the share of the allowed rate that they use.

``python -m bench.shared_budget`` prints both for each store of the shared budget and without one. A server with a
limit of its own counts what arrives; the processes request single pages as fast as they are allowed.
"""

from __future__ import annotations

import argparse
import select
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.adapters.budget.file_store import FileBudgetStore
from airflow_audit_provider.adapters.budget.redis_store import RedisBudgetStore, RedisServer
from airflow_audit_provider.adapters.budget.shared_budget import SharedBudget
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.cloudflare.http import Credentials, Endpoint, HttpTransport, open_client
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.api.token_budget import BudgetStore, SharedRateLimiter, token_digest
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import SinglePageReader
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.testing import FakeCloudflare, FakeServer, Settings
from airflow_audit_provider.testing.faults import Exchange
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN

FILE, REDIS, NONE = "file", "redis", "none"
# For the time that a block takes: it lasts as long as the period, so five periods and a block are 75 s before the last
# requests are free.
BLOCK_LIMIT = RateLimit(60, 15.0)
BLOCK_BOUND_SECONDS = 5 * BLOCK_LIMIT.period_seconds
# All processes begin together, this long after the last one has imported its libraries.
START_SECONDS = 0.2


class SharerJob(NamedTuple):
    """Work of one process; ``store`` is ``none`` or an address such as ``file:/tmp/folder``."""

    base_url: str
    store: str
    seconds: float
    thread_count: int = 4
    lease_seconds: float = 3.0


class Sharing(NamedTuple):
    """What came of a run: requests by status, process and window, the share of the allowed rate, and the outages."""

    statuses: Counter[int]
    by_sharer: list[int]
    by_window: list[int]
    share: float
    outages: list[str]
    answered_seconds: list[float]

    @property
    def refused_count(self) -> int:
        """Requests that were answered with 429."""
        return self.statuses[429]


class TimedFake(FakeCloudflare):
    """Fake that keeps the time and the status of each request."""

    def __init__(self, limit: RateLimit, block_seconds: float, latency_ms: int = 20) -> None:
        settings = Settings(
            requests_per_window=limit.request_count,
            window_seconds=limit.period_seconds,
            block_seconds=block_seconds,
            latency_ms=latency_ms,
            records_per_day=0,
        )
        super().__init__(SystemClock().now, settings)
        self.limit = limit
        self.seen: list[tuple[float, int]] = []

    def exchange(self, method: str, path: str, params: Any, headers: Mapping[str, str]) -> Exchange:
        """Responds to one request."""
        at = time.monotonic()
        found = super().exchange(method, path, params, headers)
        self.seen.append((at, found.response.status))
        return found

    def windows(self) -> list[int]:
        """Returns the number of answered requests in each window."""
        times = self._answered_at()
        starts = self._window_starts(times)
        return [bisect_left(times, end) - bisect_left(times, start) for start, end in pairwise([*starts, inf])]

    def share(self) -> float:
        """Returns the answered requests before the last window, as a share of what the limit allows in that time."""
        starts = self._window_starts(self._answered_at())
        elapsed_seconds = starts[-1] - starts[0]
        count = sum(self.windows()[:-1])
        return count * self.limit.period_seconds / (self.limit.request_count * elapsed_seconds) if count else 0.0

    def answered_seconds(self) -> list[float]:
        """Returns the times of all answered requests, from the first one on."""
        times = self._answered_at()
        return [at - times[0] for at in times]

    def _answered_at(self) -> list[float]:
        return sorted(at for at, status in self.seen if status == 200)

    def _window_starts(self, times: list[float]) -> list[float]:
        starts = times[:1]
        for at in times:
            if at >= starts[-1] + self.limit.period_seconds:
                starts.append(at)
        return starts


class _Events:
    """Keeps the outages of a budget."""

    def __init__(self) -> None:
        self.outages: list[str] = []

    def on_outage(self, reason: str) -> None:
        """Keeps the reason."""
        self.outages.append(reason)

    def on_recovery(self) -> None:
        """Does nothing."""

    def on_problem(self, problem: str) -> None:
        """Keeps the problem."""
        self.outages.append(problem)


def open_store(address: str) -> BudgetStore:
    """Returns the store of an address such as ``file:/tmp/folder``."""
    kind, _, place = address.partition(":")
    if kind == REDIS:
        host, _, port = place.partition(":")
        return RedisBudgetStore(RedisServer(host, int(port)), token_digest("", "", TOKEN))
    return FileBudgetStore([Path(place)], token_digest("", "", TOKEN), SystemClock())


def work(job: SharerJob) -> dict[str, Any]:
    """Requests pages until the end of a job; returns the number of pages and the outages of the budget.

    Says that it is ready, begins at the monotonic time that it reads then, and ends early if its input is closed.
    """
    clock, events = SystemClock(), _Events()
    limiter = RateLimiter()
    if job.store != NONE:
        limiter = SharedRateLimiter(None, SharedBudget(open_store(job.store), None, job.lease_seconds, clock, events))
    counts: list[int] = []
    with open_client(Endpoint(Credentials(TOKEN), job.base_url)) as client:
        reader = AuditLogReader(HttpTransport(client), clock, limiter, RetryLimits())
        print("ready", flush=True)
        start_at = float(sys.stdin.readline())
        stop_at = start_at + job.seconds
        threads = [
            threading.Thread(target=_request_pages, args=(reader, stop_at, counts), daemon=True)
            for _ in range(job.thread_count)
        ]
        time.sleep(max(0.0, start_at - time.monotonic()))
        for thread in threads:
            thread.start()
        select.select([sys.stdin], [], [], max(0.0, stop_at - time.monotonic()))
        reader.cancel()
        for thread in threads:
            thread.join(5)
    return {"pages": len(counts), "outages": events.outages}


def _request_pages(reader: AuditLogReader, stop_at: float, counts: list[int]) -> None:
    window = TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
    query = audit_query("v1", "account", account_id=ACCOUNT_ID)
    with suppress(CancelledError):
        while time.monotonic() < stop_at:
            for _ in reader.read(query, SinglePageReader(ReadRequest(ApiVersion.V1, window))):
                pass
            counts.append(1)


@contextmanager
def running(jobs: list[SharerJob]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Starts one process for each job, lets them begin together, and ends those that remain."""
    processes = []
    try:
        for job in jobs:
            command = [sys.executable, "-m", "bench.shared_budget", "--job", msgspec.json.encode(job).decode()]
            processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        for sharer in processes:
            assert sharer.stdout is not None
            sharer.stdout.readline()
        start_at = f"{time.monotonic() + START_SECONDS}\n".encode()
        for sharer in processes:
            assert sharer.stdin is not None
            sharer.stdin.write(start_at)
            sharer.stdin.flush()
        yield processes
    finally:
        for sharer in processes:
            sharer.kill()
            sharer.wait()


def share_token(
    store: str,
    limit: RateLimit,
    seconds: float,
    sharer_count: int = 8,
    meanwhile: Callable[[list[subprocess.Popen[bytes]], TimedFake], None] | None = None,
) -> Sharing:
    """Lets processes share a token for some seconds.

    ``meanwhile`` is called while they run; they end when it returns.
    """
    fake = TimedFake(limit, limit.period_seconds)
    with FakeServer(fake) as server:
        job = SharerJob(server.base_url, store, seconds)
        with running([job] * sharer_count) as processes:
            if meanwhile is not None:
                meanwhile(processes, fake)
            else:
                for sharer in processes:
                    sharer.wait(seconds + 120)
            outputs = [sharer.communicate(timeout=seconds + 120)[0] for sharer in processes]
    reports = [msgspec.json.decode(output) for output in outputs if output]
    outages = [outage for report in reports for outage in report["outages"]]
    statuses = Counter(status for _, status in fake.seen)
    pages = [report["pages"] for report in reports]
    return Sharing(statuses, pages, fake.windows(), fake.share(), outages, fake.answered_seconds())


def await_answers(fake: TimedFake, count: int, seconds: float) -> None:
    """Waits until so many requests are answered, or the seconds have passed."""
    give_up_at = time.monotonic() + seconds
    while sum(status == 200 for _, status in list(fake.seen)) < count and time.monotonic() < give_up_at:
        time.sleep(0.02)


def exceed_limit(fake: TimedFake, after_count: int) -> int:
    """Uses the token as another client until it is blocked, once so many requests have arrived.

    Returns how many requests of that client were answered.
    """
    while len(fake.seen) < after_count:
        time.sleep(0.01)
    headers = {"authorization": f"Bearer {TOKEN}"}
    answered_count = 0
    while fake.exchange("GET", "/client/v4/user/tokens/verify", (), headers).response.status != 429:
        answered_count += 1
    return answered_count


def seconds_with_block(store: str, sharer_count: int = 8) -> tuple[float, Sharing]:
    """Returns how long processes take for the requests of five periods if the token is blocked after two of them.

    The least possible time is the begin of the fifth period plus the block: ``BLOCK_BOUND_SECONDS``.
    """
    others = 0

    def block(_processes: list[subprocess.Popen[bytes]], fake: TimedFake) -> None:
        nonlocal others
        others = exceed_limit(fake, 2 * BLOCK_LIMIT.request_count)
        await_answers(fake, 5 * BLOCK_LIMIT.request_count + others, 2 * BLOCK_BOUND_SECONDS)

    found = share_token(store, BLOCK_LIMIT, 2 * BLOCK_BOUND_SECONDS, sharer_count, block)
    wanted = 5 * BLOCK_LIMIT.request_count + others
    times = found.answered_seconds
    return (times[wanted - 1] if len(times) >= wanted else float("inf")), found


def _print_blocks(stores: Mapping[str, str], sharer_count: int) -> None:
    print(f"| store | refused | seconds for {5 * BLOCK_LIMIT.request_count} requests | least possible |")
    print("|---|---|---|---|")
    for name, address in stores.items():
        seconds, found = seconds_with_block(address, sharer_count)
        print(f"| {name} | {found.refused_count} | {seconds:.1f} | {BLOCK_BOUND_SECONDS:.0f} |", flush=True)
        if found.outages:
            print(found.outages, file=sys.stderr)


def main() -> None:
    """Runs one job, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--limit", action="append", help="requests/seconds, such as 100/10")
    parser.add_argument("--store", action="append")
    parser.add_argument("--block", action="store_true", help="have the token blocked once, and print the time")
    parser.add_argument("--redis", help="host:port of a server to measure as well")
    arguments = parser.parse_args()
    if arguments.job is not None:
        print(msgspec.json.encode(work(msgspec.json.decode(arguments.job, type=SharerJob))).decode())
        return
    with TemporaryDirectory() as folder:
        (Path(folder) / "budget").mkdir(mode=0o700)
        stores = {NONE: NONE, FILE: f"file:{folder}/budget"}
        if arguments.redis:
            stores[REDIS] = f"redis:{arguments.redis}"
        if arguments.block:
            _print_blocks({name: stores[name] for name in arguments.store or stores}, arguments.processes)
            return
        print("| store | limit | requests | refused | share of the allowed rate | least and most of a process |")
        print("|---|---|---|---|---|---|")
        for text in arguments.limit or ["10/1", "100/10", "60/15"]:
            count, _, period = text.partition("/")
            for name in arguments.store or stores:
                found = share_token(
                    stores[name], RateLimit(int(count), float(period)), arguments.seconds, arguments.processes
                )
                pages = found.by_sharer
                print(
                    f"| {name} | {count} in {period} s | {found.statuses.total()} | {found.refused_count} | "
                    f"{found.share:.1%} | {min(pages)}, {max(pages)} |",
                    flush=True,
                )
                if found.outages:
                    print(found.outages, file=sys.stderr)


if __name__ == "__main__":
    main()
