"""Tasks after a long history cost no more than the committed figures say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench.eighteen_months.__main__ as eighteen_months
import bench.task_start.__main__ as task_start
from bench import growth, loader, loading
from bench.goals import page as goals
from bench.growth import Row, regressions
from bench.loading import LoadFigure
from tests.architecture.source_files import PROJECT
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.verify.dataset import DAY

COMMITTED = {
    "calibration_seconds": 0.02,
    "rows": [{"task": "seal", "window_count": 540, "calls": {"list": 2, "read": 2}, "cpu_seconds": 1.0}],
}
SAME = Row("seal", 540, {"list": 2, "read": 2}, 1.0)


@pytest.mark.parametrize(
    ("row", "calibration_seconds", "found"),
    [
        (SAME, 0.02, None),
        (SAME._replace(cpu_seconds=1.14), 0.02, None),
        (SAME._replace(cpu_seconds=1.16), 0.02, "1.16 s of CPU, 1.00 s before"),
        (SAME._replace(cpu_seconds=1.9), 0.04, None),
        (SAME._replace(cpu_seconds=0.6), 0.01, "0.60 s of CPU, 0.50 s before"),
        (SAME._replace(calls={"list": 2, "read": 3}), 0.02, "5 calls, 4 before"),
        (SAME._replace(calls={"list": 3, "read": 1}), 0.02, None),
        (SAME._replace(window_count=541, cpu_seconds=9.0), 0.02, None),
    ],
)
def test_regression_is_one_call_or_much_time_more(row: Row, calibration_seconds: float, found: str | None) -> None:
    """Time is compared as a multiple of the calibration, so that a slower machine is no regression."""
    sentences = list(regressions([row], calibration_seconds, COMMITTED))
    assert [found is not None and found in sentence for sentence in sentences] == ([True] if found else [])


@pytest.mark.parametrize(
    ("page", "figures", "document"),
    [
        (growth.PAGE, growth.FIGURES, growth.document),
        (loading.PAGE, loading.FIGURES, loading.document),
        (task_start.PAGE, task_start.FIGURES, task_start.document),
        (goals.PAGE, goals.FIGURES, goals.document),
        (eighteen_months.PAGE, eighteen_months.FIGURES, eighteen_months.document),
    ],
)
def test_page_has_the_committed_figures(page: Path, figures: Path, document: Callable[[Any], str]) -> None:
    """The pages are written from the figures beside the code."""
    assert page.read_text() == document(json.loads(figures.read_text()))


@pytest.mark.parametrize(
    ("found", "sentences"),
    [
        (("seal", 4, 3), []),
        (("seal", 3, 2), []),
        (("verify", 9, 9), []),
        (("seal", 5, 3), ["seal: 5 calls to S3 of depth 3, 4 of depth 3 before."]),
        (("seal", 4, 4), ["seal: 4 calls to S3 of depth 4, 4 of depth 3 before."]),
    ],
)
def test_one_call_to_s3_more_is_a_regression(found: tuple[str, int, int], sentences: list[str]) -> None:
    """So is one call more that waits for the others; a new task has nothing to be compared with."""
    assert list(growth.calls_regressions([found], {"s3": [["seal", 4, 3]]})) == sentences


@pytest.mark.integration
def test_load_with_nothing_new_is_one_by_the_commit_log() -> None:
    """The measured load takes two listings, because its table has every window and a position in the log."""
    store = CountingStore(loader.with_commit_log(dict(committed(windows(8))), END))
    with loader.loaded_table(store.objects, END + DAY) as table:
        table.follow(store)
        store.calls.clear()
        table.load(store)
    assert store.calls == {"list": 2}


@pytest.mark.parametrize(("micros", "is_regression"), [(12.0, False), (13.7, False), (13.9, True), (6.0, False)])
def test_load_is_compared_by_its_ratio_to_the_floor(micros: float, is_regression: bool) -> None:
    """On a machine of half the speed both take twice the time."""
    before = [LoadFigure("duckdb", kind, figure, 1.0, 1.0)._asdict() for kind, figure in (("floor", 10), ("load", 12))]
    found = [LoadFigure("duckdb", "floor", 20.0, 2.0, 1.0), LoadFigure("duckdb", "load", 2 * micros, 2.0, 1.0)]
    assert len(list(loading.regressions(found, {"figures": before}))) == is_regression


def test_page_of_loads_compares_with_dlt_where_it_was_measured() -> None:
    """The section has the engines that dlt has loaded, and is left out without one."""
    figures = [
        LoadFigure(engine, kind, micros, 3.0, 100.0)._asdict()
        for engine, kind, micros in (
            *(("duckdb", "floor", 10.0), ("duckdb", "load", 12.0), ("duckdb", "dlt", 30.0)),
            *(("iceberg", "floor", 10.0), ("iceberg", "load", 12.0)),
        )
    ]
    facts = {"form": "parquet normalized", "records": 5, "runs": 5, "machine": "m", "measured_on": "2026-11-30"}
    page = loading.document({**facts, "figures": figures})
    assert page.endswith("| duckdb | 12.0 | 30.0 | 2.50 | 3.0 | 100 |\n")
    without = loading.document({**facts, "figures": [one for one in figures if one["kind"] != "dlt"]})
    assert without.endswith("| iceberg | 10.0 | 12.0 | 1.20 | 3.0 | 100 |\n")
    assert "dlt" not in without


@pytest.mark.nightly
def test_no_load_is_more_expensive_than_the_committed_ratio() -> None:
    """The ratio of each engine has not grown; PostgreSQL, DuckDB and Iceberg run here."""
    command = [sys.executable, "-m", "bench.loading", "--check"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.nightly
def test_no_task_is_more_expensive_than_the_committed_figures() -> None:
    """Neither the calls nor the CPU time of a task have grown."""
    # In a process of its own, in which garbage collection does not go through what pytest has collected.
    command = [sys.executable, "-m", "bench.growth", "--check"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
