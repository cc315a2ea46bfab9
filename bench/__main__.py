"""``python -m bench``: measure, keep the figures, write the page.

Knows: arguments, and where figures and page lie. Must not know: contenders.
Its one rule: the figures are kept after every run, so that an interrupted benchmark still has what it measured.
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
from bench.plan import Scene, default_plan, full_plan, quick_plan
from bench.results import Results, describe_machine, installed
from bench.running import environment, run_scenes

PROJECT = Path(__file__).resolve().parent.parent
WORKPLACE = PROJECT / ".bench" / "work"
FIGURES = PROJECT / ".bench" / "results.json"
PAGE = PROJECT / "docs" / "benchmarks.md"
IMPORT_RUNS = 5


def main() -> int:
    """Measure what is asked for; a quick look changes no page."""
    asked = _arguments()
    if asked.render:
        PAGE.write_text(write_document(Results.read(FIGURES)))
        return 0
    command, scenes = _plan(asked)
    results = measure(command, scenes)
    page = write_document(results)
    if asked.quick:
        print(page)
    else:
        PAGE.write_text(page)
        print(f"Wrote {PAGE.relative_to(PROJECT)} from {FIGURES.relative_to(PROJECT)}.")
    return 0


def measure(command: str, scenes: list[Scene]) -> Results:
    """Run all scenes; return the results, which also lie in the file of figures."""
    WORKPLACE.mkdir(parents=True, exist_ok=True)
    imports_ms = measure_imports(environment(WORKPLACE), IMPORT_RUNS)
    _tell(f"Importing adds, in CPU ms: {imports_ms}")
    today = datetime.now(UTC).date().isoformat()
    results = Results(today, command, describe_machine(), installed(), imports_ms, [], stages=_measured_stages())
    figures = WORKPLACE / "quick.json" if command.endswith("QUICK=1") else FIGURES
    for run in run_scenes(scenes, WORKPLACE, _tell):
        results = results.with_run(run)
        results.write(figures)
    return results


def _measured_stages() -> dict[str, dict[str, float]]:
    """Profile our own pull in a process of its own."""
    command = [sys.executable, "-m", "bench.profiling", "--json"]
    told = subprocess.run(command, env=environment(WORKPLACE), check=True, stdout=subprocess.PIPE, text=True).stdout
    stages: dict[str, dict[str, float]] = json.loads(told.splitlines()[-1])
    return stages


def _plan(asked: argparse.Namespace) -> tuple[str, list[Scene]]:
    if asked.quick:
        return "make bench QUICK=1", quick_plan()
    return ("make bench FULL=1", full_plan()) if asked.full else ("make bench", default_plan())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every contender in every form on both days")
    parser.add_argument("--quick", action="store_true", help="our forms alone, three runs, no page written")
    parser.add_argument("--render", action="store_true", help="write the page again from the figures kept")
    return parser.parse_args()


def _tell(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
