"""``python -m bench.growth``: store calls and CPU time of tasks after histories of different lengths.

A history is a destination of committed windows, written by the tests' generator and not by pulls. Calls are counted by
a store in memory, with one call for each 1,000 keys of a listing, as S3 has it. CPU time is measured on local files.

Invariant: calls are equal in every run; a CPU time is the median of several runs, and is compared between machines as a
multiple of a calibration that the same run measures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, table_name
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.envelopes import Signer
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.late_records import pull_late_records
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from bench import loader
from tests.adapters.storage.real_stores import S3Server, moto
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, QUERY, committed, windows
from tests.pipelines.pull.counted_calls import Bucket, CountedCalls
from tests.pipelines.pull.landing import START, fake_with, land, pull_spec, reader_of, record_at
from tests.pipelines.verify.dataset import PRIVATE_PEM

FIGURES = Path(__file__).with_name("growth.json")
PAGE = Path(__file__).parents[1] / "docs/explanation/operations-and-growth.md"
# Days of the history, and windows a day.
SIZES = ((540, 1), (542, 24), (521, 96))
RUNS = 3
# A task that takes less is measured more often, because other work of the machine disturbs it more.
SHORT_SECONDS, SHORT_RUNS = 0.2, 9
DAY = timedelta(days=1)
LAST_DAY = (END - DAY, END)
# A task is slower than its committed figure only beyond both: noise of a shared machine, and of short tasks.
MOST_CPU_RATIO, LEAST_CPU_SECONDS = 1.15, 0.05


class Sealed(Enum):
    """What of a history is sealed before a task."""

    NOTHING = "nothing"
    ALL = "all"
    ALL_BUT_LAST_DAY = "all but the last day"


class Task(NamedTuple):
    """A task to measure, and what of the history is sealed before it."""

    name: str
    run: Callable[[Store], object]
    sealed: Sealed = Sealed.NOTHING


class Row(NamedTuple):
    """Figures of a task after a history: calls by kind, and CPU seconds."""

    task: str
    window_count: int
    calls: dict[str, int]
    cpu_seconds: float

    @property
    def call_count(self) -> int:
        """All calls."""
        return sum(self.calls.values())


def _pull_next(store: Store) -> None:
    fake = fake_with(ManualClock(), records_per_day=2000, account_ids=(QUERY.scope_id,))
    run_window = RunWindow(TimeWindow(END, END + DAY), "explicit bounds", END.date())
    land(pull_spec()._replace(query=QUERY, run_window=run_window), reader_of(fake, ManualClock()), store)


def _spec(day_number: int, attempt_id: str = "one") -> PullSpec:
    start = START + day_number * DAY
    return pull_spec(start=start, end=start + DAY, attempt_id=attempt_id, compression="gzip")


def calls_to_s3() -> Iterator[tuple[str, int, int]]:
    """Yields pulls with the number of calls to S3 by moto, counted in its client, and their depth."""
    with TemporaryDirectory() as folder, moto(Path(folder)) as server:
        fake = fake_with(ManualClock(), records_per_day=2000)
        bucket = Bucket(server)
        for name, day_number, has_late in (
            ("first pull of a destination, 2,000 records", 0, False),
            ("pull of the next day", 1, False),
            ("run again, nothing new", 1, False),
            ("run again, one late record", 1, True),
        ):
            if has_late:
                fake.add(record_at("2026-10-27T12:00:00Z", "late"))
            calls = bucket.calls_of(partial(_pull_day, bucket, fake, day_number, name))
            yield name, len(calls.calls), calls.depth
        yield from _calls_of_readers(server)
        for name, signer in (("seal of one day of 10", None), ("the same, signed", Ed25519Signer(PRIVATE_PEM))):
            calls = _calls_of_a_seal(server, signer)
            yield name, len(calls.calls), calls.depth
        yield from _calls_after_a_history(server)


def _pull_day(bucket: Bucket, fake: FakeCloudflare, day_number: int, attempt_id: str) -> None:
    land(_spec(day_number, attempt_id.replace(" ", "-")), reader_of(fake, ManualClock()), bucket.store)


def _calls_of_readers(server: S3Server) -> Iterator[tuple[str, int, int]]:
    fake, bucket = fake_with(ManualClock(), records_per_day=200), Bucket(server)
    reader, store = reader_of(fake, ManualClock()), bucket.store
    for number in range(-10, 0):
        land(_spec(number), reader, store)
    actions: dict[str, Callable[[], object]] = {
        "lookback over 7 days, nothing late": lambda: pull_late_records(
            _spec(0), 7 * DAY, reader, store, NullObserver()
        ),
        "verify of one day of 10": lambda: verify(store, START - DAY, START),
        "coverage of 10 days": lambda: coverage(store, END),
        "first seal of 10 days": lambda: seal(store),
        "seal with nothing new": lambda: seal(store),
        "verify of one day of 10, sealed": lambda: verify(store, START - DAY, START),
        "sweep of 10 days, nothing to remove": lambda: sweep(store, END + 30 * DAY),
    }
    with TemporaryDirectory() as folder:
        actions["first load of 10 days"] = partial(_load, store, folder)
        actions["load with nothing new"] = partial(_load, store, folder)
        for name, action in actions.items():
            calls = bucket.calls_of(action)
            yield name, len(calls.calls), calls.depth


def _calls_of_a_seal(server: S3Server, signer: Signer | None) -> CountedCalls:
    """Returns the calls of the last of ten runs, one for each day."""
    fake, bucket = fake_with(ManualClock(), records_per_day=200), Bucket(server)
    days = [(START + number * DAY).date() for number in range(-10, 0)]
    for number, day in zip(range(-10, 0), days, strict=True):
        land(_spec(number), reader_of(fake, ManualClock()), bucket.store)
        if day != days[-1]:
            seal(bucket.store, day, signer)
    return bucket.calls_of(partial(seal, bucket.store, days[-1], signer))


def _calls_after_a_history(server: S3Server) -> Iterator[tuple[str, int, int]]:
    """Yields the seal and the verification of the last day of a history whose other days are sealed."""
    days, bucket = SIZES[0][0], Bucket(server)
    objects = _sealed(dict(committed(windows(days))), Sealed.ALL_BUT_LAST_DAY)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: bucket.store.put(key, objects[key]), objects))
    actions: dict[str, Callable[[], object]] = {
        f"seal of one day of {days}": partial(seal, bucket.store, LAST_DAY[0].date()),
        f"verify of one day of {days}, sealed": partial(verify, bucket.store, *LAST_DAY),
    }
    for name, action in actions.items():
        calls = bucket.calls_of(action)
        yield name, len(calls.calls), calls.depth


def _load(store: Store, folder: str) -> None:
    session = open_duckdb(f"{folder}/audit.duckdb", SystemClock())
    with closing(SqlWarehouse(session, table_name("audit_logs"))) as warehouse:
        load_committed(LoadSpec("bench", "s3://bench", now=ManualClock().now()), store, warehouse, lambda _: None)


TASKS = (
    Task("pull of the next day, 2,000 records", _pull_next),
    Task("coverage of one day", lambda store: coverage(store, END + DAY, *LAST_DAY)),
    Task("coverage of everything", lambda store: coverage(store, END + DAY)),
    Task("coverage of everything, sealed history", lambda store: coverage(store, END + DAY), Sealed.ALL),
    Task("verify of one day", lambda store: verify(store, *LAST_DAY)),
    Task("verify of one day, sealed history", lambda store: verify(store, *LAST_DAY), Sealed.ALL),
    Task("seal with nothing new", seal, Sealed.ALL),
    Task("seal of one day, sealed history", lambda store: seal(store, LAST_DAY[0].date()), Sealed.ALL_BUT_LAST_DAY),
    Task("first seal of everything", seal),
)


def main() -> int:
    """Measures and prints the figures, and writes them if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the figures and the page")
    parser.add_argument("--write-calls", action="store_true", help="write the calls to S3 alone, which are not timed")
    parser.add_argument("--check", action="store_true", help="fail if a task costs more than the committed figures say")
    options = parser.parse_args()
    if options.check:
        return _check()
    if options.write_calls:
        write(json.loads(FIGURES.read_text()) | {"s3": [list(each) for each in calls_to_s3()]})
        return 0
    figures = run()
    if options.write:
        write(figures)
    return 0


