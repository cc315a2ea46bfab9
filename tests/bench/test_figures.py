"""Tests of the benchmark's medians, verdicts and page; nothing is measured here."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from bench.__main__ import FIGURES, PAGE
from bench.contenders import FORMS
from bench.document import EARLIER_STAGES, write_document
from bench.importing import with_byte_code
from bench.plan import LANDED_FORMS, LARGE, SMALL, Lane, Scene, whole_plan
from bench.results import Results
from bench.running import Run, turns_of
from bench.stages import Stopwatch, watched
from bench.targets import Verdict, judge

RUN = Run("ours", "jsonl.gz", 0, SMALL, SMALL, 102, 1.0, 1.0, 70_000_000, 12_000_000)


def results(*runs: Run, **imports_ms: float) -> Results:
    """Returns results of these runs."""
    return Results("2026-11-23", "make bench", "a machine", {"httpx": "0.28.1"}, imports_ms, list(runs))


def verdict(wanted: str, found: Results) -> Verdict:
    """Returns the verdict whose sentence starts with this text."""
    (only,) = [each for each in judge(found) if each.wanted.startswith(wanted)]
    return only


def test_median_is_of_each_figure() -> None:
    """Each figure has its own median, so two medians may come from different runs."""
    runs = [RUN._replace(cpu_seconds=cpu, peak_bytes=peak) for cpu, peak in ((1.0, 30), (2.0, 10), (9.0, 20))]
    median = results(*runs).medians(SMALL, 0)[Lane("ours", "jsonl.gz")]
    assert (median.micros, median.peak_mb, median.run_count) == pytest.approx((20.0, 20 / 1e6, 3))


@pytest.mark.parametrize(("cpu_seconds", "reached"), [(1.2, True), (1.21, False)])
def test_bound_is_inclusive(cpu_seconds: float, reached: bool) -> None:
    """A cost that equals its bound reaches the target."""
    found = results(RUN._replace(cpu_seconds=cpu_seconds))
    assert verdict(f"CPU a record, jsonl.gz, {SMALL:,}", found).reached is reached


def test_what_was_not_measured_is_neither() -> None:
    """Without runs a target is neither reached nor missed."""
    assert {each.reached for each in judge(results())} == {None}


def test_memory_may_not_grow_with_the_day() -> None:
    """A peak that grows with the number of records misses the target."""
    large = RUN._replace(record_count=LARGE, peak_bytes=RUN.peak_bytes + 16_000_000)
    assert verdict("peak memory, jsonl.gz: the same", results(RUN, large)).reached is False


def test_speed_is_held_against_the_sdk() -> None:
    """Records a second at latency are compared with the SDK's in the same form."""
    ours = RUN._replace(latency_ms=50)
    sdk = ours._replace(contender="sdk", wall_seconds=8.0)
    wanted = "records a second at 50 ms latency, jsonl.gz, 100,000 records"
    assert verdict(wanted, results(ours, sdk)) == Verdict(f"{wanted}: at least 8 times the SDK's", "8.0 times", True)
    alone = sdk._replace(contender="sdk_alone", wall_seconds=7.9)
    assert verdict(wanted, results(ours, sdk, alone)).reached is False
    slower = sdk._replace(wall_seconds=7.9)
    assert verdict(wanted, results(ours, slower)).reached is False


def test_page_shows_every_lane(tmp_path: Path) -> None:
    """The page has a row for each lane, with its ratio to this provider's."""
    results(RUN, RUN._replace(contender="sdk", cpu_seconds=10.0), ours=50.0).write(tmp_path / "results.json")
    page = write_document(Results.read(tmp_path / "results.json"))
    assert "| the official `cloudflare` SDK | jsonl.gz | 100.0 | 10 | 100,000 | 1.00 |" in page
    assert "| importing the operator adds at most 60 ms of CPU to what any operator imports | 50 ms | reached |" in page


def test_published_page_is_written_from_the_stored_figures() -> None:
    """The page in the documentation has the figures of ``bench/figures.json``, and no other word than the writer's."""
    assert PAGE.read_text(encoding="utf-8") == write_document(Results.read(FIGURES))


def test_earlier_stage_is_one_that_stored_figures_have() -> None:
    """A translation of a stage's name is removed with the last figures that need it."""
    stored = {name for micros in (Results.read(FIGURES).stages or {}).values() for name in micros}
    assert EARLIER_STAGES.keys() <= stored


