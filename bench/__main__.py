"""``python -m bench``: measures, stores the figures, writes the page.

Invariant: the figures are stored after every run, so that an interrupted benchmark keeps them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.document import write_document
from bench.importing import measure_imports
from bench.plan import Scene, quick_plan, whole_plan
from bench.results import Results, describe_machine, installed
from bench.running import environment, run_scenes

PROJECT = Path(__file__).resolve().parent.parent
WORKPLACE = PROJECT / ".bench" / "work"
FIGURES = PROJECT / "bench" / "figures.json"
PAGE = PROJECT / "docs" / "explanation" / "benchmarks.md"
MEASURED = "airflow_audit_provider"
# Files that determine the figures of the other contenders: the fake, how they run, and what is installed.
HARNESS = (
    *(f"{MEASURED}/testing", "requirements/bench.txt", "bench/contenders"),
    *("bench/job.py", "bench/lane.py", "bench/meter.py", "bench/running.py", "bench/fake_server.py"),
)
IMPORT_RUNS = 5


def main() -> int:
    """Runs the benchmark; with ``--quick`` the page is not changed."""
    asked = _arguments()
    if asked.render:
        PAGE.write_text(write_document(Results.read(FIGURES)))
        return 0
    command, scenes = ("make bench QUICK=1", quick_plan()) if asked.quick else ("make bench", whole_plan())
    figures = WORKPLACE / "quick.json" if asked.quick else FIGURES
    kept = Results.read(figures) if asked.go_on else None
    results = measure(command, scenes, figures, kept)
    page = write_document(results)
    if asked.quick:
        print(page)
    else:
        PAGE.write_text(page)
        print(f"Wrote {PAGE.relative_to(PROJECT)} from {FIGURES.relative_to(PROJECT)}.")
    return 0


def measure(command: str, scenes: list[Scene], figures: Path, kept: Results | None) -> Results:
    """Runs the scenes that are not stored yet; returns the results, which are also in the figures file."""
    WORKPLACE.mkdir(parents=True, exist_ok=True)
    imports_ms = measure_imports(environment(WORKPLACE), IMPORT_RUNS)
    _tell(f"Importing adds, in CPU ms: {imports_ms}")
    today = datetime.now(UTC).date().isoformat()
    results = Results(today, command, describe_machine(), installed(), imports_ms, [], stages=_measured_stages())
    results = results._replace(commit=_commit(MEASURED), harness=_commit(*HARNESS))
    if kept is not None:
        results = results.going_on(kept)
    for run in run_scenes(scenes, results.runs, WORKPLACE, _tell):
        results = results.with_run(run)
        results.write(figures)
    return results


def _commit(*places: str) -> str:
    """Returns the last commit that changed these files, marked as modified if the working tree differs."""
    last, changed = (_git(*asked, "--", *places) for asked in (("log", "-1", "--format=%h"), ("status", "--short")))
    return f"{last} and changes until {datetime.now(UTC):%Y-%m-%d %H:%M:%S}" if changed else last


def _git(*asked: str) -> str:
    command = ["git", *asked]
    answer = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


def _measured_stages() -> dict[str, dict[str, float]]:
    """Profiles this provider's pull in a separate process."""
    command = [sys.executable, "-m", "bench.profiling", "--json"]
    output = subprocess.run(command, env=environment(WORKPLACE), check=True, stdout=subprocess.PIPE, text=True).stdout
    stages: dict[str, dict[str, float]] = json.loads(output.splitlines()[-1])
    return stages


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="our forms alone, three runs, no page written")
    parser.add_argument("--go-on", action="store_true", help="keep what a benchmark that was broken off has measured")
    parser.add_argument("--render", action="store_true", help="write the page again from the figures kept")
    return parser.parse_args()


def _tell(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
