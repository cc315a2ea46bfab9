"""``python -m bench.eighteen_months``: a backfill of 18 months by a real Airflow, with two outages.

The scheduler, the API server and the other components of Airflow run with LocalExecutor and PostgreSQL; the backfill is
created by ``airflow backfill create``. The fake's clock is scaled: it allows 1200 requests in a period that is shorter
than 300 s, and announces that limit in its headers, which the provider follows as it follows those of the real API.

Invariant: the run counts only if each day has exactly the records that the fake has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import CLOUDFLARE_LIMIT
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN
from bench.eighteen_months.source import DAY, OUTAGE, PAGE_CEILING, HistorySource, Setup, rate_use
from harness.airflow_environment import Ports, airflow_environ
from harness.airflow_instance import ENDED, AirflowInstance, CommandFailedError, TooLateError
from harness.child_processes import ChildDiedError, Children, free_ports
from harness.landed import landed_windows, part_lines
from harness.log_files import tail
from tests.live.airflow_home import Home
from tests.live.postgres import running_postgres

DAG_ID = "eighteen_months"
FIGURES = Path(__file__).with_name("figures.json")
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "eighteen-months.md"
# The outages begin when these shares of the days are committed.
API_OUTAGE_AT, MACHINE_OUTAGE_AT = 0.3, 0.65
# Airflow's own time-outs of 300 s, on the scaled clock.
_AIRFLOW_SECONDS = 300.0
WITHIN_SECONDS = 7200.0
GOAL_SHARE = 0.97


class Backfill:
    """A running backfill: its Airflow, its source and its destination."""

    def __init__(self, instance: AirflowInstance, source: HistorySource, destination: Path) -> None:
        self.instance = instance
        self.source = source
        self.destination = destination
        self.pauses: list[tuple[float, float]] = []
        self.recovery_seconds: list[float] = []

    def run(self) -> None:
        """Runs the backfill to its end, with an outage of the API and one of the machine that runs the tasks."""
        setup = self.source.setup
        last = self.source.end - setup.days_a_run * DAY
        self.instance.unpause(DAG_ID)
        self.instance.backfill(DAG_ID, self.source.start.date(), last.date(), setup.side_by_side)
        self._await_share(API_OUTAGE_AT)
        with self._outage():
            self.source.misbehave(PAGE_CEILING, OUTAGE)
            time.sleep(setup.seconds(setup.api_outage_minutes))
            self.source.misbehave(PAGE_CEILING)
        self._await_share(MACHINE_OUTAGE_AT)
        with self._outage():
            self.instance.children.kill("scheduler")
            time.sleep(setup.seconds(setup.machine_outage_minutes))
            self.instance.start("scheduler", "scheduler")
        self.instance.wait(self._has_ended, WITHIN_SECONDS, "all runs to end")

    def committed_count(self) -> int:
        """Returns the number of committed days."""
        return len(list(self.destination.glob("_manifests/*/*.json")))

    @contextmanager
    def _outage(self) -> Iterator[None]:
        """Keeps the time from the beginning of an outage to the first request that is answered after it."""
        began_at = time.monotonic()
        yield
        ended_at = time.monotonic()
        known = self.source.statuses()[200]
        self.instance.wait(lambda: self.source.statuses()[200] > known, WITHIN_SECONDS, "a request after an outage")
        answered_at = self.source.answered_at()[known]
        self.pauses.append((began_at, answered_at))
        self.recovery_seconds.append(answered_at - ended_at)

    def _await_share(self, share: float) -> None:
        wanted = share * self.source.setup.day_count
        self.instance.wait(lambda: self.committed_count() >= wanted, WITHIN_SECONDS, f"{wanted:.0f} committed days")

    def _has_ended(self) -> bool:
        runs = self.instance.runs(DAG_ID)
        wanted = -(-self.source.setup.day_count // self.source.setup.days_a_run)
        return len(runs) >= wanted and all(run.state in ENDED for run in runs)


def measure(setup: Setup) -> dict[str, Any]:
    """Runs the backfill in a temporary folder; returns its figures, and raises RuntimeError if a record is missing."""
    source = HistorySource(setup)
    with TemporaryDirectory() as folder, FakeServer(source) as server, running_postgres() as database:
        home = Home(Path(folder) / "home", Path(sys.prefix))
        for path in (home.dags, home.logs, home.landed):
            path.mkdir(parents=True)
        shutil.copy(Path(__file__).parent / "dags" / f"{DAG_ID}.py", home.dags)
        with Children(home.logs) as children:
            instance = _started(home, children, server.base_url, setup, database)
            backfill = Backfill(instance, source, home.landed / DAG_ID)
            began_at = time.monotonic()
            with _logs_in_errors(home):
                backfill.run()
            elapsed_seconds = time.monotonic() - began_at
            states = [run.state for run in instance.runs(DAG_ID)]
        figures = _figures(backfill, elapsed_seconds, states)
        _check(backfill)
    return figures


@contextmanager
def _logs_in_errors(home: Home) -> Iterator[None]:
    """Adds the ends of the components' logs to an error, because the folder is removed with them."""
    try:
        yield
    except (TooLateError, CommandFailedError, ChildDiedError) as error:
        error.add_note("\n".join(f"{log.name}:\n{tail(log, 30)}" for log in sorted(home.logs.glob("*.log"))))
        raise


