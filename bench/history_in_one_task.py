"""``python -m bench.history_in_one_task``: days landed by one task, beside a task for each day.

A task is the operator's ``execute`` with a plain context, in a process that is forked from one that has imported
Airflow's Task SDK, as a worker's is. The scheduler, the API server and the task's supervisor are not part of it, so
a real task a day costs more.

Invariant: both ways read the same fake, which has a process of its own, with the same arguments, into empty folders.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.contenders.ours import UNLIMITED
from bench.fake_server import Source, running_fake
from bench.meter import peak_bytes, read_meter, resident_bytes

DAY = timedelta(days=1)


class Run(NamedTuple):
    """What one way to land a number of days took."""

    way: str
    day_count: int
    task_count: int
    wall_seconds: float
    cpu_seconds: float
    request_count: int
    peak_mebibytes: int

    def row(self) -> str:
        """Returns the run as a row of a table."""
        return (
            f"| {self.day_count} days | {self.way} | {self.task_count} | {self.request_count} | "
            f"{self.cpu_seconds:.1f} s | {self.wall_seconds:.1f} s | {self.peak_mebibytes} MB |"
        )


class TaskFigures(NamedTuple):
    """What one task took."""

    cpu_seconds: float
    peak_mebibytes: int


def main() -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.history_in_one_task", description=__doc__)
    parser.add_argument("--days", type=int, nargs="+", default=[60, 540], help="numbers of days (60 540)")
    parser.add_argument("--records", type=int, default=500, help="records of a day (500)")
    parser.add_argument("--latency-ms", type=int, default=50, help="latency of each request (50)")
    given = parser.parse_args()
    lines = ["| history | way | tasks | requests | CPU | wall time | peak memory |", "|---|---|---|---|---|---|---|"]
    lines += [run.row() for run in measured(given.days, given.records, given.latency_ms)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def measured(day_counts: list[int], records: int = 500, latency_ms: int = 50) -> Iterator[Run]:
    """Yields the runs of both ways for each number of days; sets the connection of this process."""
    with TemporaryDirectory() as home, _fake_of_today(records, latency_ms) as source:
        _prepare_worker(Path(home), source)
        for day_count in day_counts:
            _warm(day_count)
            yield from _compare(source, day_count)


def run_task(folder: Path, start: datetime, end: datetime) -> TaskFigures:
    """Lands a range by day in this process."""
    began_with = read_meter()
    resident_bytes()
    from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

    operator = CloudflareAuditLogsToObjectStorageOperator(
        task_id="land",
        destination=f"file://{folder}",
        window_start=start,
        window_end=end,
        partition_by=None if end - start == DAY else "day",
    )
    operator.execute({})
    return TaskFigures(read_meter().cpu_seconds - began_with.cpu_seconds, peak_bytes() >> 20)


def _prepare_worker(home: Path, source: Source) -> None:
    """Imports what a worker has imported before it forks a task, and sets the connection."""
    job = source.job
    extra = {"account_id": job.account_id, "rate_limit_requests": UNLIMITED}
    connection = {"conn_type": "cloudflare", "host": job.base_url, "password": job.token, "extra": extra}
    os.environ["AIRFLOW_CONN_CLOUDFLARE_DEFAULT"] = json.dumps(connection)
    os.environ |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    from airflow.providers.common.compat.sdk import (  # noqa: F401 - a worker has them before it forks
        BaseHook,
        BaseOperator,
        ObjectStoragePath,
    )

    logging.disable(logging.WARNING)


def _compare(source: Source, day_count: int) -> Iterator[Run]:
    """Yields the run of a task for each day, and that of one task."""
    end = _end()
    start = end - day_count * DAY
    each_day = [(start + number * DAY, start + (number + 1) * DAY) for number in range(day_count)]
    for way, ranges in (("a task a day", each_day), ('one task, `partition_by="day"`', [(start, end)])):
        with TemporaryDirectory() as folder:
            request_count, began_at = source.request_count(), time.perf_counter()
            figures = [_task(Path(folder), *bounds) for bounds in ranges]
            wall_seconds = time.perf_counter() - began_at
            manifests = list(Path(folder).glob("_manifests/*/*.json"))
        if len(manifests) != day_count:
            raise RuntimeError(f"{len(manifests)} of {day_count} days were landed.")
        yield Run(
            way,
            day_count,
            len(ranges),
            wall_seconds,
            sum(one.cpu_seconds for one in figures),
            source.request_count() - request_count,
            max(one.peak_mebibytes for one in figures),
        )


def _task(folder: Path, start: datetime, end: datetime) -> TaskFigures:
    """Runs a task in a forked process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_run_and_send, args=(sender, folder, start, end))
    child.start()
    sender.close()
    figures: TaskFigures = receiver.recv()
    child.join()
    return figures


def _run_and_send(sender: Connection, folder: Path, start: datetime, end: datetime) -> None:
    # Airflow's own log lines of a call outside of its task runner.
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout = nowhere
        sender.send(run_task(folder, start, end))


def _warm(day_count: int) -> None:
    """Makes the fake generate the days before anything is measured."""
    with TemporaryDirectory() as folder:
        end = _end()
        _task(Path(folder), end - day_count * DAY, end)


def _fake_of_today(records_per_day: int, latency_ms: int) -> AbstractContextManager[Source]:
    """Returns a fake with the machine's date: a task refuses what lies before the retention."""
    return running_fake(records_per_day, latency_ms, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def _end() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAY


if __name__ == "__main__":
    raise SystemExit(main())