def _run_counts(plan: list[Scene]) -> dict[tuple[int, int, Lane], int]:
    """Returns how often a plan measures each lane on each day at each latency."""
    return {(scene.record_count, scene.latency_ms, lane): scene.run_count for scene in plan for lane in scene.lanes}


def test_the_plan_has_everybody_everywhere_five_times() -> None:
    """Every contender is measured five times in each of its forms, on both days at both latencies."""
    counts = _run_counts(whole_plan())
    assert set(counts.values()) == {5}
    for record_count, latency_ms in product((SMALL, LARGE), (0, 50)):
        lanes = {lane for count, latency, lane in counts if (count, latency) == (record_count, latency_ms)}
        for name in FORMS.keys() - {"ours_in_task", "sdk_alone"}:
            assert {lane.form for lane in lanes if lane.contender == name} >= {*FORMS[name]} & {*LANDED_FORMS}
    assert {lane for _, _, lane in counts} == {Lane(name, form) for name, forms in FORMS.items() for form in forms}


def test_a_broken_off_benchmark_goes_on_with_what_is_missing() -> None:
    """A continued benchmark skips stored runs and measures the missing ones."""
    sdk, ours = Lane("sdk", "jsonl.gz"), Lane("ours", "jsonl.gz")
    scene = Scene(SMALL, 0, (ours, sdk), 3)
    elsewhere = RUN._replace(latency_ms=50)
    assert turns_of(scene, [RUN, RUN, RUN._replace(contender="sdk"), elsewhere]) == [[], [sdk], [ours, sdk]]


def test_what_another_commit_of_ours_did_is_measured_anew() -> None:
    """Continuing at another commit keeps only the other contenders' runs; at the same commit, all runs."""
    kept = results(RUN, RUN._replace(contender="sdk"))._replace(commit="a", loads=(1.0, 2.0))
    now = results()._replace(commit="b")
    assert [run.contender for run in now.going_on(kept).runs] == ["sdk"]
    assert (now.going_on(kept).break_count, now.going_on(kept).loads) == (1, (2.0,))
    assert len(now._replace(commit="a").going_on(kept).runs) == 2
    assert "interrupted and continued 1 time." in write_document(now.going_on(kept))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("machine", results()._replace(machine="another")),
        ("versions", results()._replace(versions={"httpx": "0.1"})),
        ("harness", results()._replace(harness="another")),
    ],
)
def test_what_another_harness_measured_is_refused(name: str, kept: Results) -> None:
    """Figures of another machine, other versions or another harness are not mixed with new ones."""
    with pytest.raises(ValueError, match=f"another {name}: .*Measure anew"):
        results().going_on(kept)


def test_page_says_how_often_a_row_was_measured() -> None:
    """The page states how many runs the rows of each scene have."""
    page = write_document(results(RUN, RUN, RUN._replace(contender="sdk"), RUN._replace(latency_ms=50)))
    assert f"({SMALL:,} records at 0 ms: 1 or 2; {SMALL:,} records at 50 ms: 1)" in page


def test_page_shows_where_our_time_goes() -> None:
    """The table lists the most expensive stages first and ends with the sum; without figures there is no table."""
    stages = {"jsonl.gz": {"receive": 2.0, "a": 0.01, "b": 0.02}, "parquet": {"receive": 1.0, "rows": 3.0}}
    page = write_document(results(RUN)._replace(stages=stages))
    rows = ["| rows | 0.00 | 3.00 |", "| receive | 2.00 | 1.00 |", "| smaller stages together | 0.03 | 0.00 |"]
    assert "\n".join([*rows, "| **all** | **2.03** | **4.00** |"]) in page
    assert "Where this provider's CPU time goes" not in write_document(results(RUN))


def test_an_import_is_measured_with_byte_code() -> None:
    """The interpreter that measures an import writes byte code, regardless of the caller's environment."""
    assert with_byte_code({"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/x"}) == {"HOME": "/x"}


def test_stages_exist() -> None:
    """Every stage the profile shows is a function of the package."""
    with watched() as watch:
        assert watch.missing == []


def test_nested_stages_share_no_second() -> None:
    """Time spent in an inner stage is not counted for the outer one."""
    watch = Stopwatch()
    inner = watch.around("inner", lambda: sum(range(300_000)))
    watch.around("outer", inner)()
    spent_seconds = watch.stop()
    assert spent_seconds["inner"] > spent_seconds["outer"]