def run(sizes: tuple[tuple[int, int], ...] = SIZES) -> dict[str, Any]:
    """Measures and prints all figures, and returns them."""
    calibration_seconds = calibrate()
    rows = []
    for row in measured(sizes):
        rows.append(row)
        print(f"{row.task}, {row.window_count:,} windows: {row.call_count} calls, {row.cpu_seconds:.2f} s", flush=True)
    s3 = []
    for name, count, depth in calls_to_s3():
        s3.append([name, count, depth])
        print(f"S3, {name}: {count} calls, depth {depth}", flush=True)
    return {
        "measured_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, CPython {platform.python_version()}",
        "calibration_seconds": round(calibration_seconds, 4),
        "s3": s3,
        "rows": [{**row._asdict(), "cpu_seconds": round(row.cpu_seconds, 3)} for row in rows],
    }


def _check() -> int:
    """Returns 1 if a task costs more in three measurements in a row, because a shared machine is noisy."""
    known = json.loads(FIGURES.read_text())
    found: list[str] = []
    more_calls = list(calls_regressions(calls_to_s3(), known))
    if more_calls:
        print(*more_calls, sep="\n", flush=True)
        return 1
    for _ in range(3):
        found = list(regressions(list(measured(SIZES[:2])), calibrate(), known))
        if not found:
            return 0
        print(*found, sep="\n", flush=True)
    return 1


