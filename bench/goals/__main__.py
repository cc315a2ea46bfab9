"""``python -m bench.goals``: all figures of the page of goals, measured in one run.

The run also measures everything of the pages of growth, loading and task start, and writes these pages as well.

Invariant: only a run that has measured every piece in full writes pages.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import growth, loading
from bench.goals.page import FIGURES, PAGE, document
from bench.goals.pieces import PIECES, SMALL, WHOLE, Scale, measure
from bench.task_start import __main__ as task_start

# What an interrupted run has measured.
KEPT = Path(__file__).parents[2] / ".cache" / "goals.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the pieces, prints the table, and writes the pages if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.goals", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PIECES, default=list(PIECES), help=", ".join(PIECES))
    parser.add_argument("--small", action="store_true", help="measure little, to try the command out")
    parser.add_argument("--records", type=int, default=WHOLE.load_records, help="size of the window that is loaded")
    parser.add_argument(
        "--go-on", action="store_true", help="keep the pieces that an interrupted run has measured today"
    )
    parser.add_argument("--write", action="store_true", help="write the figures and the pages")
    given = parser.parse_args(arguments)
    is_whole = not given.small and set(given.only) == set(PIECES) and given.records == WHOLE.load_records
    if given.write and not is_whole:
        parser.error("Only a whole run writes pages: leave out --only, --small and --records.")
    scale = SMALL if given.small else WHOLE._replace(load_records=given.records)
    kept = json.loads(KEPT.read_text()) if given.go_on and KEPT.exists() else {}
    figures = measured(given.only, scale, None if given.small else KEPT, kept)
    if given.write:
        write(figures)
        KEPT.unlink(missing_ok=True)
    print(document(figures))
    return 0


def measured(names: Sequence[str], scale: Scale, keep_in: Path | None, kept: dict[str, Any]) -> dict[str, Any]:
    """Measures the pieces that are not known yet, and returns all figures with the date and the machine.

    Pieces of another day or machine are measured again.
    """
    facts: dict[str, Any] = {
        "measured_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, CPython {platform.python_version()}",
    }
    figures = {**kept, **facts} if facts.items() <= kept.items() else {**facts}
    for name in names:
        if name in figures:
            continue
        before = time.monotonic()
        print(f"--- {name}", flush=True)
        figures[name] = _in_process(name, scale)
        print(f"--- {name} took {time.monotonic() - before:.0f} s", flush=True)
        if keep_in is not None:
            keep_in.parent.mkdir(exist_ok=True)
            keep_in.write_text(json.dumps(figures))
    return figures


def _in_process(name: str, scale: Scale) -> dict[str, Any]:
    """Measures a piece in a new process, in which nothing is imported that it does not use."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, name, scale).result()


def write(figures: dict[str, Any]) -> None:
    """Writes the page of goals, and those of the benchmarks that are part of it, with their figures."""
    growth.write(figures["growth"])
    loading.write(figures["loading"])
    task_start.write(figures["task_start"])
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(document(figures))


if __name__ == "__main__":
    sys.exit(main())