def _started(home: Home, children: Children, base_url: str, setup: Setup, database: str) -> AirflowInstance:
    """Starts an Airflow; returns it when it is healthy."""
    ports = free_ports(3)
    extra = {"account_id": ACCOUNT_ID}
    connection = {"conn_type": "cloudflare", "host": base_url, "password": TOKEN, "extra": extra}
    environ = airflow_environ(os.environ, home, Ports(*ports), connection, f"{datetime.now(UTC) + DAY:%Y-%m-%d}")
    scaled_seconds = f"{_AIRFLOW_SECONDS / setup.clock_scale:.0f}"
    environ |= {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CORE__PARALLELISM": str(setup.side_by_side),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": scaled_seconds,
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": scaled_seconds,
        "BENCH_DESTINATION": (home.landed / DAG_ID).as_uri(),
        "BENCH_DAYS_A_RUN": str(setup.days_a_run),
        "BENCH_RETRY_SECONDS": scaled_seconds,
    }
    instance = AirflowInstance(home, children, environ, f"http://127.0.0.1:{ports[0]}")
    instance.migrate()
    instance.start_api()
    instance.start_workers()
    instance.wait_until_healthy()
    return instance


def _figures(backfill: Backfill, elapsed_seconds: float, states: list[str]) -> dict[str, Any]:
    source = backfill.source
    use, statuses = rate_use(source.answered_at(), backfill.pauses, source.setup), source.statuses()
    return {
        "measured_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, CPython {platform.python_version()}",
        "setup": source.setup._asdict(),
        "states": {state: states.count(state) for state in sorted(set(states))},
        "day_count": backfill.committed_count(),
        "record_count": sum(window.record_count for window in landed_windows(backfill.destination)),
        "request_count": statuses[200],
        "refused_count": statuses[429],
        "failed_count": statuses[503],
        "repeated_count": source.repeated_count(),
        "elapsed_seconds": round(elapsed_seconds, 1),
        "recovery_seconds": [round(seconds, 1) for seconds in backfill.recovery_seconds],
        "period_counts": use.counts,
        "share": round(use.share, 4),
    }


def _check(backfill: Backfill) -> None:
    """Compares the landed records with the fake's; raises RuntimeError for a difference."""
    source = backfill.source
    findings = verify(LocalStore(str(backfill.destination))).findings
    days = {window.day: window for window in landed_windows(backfill.destination)}
    if findings or len(days) != source.setup.day_count:
        raise RuntimeError(f"{len(days)} days are committed; verify finds {list(findings)[:3]}.")
    for number in range(source.setup.day_count):
        day = source.start + number * DAY
        landed = [json.loads(line)["id"] for part in days[f"{day:%Y-%m-%d}"].parts for line in part_lines(part)]
        if landed != [row.id for row in source.truth("v1", None, day, day + DAY)]:
            raise RuntimeError(f"The records of {day:%Y-%m-%d} are not those of the fake.")


def document(figures: dict[str, Any]) -> str:
    """Returns the page of these figures."""
    setup = Setup(**figures["setup"])
    counts = figures["period_counts"]
    return PAGE_TEXT.format(
        **{**figures, "setup": setup},
        run_count=setup.day_count // setup.days_a_run,
        period=f"{setup.period_seconds:g}",
        trip=f"{300 / setup.clock_scale:g}",
        api_seconds=f"{setup.seconds(setup.api_outage_minutes):g}",
        machine_seconds=f"{setup.seconds(setup.machine_outage_minutes):g}",
        retry=f"{_AIRFLOW_SECONDS / setup.clock_scale:g}",
        api_recovery=figures["recovery_seconds"][0],
        machine_recovery=figures["recovery_seconds"][1],
        share_text=f"{figures['share']:.1%}",
        full=sum(count >= CLOUDFLARE_LIMIT.request_count for count in counts),
        periods=len(counts),
        least=min(counts),
        mean_count=round(figures["record_count"] / figures["day_count"]),
        verdict="reached" if figures["share"] >= GOAL_SHARE else "not reached on this machine",
        repeated_share=f"{figures['repeated_count'] / figures['request_count']:.1%}",
        minutes=f"{figures['elapsed_seconds'] / 60:.0f}",
        scaled_hours=f"{figures['elapsed_seconds'] * setup.clock_scale / 3600:.1f}",
    )


