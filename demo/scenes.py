"""The demo's chapters: start Airflow, run the backfills, show what landed, compare it.

A chapter returns only if it succeeded; it raises otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from demo import queries, tables
from demo.backfill import wait_for_runs
from demo.chart import bars
from demo.layout import Layout
from demo.narration import Narrator
from demo.verdict import Verdict, judge
from harness.airflow_instance import AirflowInstance
from harness.cloudflare_account import CloudflareAccount
from harness.landed import LandedWindow, landed_windows, tree_digest

DAILY, HISTORY, LOOKBACK = "cloudflare_audit_daily", "cloudflare_audit_backfill", "demo_lookback"
FORMATS = ("jsonl", "parquet")
DAY_COUNT = 14
# Counted from the newest day: the one that is left out, and the one in which a record appears late. Neither is
# among the newest days that run again.
GAP_DAYS_BACK, LATE_DAYS_BACK = 6, 2
AGAIN_COUNT = 2
SHOWN_DIFFERENCES = 10


@dataclass(frozen=True)
class Cast:
    """What every chapter needs: the output, the Airflow, the account, and the days to land, oldest first."""

    narrator: Narrator
    layout: Layout
    instance: AirflowInstance
    account: CloudflareAccount
    days: Sequence[date]
    patience: timedelta

    @property
    def gap(self) -> date:
        """The day that is left out on purpose."""
        return self.days[-1 - GAP_DAYS_BACK]

    @property
    def late_day(self) -> date:
        """The committed day in which a record appears late."""
        return self.days[-1 - LATE_DAYS_BACK]

    @property
    def landed_days(self) -> list[date]:
        """All days but the gap."""
        return [day for day in self.days if day != self.gap]


def bring_up(cast: Cast) -> None:
    """Starts a fresh Airflow, unpauses the DAGs, creates both backfills, and waits until it is healthy."""
    narrator, instance = cast.narrator, cast.instance
    with narrator.step("airflow db migrate, into an empty SQLite"):
        instance.migrate()
    instance.start_api()
    with narrator.step("airflow dags reserialize"):
        instance.parse()
    with narrator.step("api-server up, the DAGs unpaused"):
        for dag_id in (DAILY, HISTORY, LOOKBACK):
            instance.unpause(dag_id)
    with narrator.step(f"Backfills of {DAILY} and {HISTORY} requested by the REST API"):
        for dag_id in (DAILY, HISTORY):
            instance.request_backfill(dag_id, cast.days[0], cast.days[-1])
    with narrator.step(f"The gap: the runs of {cast.gap} deleted on purpose"):
        for dag_id in (DAILY, HISTORY):
            (run,) = (run for run in instance.runs(dag_id) if run.day == cast.gap.isoformat())
            instance.delete(run)
    instance.start_workers()
    with narrator.step("scheduler, dag-processor and triggerer healthy"):
        instance.wait_until_healthy()


def run_backfills(cast: Cast) -> None:
    """Waits for every run of both DAGs."""
    total = len(cast.landed_days) * 2
    with cast.narrator.counting(f"{total} DAG runs by the real scheduler", total) as counter:
        wait_for_runs(cast.instance, (DAILY, HISTORY), total, counter, patience=cast.patience)


def run_again(cast: Cast) -> bool:
    """Runs the last days again; returns whether no byte of what had landed changed."""
    before, total = tree_digest(cast.layout.landed), len(cast.landed_days)
    with cast.narrator.counting(f"The last {AGAIN_COUNT} daily runs cleared and run again", total) as counter:
        for run in cast.instance.runs(DAILY)[-AGAIN_COUNT:]:
            cast.instance.clear(run)
        wait_for_runs(cast.instance, (DAILY,), total, counter, patience=cast.patience)
    return tree_digest(cast.layout.landed) == before


def add_late_record(cast: Cast) -> None:
    """Adds a record to a day that is already committed, and runs a DAG that reads earlier days again."""
    cast.account.add_late_record(cast.late_day)
    text = f"One late record of {cast.late_day}, and a run of {cast.days[-1]} with a lookback of two days"
    with cast.narrator.counting(text, 1) as counter:
        conf = {"start": cast.days[-1].isoformat(), "end": (cast.days[-1] + timedelta(days=1)).isoformat()}
        cast.instance.trigger(LOOKBACK, "after_late_record", conf)
        wait_for_runs(cast.instance, (LOOKBACK,), 1, counter, patience=cast.patience)


def all_windows(layout: Layout) -> list[LandedWindow]:
    """Returns the windows of both formats, by day and then by format."""
    found = [window for each in FORMATS for window in landed_windows(layout.landed / each)]
    return sorted(found, key=lambda window: (window.start, window.file_format))


def compare(cast: Cast, windows: Sequence[LandedWindow]) -> Verdict:
    """Compares every window with the fake's records, or for a real account with its manifest."""
    truth = cast.account.truth if cast.account.truth_url else None
    against = "the fake's own records" if truth else "the manifests"
    with cast.narrator.step(f"Every landed record compared with {against}"):
        verdict = judge(windows, FORMATS, cast.landed_days, truth)
    answered = cast.account.answered()
    if answered:
        statuses = ", ".join(f"{count} × {status}" for status, count in sorted(answered.items()))
        cast.narrator.console.print(f"    The fake received {answered.total()} requests and responded with {statuses}.")
    return verdict


def show(cast: Cast, windows: Sequence[LandedWindow], verdict: Verdict) -> None:
    """Prints the windows, the chart and the results of queries in DuckDB."""
    console = cast.narrator.console
    console.print(tables.windows_table(windows, verdict.status))
    if not any(window.record_count for window in windows):
        console.print("The account has no record in these days, so there is nothing to chart or query.")
        return
    cast.narrator.title("Records a day (refused actions in brackets)")
    found = queries.refused_per_day(cast.layout.landed)
    counts = {day.isoformat(): found.get(day.isoformat(), (0, 0)) for day in cast.days}
    ascii_only = not (console.encoding or "").lower().startswith("utf")
    for line in bars(counts, width=min(console.width, 100), ascii_only=ascii_only):
        console.print(line)
    for title, query in (("Who (JSONL)", queries.ACTORS), ("What (Parquet)", queries.ACTIONS)):
        cast.narrator.title(f"{title}, by DuckDB")
        console.print(queries.abridged(query), style="dim", markup=False)
        answer = queries.ask(query, cast.layout.landed)
        console.print(tables.answer_table(answer.columns, answer.rows))


def conclude(cast: Cast, verdict: Verdict, *, unchanged: bool) -> bool:
    """Prints the result and the first differences; returns whether there are none."""
    console, marks = cast.narrator.console, cast.narrator
    for difference in verdict.differences[:SHOWN_DIFFERENCES]:
        console.print(f"  [red]{marks.failed_mark}[/red] ", difference, sep="")
    if len(verdict.differences) > SHOWN_DIFFERENCES:
        console.print(f"  … and {len(verdict.differences) - SHOWN_DIFFERENCES:,} more")
    if not unchanged:
        console.print(f"  [red]{marks.failed_mark}[/red] Running again changed what had landed.")
    well = unchanged and not verdict.differences
    if well:
        console.print(
            f"\n[bold green]{marks.done_mark}[/bold green] {verdict.compared_count // len(FORMATS):,} records in "
            f"{len(cast.landed_days)} days, each landed once as JSONL and once as Parquet; "
            "running again changed no byte.",
            soft_wrap=True,
        )
    return well
