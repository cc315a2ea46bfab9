"""The page of goals says that a goal is reached only if the figures say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from bench.goals import __main__ as command
from bench.goals.page import FIGURES
from bench.goals.pieces import PIECES, WHOLE
from bench.goals.rows import rows_of
from bench.goals.verdicts import Cost, Figure, Row, at_most, constant_costs, cost_at_most, equal_costs

SIZES = {540: 1, 13_008: 24, 50_016: 96}
Change = Callable[[dict[str, Any]], None]


def _words(figures: dict[str, Any]) -> dict[str, str]:
    """Returns the word of each row, by the start of its work."""
    return {row.work: row.word for row in rows_of(figures)}


def _word(start: str, figures: dict[str, Any]) -> str:
    (word,) = [word for work, word in _words(figures).items() if work.startswith(start)]
    return word


@pytest.fixture
def good() -> dict[str, Any]:
    """Figures that reach every goal: the committed ones, where those above a goal are replaced."""
    figures: dict[str, Any] = json.loads(FIGURES.read_text())
    figures["loading"]["records"] = 250_000
    figures["pages"]["requests"] = 308
    for name in figures["steps"]:
        figures["steps"][name] = 2.6 if "digest" not in name and "SHA" not in name else 2.0
    for one in figures["task_start"]["figures"]:
        one["cpu_seconds"] = one["empty_seconds"] + 0.4
    for one in figures["loading"]["figures"]:
        one["micros"] = 10.0
    for row in figures["growth"]["rows"]:
        row["cpu_seconds"] = 0.02
    return figures


def _step(name: str, micros: float) -> Change:
    return lambda figures: figures["steps"].update({name: micros})


def _piece(piece: str, **changed: Any) -> Change:
    return lambda figures: figures[piece].update(changed)


def _s3(name: str, calls: int, depth: int) -> Change:
    def change(figures: dict[str, Any]) -> None:
        figures["growth"]["s3"] = [one for one in figures["growth"]["s3"] if one[0] != name] + [[name, calls, depth]]

    return change


def _task(task: str, window_count: int, more_calls: int = 0, cpu_seconds: float = 0.02) -> Change:
    def change(figures: dict[str, Any]) -> None:
        for row in figures["growth"]["rows"]:
            if (row["task"], row["window_count"]) == (task, window_count):
                row.update(cpu_seconds=cpu_seconds, calls={**row["calls"], "more": more_calls})

    return change


def _load(engine: str, micros: float) -> Change:
    def change(figures: dict[str, Any]) -> None:
        for one in figures["loading"]["figures"]:
            if (one["engine"], one["kind"]) == (engine, "load"):
                one["micros"] = micros

    return change


def _start(environment: str, task: str) -> Change:
    def change(figures: dict[str, Any]) -> None:
        for one in figures["task_start"]["figures"]:
            if (one["environment"], one["task"]) == (environment, task):
                one["cpu_seconds"] = one["empty_seconds"] + 0.51

    return change


WORSE: list[tuple[str, Change, str]] = [
    ("Pull of a new window", _s3("pull of the next day", 9, 5), "**no**: calls"),
    ("Pull of a new window", _s3("pull of the next day", 8, 6), "**no**: one after the other"),
    ("The same pull, run again: nothing", _s3("run again, nothing new", 5, 3), "**no**"),
    ("The same pull, run again: one late", _s3("run again, one late record", 10, 6), "**no**"),
    ("Pull with a lookback", _s3("lookback over 7 days, nothing late", 30, 9), "**no**: calls"),
    ("Pull with a lookback", _s3("lookback over 7 days, nothing late", 29, 67), "**no**: waiting for the store"),
    ("Seal with nothing new", _s3("seal with nothing new", 5, 3), "**no**: seal"),
    ("Seal with nothing new", _s3("verify of one day of 10", 6, 5), "**no**: verify"),
    ("Seal and verify of one day", _s3("seal of one day of 540", 9, 9), "**no**: seal"),
    ("Seal and verify of one day", _s3("verify of one day of 540, sealed", 9, 9), "**no**: verify"),
    ("Pull of the next day", _task("pull of the next day, 2,000 records", 50_016, 1), "**no**: 50,016 windows"),
    ("Pull of the next day", _task("pull of the next day, 2,000 records", 13_008, 0, 0.04), "**no**: 13,008 windows"),
    ("Coverage of one day", _task("coverage of one day", 50_016, 1), "**no**: 50,016 windows"),
    ("Coverage of everything", _task("coverage of everything, sealed history", 13_008, 600), "**no**"),
    ("Coverage of everything", _task("coverage of everything, sealed history", 13_008, 0, 1.01), "**no**"),
    ("Verify of one day, not", _task("verify of one day", 50_016, 0, 0.4), "**no**: 50,016 windows"),
    ("Verify of one day, sealed", _task("verify of one day, sealed history", 13_008, 1), "**no**: 13,008 windows"),
    ("First seal", _task("first seal of everything", 13_008, 0, 15.01), "**no**: 13,008 windows"),
    ("Load into DuckDB", _task("load with nothing new", 50_016, 9), "**no**: 50,016 windows"),
    ("Load into DuckDB", _task("load with nothing new", 540, 0, 0.21), "**no**: 540 windows"),
    ("Load of normalized Parquet, 250,000 records: DuckDB", _load("duckdb", 13.01), "**no**"),
    ("Load of normalized Parquet, 250,000 records: Iceberg", _load("iceberg", 13.01), "**no**"),
    ("Load of normalized Parquet, 250,000 records: PostgreSQL", _load("postgres", 12.01), "**no**"),
    ("Verify of one part", _step("verification of jsonl.zst", 2.81), "**no**: zstd"),
    ("Verify of 24 parts", _step("verification of 24 windows of parquet, wall time", 6.01), "**no**: Parquet"),
    (
        "Start of a task, JSON Lines: bare",
        _start("bare", "S3, no records, JSON Lines"),
        "**no**: S3, no records, JSON Lines",
    ),
    (
        "Start of a task, Parquet: full, prepared",
        _start("full, prepared worker", "S3, 500 records, Parquet"),
        "**no**: S3, 500 records, Parquet",
    ),
    ("500 deferred sensors", _piece("sensors", requests=121, minutes=10), "**no**: requests a minute"),
    ("500 deferred sensors", _piece("sensors", clients=2), "**no**: clients"),
    ("Pages of a pull", _piece("pages", requests=316), "**no**"),
    ("Listing of a local store: keys", _step("listing everything, keys", 5.01), "**no**: everything"),
    (
        "Listing of a local store: keys with sizes",
        _step("listing everything, keys with sizes", 5.21),
        "**no**: everything",
    ),
    ("Encoding of normalized Parquet", _step("encoding v2 as normalized parquet", 8.01), "**no**: v2"),
    ("Encoding of OCSF Parquet", _step("encoding v1 as ocsf parquet", 25.01), "**no**: v1"),
    ("Encoding of OCSF JSON Lines", _step("encoding v1 as ocsf jsonl", 25.01), "**no**: v1"),
    ("Encoding of normalized JSON", _step("encoding v2 as normalized jsonl", 12.01), "**no**: v2"),
    ("Pseudonyms", _step("pseudonyms in records of v2", 12.01), "**no**: v2"),
]


def test_good_figures_reach_every_goal(good: dict[str, Any]) -> None:
    """Figures within their bounds give yes in each row."""
    assert {work: word for work, word in _words(good).items() if word != "yes"} == {}


@pytest.mark.parametrize(("start", "change", "word"), WORSE)
def test_worse_figure_misses_its_goal_alone(good: dict[str, Any], start: str, change: Change, word: str) -> None:
    """A figure just above its bound gives no in its row and leaves the others at yes."""
    worse = deepcopy(good)
    change(worse)
    exact = [work for work in _words(worse) if work == start] or [
        work for work in _words(worse) if work.startswith(start)
    ]
    assert {work: found for work, found in _words(worse).items() if found != "yes"} == {exact[0]: word}


def test_every_goal_but_the_offer_has_a_worse_figure(good: dict[str, Any]) -> None:
    """A planted figure misses each goal that has a bound; starts of tasks have one bound in all environments."""
    planted = tuple(start.partition(":")[0] for start, _, _ in WORSE)
    assert [work for work in _words(good) if not work.startswith(planted)] == [
        "60 windows in as many tasks, or in one task"
    ]


def test_sensors_that_did_not_poll_reach_no_goal(good: dict[str, Any]) -> None:
    """No request and no client are no success."""
    words = _words({**good, "sensors": {**good["sensors"], "requests": 0, "clients": 0}})
    assert [word for work, word in words.items() if "deferred sensors" in work] == ["not measured"]


def test_missing_figures_are_not_measured() -> None:
    """Without figures no goal is reached, and none is missed."""
    assert set(_words({}).values()) == {"not measured"}


@pytest.mark.parametrize("piece", PIECES)
def test_missing_piece_leaves_no_goal_of_it_reached(good: dict[str, Any], piece: str) -> None:
    """The rows of a piece without figures are not measured, and the others keep their word."""
    rest = {name: found for name, found in good.items() if name != piece}
    words = [row.word for row in rows_of(rest)]
    assert set(words) == {"yes", "not measured"}


def test_half_measured_row_is_not_reached() -> None:
    """One missing figure keeps a row from being reached, and does not hide one above the goal."""
    good, bad, missing = at_most("a", 1, 2, "s"), at_most("b", 3, 2, "s"), at_most("c", None, 2, "s")
    words = [Row("", "", figures, "").word for figures in ([good, missing], [good, bad, missing], [bad], [])]
    assert words == ["not measured", "**no**: b", "**no**", "not measured"]


def test_bound_is_inclusive() -> None:
    """A figure that equals its bound reaches the goal."""
    assert (at_most("", 2.0, 2.0, "s").is_reached, cost_at_most("", Cost(4, 0.2), 4, 0.2).is_reached) == (True, True)


@pytest.mark.parametrize(
    ("costs", "reached"),
    [
        ((Cost(17, 0.059), Cost(17, 0.059), Cost(17, 0.055)), [True, True, True]),
        ((Cost(17, 1.0), Cost(17, 1.1), Cost(17, 1.11)), [True, True, False]),
        ((Cost(17, 0.05), Cost(17, 0.06), Cost(17, 0.061)), [True, True, False]),
        ((Cost(17, 0.06), Cost(18, 0.06), Cost(17, 0.06)), [True, False, True]),
        ((None, Cost(17, 0.06), Cost(17, 0.06)), [None, None, None]),
    ],
)
def test_equal_costs_have_the_same_calls_and_about_the_same_time(
    costs: tuple[Cost | None, ...], reached: list[bool | None]
) -> None:
    """A time may be a tenth or a hundredth of a second above the least one."""
    assert _reached(equal_costs(dict(zip(SIZES, costs, strict=True)))) == reached


@pytest.mark.parametrize(
    ("costs", "reached"),
    [
        ((Cost(6, 0.001), Cost(29, 0.024), Cost(101, 0.096)), [True, True, True]),
        ((Cost(6, 0.001), Cost(30, 0.024), Cost(101, 0.096)), [True, False, True]),
        ((Cost(6, 0.001), Cost(29, 0.024), Cost(102, 0.096)), [True, True, False]),
        ((Cost(6, 0.1), Cost(29, 0.2), Cost(101, 0.2)), [True, True, True]),
        ((Cost(6, 0.1), Cost(29, 0.21), Cost(101, 0.2)), [True, False, True]),
        ((Cost(0, 0.1), Cost(24, 0.1), Cost(97, 0.1)), [True, False, False]),
        ((Cost(6, 0.001), None, Cost(101, 0.096)), [None, None, None]),
    ],
)
def test_constant_costs_depend_on_the_windows_of_the_day_only(
    costs: tuple[Cost | None, ...], reached: list[bool | None]
) -> None:
    """A call for each window of the day, a fixed number besides, and a bound for the time."""
    assert _reached(constant_costs(dict(zip(SIZES, costs, strict=True)), SIZES, 1, 0.2)) == reached


def _reached(figures: list[Figure]) -> list[bool | None]:
    return [figure.is_reached for figure in figures]


@pytest.mark.parametrize(
    "arguments", [["--small", "--write"], ["--only", "steps", "--write"], ["--records", "10", "--write"]]
)
def test_partial_run_writes_no_page(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Only a run of all pieces at full size may write; the command ends before it measures anything."""
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert "Only a whole run writes pages" in capsys.readouterr().err


def test_continued_run_measures_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A continued run keeps the pieces of an interrupted run of the same day, and measures the others."""
    measured: list[str] = []

    def note(name: str, _: object) -> dict[str, Any]:
        measured.append(name)
        return {"new": name}

    monkeypatch.setattr(command, "_in_process", note)
    kept = command.measured(["steps"], WHOLE, None, {})
    measured.clear()
    found = command.measured(list(PIECES), WHOLE, None, {**kept, "steps": {"old": 1}})
    assert measured == [name for name in PIECES if name != "steps"]
    assert (found["steps"], found["growth"]) == ({"old": 1}, {"new": "growth"})
    command.measured(list(PIECES), WHOLE, None, {**found, "measured_on": "2026-01-01"})
    assert len(measured) == 2 * len(PIECES) - 1