PAGE_TEXT = """# Eighteen months in one backfill, with two outages

<!-- Written by `python -m bench.eighteen_months --write`; change bench/eighteen_months, not this page. -->

A real Airflow (scheduler, API server, LocalExecutor, PostgreSQL) lands {setup.day_count} days by `airflow backfill
create`: {run_count} runs of {setup.days_a_run} days each with `partition_by="day"`, {setup.side_by_side} side by side.
They use one token and share its request budget, which is kept in a [file on the
machine](../how-to/rate-limits.md#several-tasks-with-one-token) by default. The log has nights, weekends, busy days and
bursts. During the backfill the API returns 503 to every request for some time. Later the machine that runs scheduler
and tasks is killed and comes back after some time.

Measured on {measured_on}: {machine}. Other processes ran on the machine at the same time.

| figure | value |
|---|---|
| days committed and verified, each with exactly the records of the source | {day_count} of {setup.day_count} |
| records | {record_count:,} |
| requests answered | {request_count:,} |
| requests refused (429) | {refused_count} |
| share of the allowed rate while there was work | {share_text} |
| complete periods of the limit | {periods} |
| complete periods in which every allowed request was sent | {full} |
| fewest requests in a complete period | {least} of 1200 |
| repeated requests, mostly to check that no record is hidden | {repeated_count} ({repeated_share}) |
| requests that failed in the outage of the API (503) | {failed_count} |
| first answered request after the outage of the API | {api_recovery} s |
| first answered request after the return of the machine | {machine_recovery} s |
| duration | {minutes} minutes, which stand for {scaled_hours} hours |

## What is scaled, and what this does not show

The clock is scaled by {setup.clock_scale:g}. The fake allows 1200 requests in {period} s instead of 300 s. After too
many requests, it refuses all requests for {period} s instead of 300 s. It announces the limit in the header
`Ratelimit-Policy`, and the provider follows the header as it follows that of the real API, so nothing in the provider
is changed. Other times are scaled like the limit. A round trip takes {trip} ms instead of 300 ms. The outages take
{api_seconds} s and {machine_seconds} s instead of
{setup.api_outage_minutes:g} and {setup.machine_outage_minutes:g} minutes. Three settings are {retry} s instead of 5
minutes: the retry delay of the task, the time after which Airflow gives up a task without heartbeat, and the interval
at which it looks for tasks of a scheduler that has died.

Not scaled are the time-outs and back-offs of the provider and the time that Airflow needs to start a task. In relation
to the limit they are {setup.clock_scale:g} times as long as with the real API, so the
figures with the real API would be better: a larger share of the allowed rate, and a shorter recovery.

In this benchmark the fake returns at most 100 records in a page, a tenth of the 1000 that the API returns. With the
real API, the same number of requests could therefore fetch ten times as many records. In this log, a day has
{mean_count:,} records on average. Two cores can process the pages at the speed of the scaled clock if nothing else uses
the cores. If every allowed request of a period was sent, the rate limit was the bottleneck in this period. In any other
period, it was the processors or the start of tasks.

*While there was work* excludes the time from the beginning of each outage to the first answered request after it. It
also excludes the last period before each outage and the last period before the end, because these periods are
incomplete. A period begins with its first request. The provider sends the 1200 requests of a period, and then lets 2 %
more time pass than the API requires. Therefore 98 % of the allowed rate is the most that it can use. The goal of 97 %
is {verdict}.

An earlier run with the clock scaled by 5, on two cores with 20 runnable processes, was also complete and had no
refused request, but used 86 % of the allowed rate: under that load, the processors could not send 20 requests in a
second.

A request counts as repeated if an earlier request with the same URL was answered. Most repeated requests are checks:
after a page with fewer records than requested, the provider requests the newest records of the range, to make sure that
no record is hidden. All checks of one range have the same URL, so each check after the first counts as repeated. A
range has several checks only because the fake's pages have 100 records: if ten days of this log are read with pages of
1000 records, no request is sent twice.

The network, the real API's own counting and other clients of the token are not part of this test. See [Rate
limits](../how-to/rate-limits.md) for several processes that share a token without Airflow, and [Backfill the
history](../how-to/backfill-history.md#one-task-for-many-days) for a comparison with one task for each day.
"""


def main() -> int:
    """Prints the figures, and writes them and the page with ``--write``."""
    parser = argparse.ArgumentParser(prog="python -m bench.eighteen_months", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the figures and the page")
    for name, value in Setup()._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"({value})")
    given = vars(parser.parse_args())
    is_written = given.pop("write")
    figures = measure(Setup(**given))
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    if is_written:
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
        PAGE.write_text(document(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
