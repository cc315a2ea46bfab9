"""Goals for the costs around a pull, each with the figures that a run has measured.

Invariant: a figure that the run lacks is shown as not measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from bench import growth, loader
from bench.goals.verdicts import (
    NOT_MEASURED,
    Cost,
    Figure,
    Row,
    at_most,
    constant_costs,
    cost_at_most,
    equal_costs,
)
from bench.steps import VERIFIED
from bench.task_start.__main__ import BOUND_SECONDS, CASES, PREPARED

GROWTH = "[Operations and growth](operations-and-growth.md)"
LOADING = "[Loading](loading.md)"
TASK_START = "[Start of a task](task-start.md)"
WINDOWS_A_DAY = {days * per_day: per_day for days, per_day in growth.SIZES}
SIZES = tuple(sorted(WINDOWS_A_DAY))
DAILY, HOURLY = SIZES[:2]
LATENCY_SECONDS = 0.03
# The task of one day, which has up to 96 windows.
DAY_SECONDS = 0.2
LOOKBACK_DAYS = 7
VERSIONS = ("v1", "v2")
FORM_NAMES = {"jsonl.gz": "gzip", "jsonl.zst": "zstd", "parquet": "Parquet"}


class Measured(NamedTuple):
    """Figures of a run, by piece; a piece may be missing."""

    figures: dict[str, Any]

    def s3(self, name: str) -> tuple[int, int] | None:
        """Returns the calls to S3 of a task, and how many of them wait for each other."""
        found = {task: (calls, depth) for task, calls, depth in self.figures.get("growth", {}).get("s3", [])}
        return found.get(name)

    def cost(self, task: str, window_count: int) -> Cost | None:
        """Returns the cost of a task after a history."""
        for row in self.figures.get("growth", {}).get("rows", []):
            if (row["task"], row["window_count"]) == (task, window_count):
                return Cost(sum(row["calls"].values()), row["cpu_seconds"])
        return None

    def costs(self, task: str) -> dict[int, Cost | None]:
        """Returns the cost of a task after each history."""
        return {count: self.cost(task, count) for count in SIZES}

    def load_micros(self, engine: str, kind: str) -> float | None:
        """Returns the CPU time of a load, or of its floor, for a record."""
        found = {(one["engine"], one["kind"]): float(one["micros"]) for one in self.of_piece("loading", "figures", [])}
        return found.get((engine, kind))

    def step(self, name: str) -> float | None:
        """Returns the figure of a step."""
        micros: float | None = self.of_piece("steps", name)
        return micros

    def start_seconds(self, environment: str, pull: str) -> float | None:
        """Returns what a pull costs above the empty task in an environment."""
        for one in self.of_piece("task_start", "figures", []):
            if (one["environment"], one["task"]) == (environment, pull):
                return float(one["cpu_seconds"] - one["empty_seconds"])
        return None

    def of_piece(self, piece: str, name: str, missing: Any = None) -> Any:
        """Returns a figure of a piece."""
        return self.figures.get(piece, {}).get(name, missing)


def rows_of(figures: dict[str, Any]) -> list[Row]:
    """Returns all rows of the table."""
    found = Measured(figures)
    return [
        *_calls(found),
        *_growth(found),
        *_seals_and_loader(found),
        *_loads(found),
        *_verification(found),
        *_starts(found),
        *_requests(found),
        *_listing(found),
        *_encoding(found),
    ]


def _calls(found: Measured) -> Iterator[Row]:
    pull = "pull of the next day"
    yield Row(
        "Pull of a new window of 2,000 records into a destination in S3 that has a committed window",
        "at most 8 calls, 5 of them one after the other",
        [_s3_calls(found, pull, 8), _s3_depth(found, pull, 5)],
        GROWTH,
    )
    again = "The same pull, run again: "
    yield Row(
        again + "nothing new", "at most 4 calls", [_s3_calls(found, "run again, nothing new", 4, label="")], GROWTH
    )
    late = "run again, one late record"
    yield Row(again + "one late record", "at most 9 calls", [_s3_calls(found, late, 9, label="")], GROWTH)
    lookback = "lookback over 7 days, nothing late"
    yield Row(
        "Pull with a lookback over 7 windows, nothing late",
        "at most 8 calls and 3 for each window; at most 2 s of waiting if each call takes 30 ms",
        [_s3_calls(found, lookback, 8 + 3 * LOOKBACK_DAYS), _lookback_time(found, lookback)],
        GROWTH,
    )
    yield Row(
        "Seal with nothing new; verify of one day with one part, in a history of 10 days",
        "seal: at most 4 calls; verify: at most 5 calls, one of them for the part",
        [
            _s3_calls(found, "seal with nothing new", 4, label="seal"),
            _s3_calls(found, "verify of one day of 10", 4 + 1, label="verify"),
        ],
        GROWTH,
    )


def _s3_calls(found: Measured, name: str, bound: int, label: str = "calls") -> Figure:
    counted = found.s3(name)
    unit = "" if label == "calls" else "calls"
    return at_most(label, None if counted is None else counted[0], bound, unit, digits=0)


def _s3_depth(found: Measured, name: str, bound: int) -> Figure:
    counted = found.s3(name)
    return at_most("one after the other", None if counted is None else counted[1], bound, "", digits=0)


def _lookback_time(found: Measured, name: str) -> Figure:
    counted = found.s3(name)
    if counted is None:
        return at_most("waiting for the store", None, 2.0, "s")
    seconds = counted[1] * LATENCY_SECONDS
    text = f"{seconds:.2f} s ({counted[1]} calls one after the other, 30 ms each)"
    return Figure("waiting for the store", text, seconds <= 2.0)


def _growth(found: Measured) -> Iterator[Row]:
    yield Row(
        "Pull of the next day, 2,000 records, after histories of different lengths",
        "equal at all sizes",
        equal_costs(found.costs("pull of the next day, 2,000 records")),
        GROWTH,
    )
    yield Row(
        "Coverage of one day",
        f"constant in the history, with one call for each window of the day; at most {DAY_SECONDS} s",
        constant_costs(found.costs("coverage of one day"), WINDOWS_A_DAY, 1, DAY_SECONDS),
        GROWTH,
    )
    everything = "coverage of everything, sealed history"
    yield Row(
        f"Coverage of everything, sealed, {HOURLY:,} windows",
        "at most 1 s and 600 calls",
        [cost_at_most("", found.cost(everything, HOURLY), 600, 1.0)],
        GROWTH,
    )
    for name, task in (("not sealed", "verify of one day"), ("sealed", "verify of one day, sealed history")):
        yield Row(
            f"Verify of one day, {name}",
            f"constant in the history, with two calls for each window of the day; at most {DAY_SECONDS} s",
            constant_costs(found.costs(task), WINDOWS_A_DAY, 2, DAY_SECONDS),
            GROWTH,
        )


def _seals_and_loader(found: Measured) -> Iterator[Row]:
    yield Row(
        f"Seal and verify of one day of {DAILY} on S3, all other days sealed",
        "at most 8 calls each, without a signature",
        [
            _seal_calls(found),
            _s3_calls(found, f"verify of one day of {DAILY}, sealed", 8, label="verify"),
        ],
        GROWTH,
    )
    first = "first seal of everything"
    yield Row(
        "First seal of everything",
        f"at most 1 s for {DAILY:,} windows and 15 s for {HOURLY:,}",
        [
            cost_at_most(f"{count:,} windows", found.cost(first, count), None, bound)
            for count, bound in ((DAILY, 1.0), (HOURLY, 15.0))
        ],
        GROWTH,
    )
    yield Row(
        "Load into DuckDB with nothing new",
        "at most 0.2 s and 10 calls at all sizes",
        [cost_at_most(f"{count:,} windows", cost, 10, 0.2) for count, cost in found.costs(loader.NAME).items()],
        GROWTH,
    )


def _seal_calls(found: Measured) -> Figure:
    figure, signed = _s3_calls(found, f"seal of one day of {DAILY}", 8, label="seal"), found.s3("the same, signed")
    return (
        figure
        if signed is None
        else figure._replace(text=f"{figure.text} ({signed[0]} with a signature, measured with a history of 10 days)")
    )


def _loads(found: Measured) -> Iterator[Row]:
    records = found.of_piece("loading", "records")
    size = f", {records:,} records" if records else ""
    for name, engine, bound, floor in (
        ("DuckDB", "duckdb", 1.3, "`INSERT … SELECT … FROM read_parquet`"),
        ("Iceberg", "iceberg", 1.3, "the append of one Arrow table"),
        ("PostgreSQL, CPU time of the client", "postgres", 1.2, "`COPY` of Arrow's CSV"),
    ):
        load, least = found.load_micros(engine, "load"), found.load_micros(engine, "floor")
        figure = at_most("", None if load is None or not least else load / least, bound, "times", digits=2)
        if figure.is_reached is not None:
            figure = figure._replace(text=f"{figure.text}: {load:.1f} and {least:.1f} µs a record")
        yield Row(f"Load of normalized Parquet{size}: {name}", f"at most {bound} times {floor}", [figure], LOADING)


def _verification(found: Measured) -> Iterator[Row]:
    names = [
        (FORM_NAMES.get(form, form.replace("parquet", "Parquet").replace("ocsf", "OCSF")), form) for form in VERIFIED
    ]
    # Twice 1.4 µs, which the fastest format took to decompress and to digest when the goals were set.
    yield Row(
        "Verify of one part of 20,000 records: CPU time, and its ratio to that of decompression and SHA-256",
        "at most 2.8 µs a record",
        [_one_part(found, name, form) for name, form in names],
        "`python -m bench.steps verification`",
    )
    yield Row(
        "Verify of 24 parts, read side by side: wall time",
        "at most 2 times decompression and SHA-256 of the same bytes, in one thread",
        [
            _times(
                found,
                name,
                f"verification of 24 windows of {form}, wall time",
                f"digests of 24 windows of {form}, one thread, wall time",
            )
            for name, form in names
        ],
        "`python -m bench.steps side_by_side`",
    )


def _one_part(found: Measured, label: str, form: str) -> Figure:
    value, least = found.step(f"verification of {form}"), found.step(f"decompression and SHA-256 of {form}, to compare")
    figure = at_most(label, value if least else None, 2.8, "µs", digits=2)
    return figure if not value or not least else figure._replace(text=f"{figure.text} (ratio {value / least:.2f})")


def _times(found: Measured, label: str, name: str, compared: str, bound: float = 2.0, what: str = "record") -> Figure:
    """Returns how many times a step takes of what it is compared with, and its own time."""
    value, least = found.step(name), found.step(compared)
    figure = at_most(label, None if value is None or not least else value / least, bound, "times", digits=2)
    return figure if figure.is_reached is None else figure._replace(text=f"{figure.text} ({value:.2f} µs a {what})")


def _starts(found: Measured) -> Iterator[Row]:
    for environment in ("bare", f"bare{PREPARED}", "full", f"full{PREPARED}"):
        for form, is_parquet in (("JSON Lines", False), ("Parquet", True)):
            pulls = [str(case) for case in CASES if ("Parquet" in case.form) is is_parquet]
            figures = [
                at_most(pull, found.start_seconds(environment, pull), BOUND_SECONDS, "s", digits=3) for pull in pulls
            ]
            goal = f"at most {BOUND_SECONDS} s above a task that does nothing"
            yield Row(f"Start of a task, {form}: {environment}", goal, figures, TASK_START)


def _requests(found: Measured) -> Iterator[Row]:
    minutes, sensors = found.of_piece("sensors", "minutes"), found.of_piece("sensors", "sensors")
    requests = found.of_piece("sensors", "requests")
    yield Row(
        f"{sensors or 500} deferred sensors with equal filters, polling every 30 s",
        "at most 12 requests a minute in all; one client",
        [
            # Without a request or a client, the sensors did not poll.
            at_most("requests a minute", requests / minutes if requests else None, 12, "", digits=1),
            at_most("clients", found.of_piece("sensors", "clients") or None, 1, "", digits=0),
        ],
        "`tests/sensors/test_shared_poll.py`",
    )
    days, seconds = found.of_piece("one_task", "days"), found.of_piece("one_task", "cpu_seconds", {})
    text = "; ".join(f"{count} task{'s' if count != '1' else ''}: {one:.1f} s of CPU" for count, one in seconds.items())
    yield Row(
        f"{days or 60} windows in as many tasks, or in one task",
        "one task for all of them is possible",
        [Figure("", text or NOT_MEASURED, "1" in seconds or None)],
        "`python -m bench.history_in_one_task`",
    )
    records = found.of_piece("pages", "records", 300_000)
    yield Row(
        f"Pages of a pull of {records:,} records at 4 requests a second, which is the token's limit",
        f"at most {records // 1000 * 21 // 20} requests",
        [at_most("", found.of_piece("pages", "requests"), records // 1000 * 21 // 20, "requests", digits=0)],
        "`python -m bench.goals --only pages`",
    )


def _listing(found: Measured) -> Iterator[Row]:
    places = ("all manifests", "everything")
    yield Row(
        "Listing of a local store: keys",
        "at most 5 µs a key",
        [at_most(place, found.step(f"listing {place}, keys"), 5, "µs", digits=2) for place in places],
        "`python -m bench.steps listing`",
    )
    yield Row(
        "Listing of a local store: keys with sizes",
        "at most 1.3 times `os.scandir` and `os.stat`",
        [
            _times(
                found,
                place,
                f"listing {place}, keys with sizes",
                f"os.scandir and os.stat of {place}, to compare",
                bound=1.3,
                what="key",
            )
            for place in places
        ],
        "`python -m bench.steps listing`",
    )


def _encoding(found: Measured) -> Iterator[Row]:
    for name, choice, bound in (
        ("normalized Parquet", "normalized parquet", 8),
        ("OCSF Parquet", "ocsf parquet", 25),
        ("OCSF JSON Lines", "ocsf jsonl", 25),
        ("normalized JSON Lines", "normalized jsonl", 12),
    ):
        steps = {version: found.step(f"encoding {version} as {choice}") for version in VERSIONS}
        yield Row(
            f"Encoding of {name}",
            f"at most {bound} µs a record",
            [at_most(version, micros, bound, "µs", digits=2) for version, micros in steps.items()],
            "`python -m bench.steps encoding`",
        )
    yield Row(
        "Pseudonyms",
        "at most 12 µs a record",
        [at_most(one, found.step(f"pseudonyms in records of {one}"), 12, "µs", digits=2) for one in VERSIONS],
        "`python -m bench.steps pseudonyms`",
    )