def measured(sizes: tuple[tuple[int, int], ...] = SIZES) -> Iterator[Row]:
    """Yields the figures of each task after each history."""
    for days, per_day in sizes:
        objects = dict(committed(windows(days, per_day)))
        for state in Sealed:
            known = _sealed(objects, state)
            with _files(known) as root:
                for task in TASKS:
                    if task.sealed is state:
                        calls = _calls(task, known)
                        yield Row(task.name, days * per_day, calls, _cpu_seconds(task, root, known))
        yield _load_with_nothing_new(loader.with_commit_log(objects, END), days * per_day)


def _load_with_nothing_new(objects: dict[str, bytes], window_count: int) -> Row:
    """Returns the figures of a load into a table that has all windows; the load before it wrote a position."""
    with loader.loaded_table(objects, END + DAY) as table, _files(objects) as root:
        table.follow(LocalStore(root))
        task = Task(loader.NAME, table.load)
        return Row(task.name, window_count, _calls(task, objects), _cpu_seconds(task, root, objects))


def calibrate() -> float:
    """Returns the CPU seconds of a fixed piece of work of the kind that the tasks do."""
    text = json.dumps([{"id": str(number), "when": "2026-11-01T00:00:00Z"} for number in range(20_000)])
    return median(_seconds(lambda: (json.loads(text), hashlib.sha256(text.encode() * 20).digest())) for _ in range(9))


