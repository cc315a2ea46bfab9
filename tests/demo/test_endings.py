"""The demo's exit code and its last message depend on what was found."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo import narration, scenes, story
from demo.backfill import describe, nothing_moves
from demo.layout import Layout
from demo.narration import Narrator
from demo.scenes import Cast
from demo.verdict import Verdict
from harness.airflow_instance import DagRun
from harness.cloudflare_account import CloudflareAccount

DAYS = [date(2026, 11, 9) + timedelta(days=number) for number in range(14)]
RUNS = [DagRun("d", "r1", "2026-11-09", "success"), DagRun("d", "r2", "2026-11-10", "running")]


def cast_with(sink: io.StringIO) -> Cast:
    """Returns a cast that can only print."""
    narrator = Narrator(Console(file=sink, width=100))
    return Cast(narrator, Layout(Path()), None, CloudflareAccount("a", "t", None, None), DAYS, timedelta())  # type: ignore[arg-type]  # no Airflow is asked here


@pytest.mark.parametrize(
    ("differences", "unchanged", "well"),
    [([], True, True), (["jsonl 2026-11-09: record x is missing"], True, False), ([], False, False)],
)
def test_one_difference_is_enough(*, differences: list[str], unchanged: bool, well: bool) -> None:
    """The result is good only without a difference and without a changed byte; a difference is named."""
    sink = io.StringIO()
    assert scenes.conclude(cast_with(sink), Verdict(differences), unchanged=unchanged) is well
    assert all(difference in sink.getvalue() for difference in differences)


@pytest.mark.parametrize("as_made", [True, False])
def test_commands_must_find_what_was_done(*, as_made: bool) -> None:
    """Without a difference, the result is good only if the commands found what the demo did on purpose."""
    sink = io.StringIO()
    assert story._conclude(cast_with(sink), Verdict(), unchanged=True, as_made=as_made) is as_made
    assert ("on purpose and found" in sink.getvalue()) is as_made


def test_machine_without_browser_has_no_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a Chromium on the PATH, the demo says so and takes no picture."""
    monkeypatch.setenv("PATH", str(tmp_path))
    sink = io.StringIO()
    story._take_pictures(cast_with(sink))
    assert "apt install chromium" in sink.getvalue()


def test_stages_are_printed_with_their_sum() -> None:
    """The last line has the seconds of each stage, the one before the start of Airflow included, and their sum."""
    sink = io.StringIO()
    narrator = Narrator(Console(file=sink, width=100))
    narrator.stages["environment"] = 21.6
    with narrator.stage("backfill"):
        pass
    narrator.print_stages()
    assert sink.getvalue() == "Time: environment 22 s, backfill 0 s; 22 s in all.\n"


@pytest.mark.parametrize(("well", "code"), [(True, 0), (False, 1)])
def test_exit_code_is_the_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, well: bool, code: int) -> None:
    """The command exits with 0 if there is no difference and with 1 if a record differs."""
    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.setattr(Layout, "here", classmethod(lambda cls: cls(tmp_path)))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(story, "_gather", lambda *_: None)
    monkeypatch.setattr(story, "_run", lambda _: well)
    monkeypatch.setenv("DEMO_PREPARATION_SECONDS", "1")
    assert story.main() == code


def test_days_are_the_last_complete_and_settled_ones() -> None:
    """The fourteen days end with yesterday, or one day earlier just after midnight."""
    days = story.complete_days(datetime(2026, 11, 23, 19, tzinfo=UTC))
    assert (days[0], days[-1], len(days)) == (date(2026, 11, 9), date(2026, 11, 22), 14)
    assert story.complete_days(datetime(2026, 11, 23, 0, 30, tzinfo=UTC))[-1] == date(2026, 11, 21)


def test_waiting_ends_when_only_retries_are_left() -> None:
    """Waiting ends only when every unfinished run waits for its retry."""
    stuck: list[dict[str, Any]] = [{"dag_id": "d", "dag_run_id": "r2", "state": "up_for_retry"}]
    assert nothing_moves(RUNS, stuck)
    assert not nothing_moves(RUNS, [])
    assert not nothing_moves(RUNS[:1], [])
    assert describe(RUNS) == "1 running"


def test_log_lines_stay_and_a_failed_step_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, counts are whole lines without control characters, and a failed step is marked."""
    monkeypatch.setattr(narration, "LOG_EVERY_SECONDS", 0.0)
    sink = io.StringIO()
    narrator = Narrator(Console(file=sink, width=100))
    with narrator.counting("runs", 2) as counter:
        counter.show(1, "1 running")
    with pytest.raises(ValueError, match="no"), narrator.step("a step"):
        raise ValueError("no")
    said = sink.getvalue()
    assert "runs done 1/2, 1 running" in said
    assert f"{narrator.failed_mark} a step" in said
    assert "\x1b" not in said


@pytest.mark.integration
def test_first_half_needs_only_the_standard_library(tmp_path: Path) -> None:
    """A bare Python can start the demo and print its help."""
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import demo.__main__",
    ]
    here = Path(__file__).resolve().parents[2]
    subprocess.run([*command, str(here)], check=True, cwd=tmp_path, timeout=300)