def regressions(rows: list[Row], calibration_seconds: float, committed_figures: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence for each task with more calls, or 15 % more CPU time, than the committed figures."""
    before = {(row["task"], row["window_count"]): row for row in committed_figures["rows"]}
    speed = calibration_seconds / committed_figures["calibration_seconds"]
    for row in rows:
        known = before.get((row.task, row.window_count))
        if known is None:
            continue
        name, known_calls = f"{row.task}, {row.window_count:,} windows", sum(known["calls"].values())
        if row.call_count > known_calls:
            yield f"{name}: {row.call_count} calls, {known_calls} before: {row.calls}, {known['calls']} before."
        allowed = known["cpu_seconds"] * speed
        if row.cpu_seconds > max(allowed * MOST_CPU_RATIO, allowed + LEAST_CPU_SECONDS):
            yield f"{name}: {row.cpu_seconds:.2f} s of CPU, {allowed:.2f} s before on a machine of this speed."


def calls_regressions(found: Iterable[tuple[str, int, int]], committed_figures: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence for each task with more calls to S3, or a greater depth, than the committed figures."""
    known = {name: (count, depth) for name, count, depth in committed_figures["s3"]}
    for name, count, depth in found:
        known_count, known_depth = known.get(name, (count, depth))
        if count > known_count or depth > known_depth:
            yield f"{name}: {count} calls to S3 of depth {depth}, {known_count} of depth {known_depth} before."


def write(figures: dict[str, Any]) -> None:
    """Writes the figures and the page."""
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(document(figures))


HEAD = """# Operations and growth: what a task costs after a long history

<!-- Written by `python -m bench.growth --write`; change bench/growth.py, not this page. -->

Each row is one task, and each pair of columns is one destination with the number of committed windows in the heading:
daily, hourly and quarter-hourly windows over 17 to 18 months. *Calls* are requests to the object store; a listing has
one for each 1,000 keys. *CPU* is the time of the process, with the destination on a local disk: the median of {runs}
runs, or of {short_runs} runs if the first takes less than {short_seconds} s. In the three destinations, a day has 1,
24 or 96 windows; verify reads two objects for each window. The pull stages its part, because the part reaches
`max_part_bytes`, here 1 MiB. The pull under [Calls to S3](#calls-to-s3) has a smaller part, which is not staged but
written once, and therefore makes fewer calls. The load with nothing new opens a DuckDB file whose load ledger has all
windows.
"""


S3_HEAD = """
## Calls to S3

These are the calls of an S3 client, counted by its own events, on an emulator with windows of one part each. *Depth* is
the length of the longest sequence of calls in which each waits for the one before it. The other calls are made at the
same time.

| task | calls | depth |
|---|--:|--:|"""


def document(figures: dict[str, Any]) -> str:
    """Returns the page of these figures."""
    rows = {(row["task"], row["window_count"]): row for row in figures["rows"]}
    counts = sorted({count for _, count in rows})
    lines = [
        HEAD.format(runs=RUNS, short_runs=SHORT_RUNS, short_seconds=SHORT_SECONDS),
        f"Measured on {figures['measured_on']}: {figures['machine']}.\n",
        "| task | " + " | ".join(f"{count:,} windows: calls | CPU s" for count in counts) + " |",
        "|---|" + "--:|--:|" * len(counts),
    ]
    for task in dict.fromkeys(name for name, _ in rows):
        cells = [rows[task, count] for count in counts]
        lines.append(f"| {task} | " + " | ".join(_cells(cell) for cell in cells) + " |")
    lines += [S3_HEAD, *(f"| {name} | {count} | {depth} |" for name, count, depth in figures["s3"])]
    return "\n".join([*lines, ""])


def _cells(row: dict[str, Any]) -> str:
    return f"{sum(row['calls'].values()):,} | {row['cpu_seconds']:.2f}"


def _sealed(objects: dict[str, bytes], state: Sealed) -> dict[str, bytes]:
    """Returns the objects with the seals of a run."""
    if state is Sealed.NOTHING:
        return objects
    last_day = f"{MANIFEST_FOLDER}dt={LAST_DAY[0].date()}/"
    later = {key: content for key, content in objects.items() if key.startswith(last_day)}
    if state is Sealed.ALL:
        later = {}
    store = CountingStore({key: content for key, content in objects.items() if key not in later})
    seal(store)
    return {**store.objects, **later}


def _calls(task: Task, objects: dict[str, bytes]) -> dict[str, int]:
    store = CountingStore(objects)
    task.run(store)
    return dict(sorted(store.calls.items()))


def _cpu_seconds(task: Task, root: str, objects: dict[str, bytes]) -> float:
    """Returns the median of some runs; what a run writes is removed after it."""
    seconds: list[float] = []
    while len(seconds) < (SHORT_RUNS if seconds and seconds[0] < SHORT_SECONDS else RUNS):
        seconds.append(_seconds(lambda: task.run(LocalStore(root))))
        store = LocalStore(root)
        store.remove([key for key in store.list_keys("") if key not in objects])
    return median(seconds)


@contextmanager
def _files(objects: dict[str, bytes]) -> Iterator[str]:
    """Yields a folder with these objects."""
    with TemporaryDirectory() as root:
        for key, content in objects.items():
            path = Path(root, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield root


def _seconds(action: Callable[[], object]) -> float:
    before = time.process_time()
    action()
    return time.process_time() - before


if __name__ == "__main__":
    raise SystemExit(main())
