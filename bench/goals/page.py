"""Page of the goals, and the file with the figures that it is made of.

Invariant: the page has nothing but these figures, so that it is written again from the file at any time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.goals.rows import SIZES, rows_of

FIGURES = Path(__file__).parents[1] / "goals.json"
PAGE = Path(__file__).parents[2] / "docs/explanation/goals.md"
HEAD = """# Costs around a pull: goals and figures

<!-- Written by `python -m bench.goals --write`; change bench/goals/, not this page. -->

The table has the goals for what a pull and the work around it cost: for example calls to the object store, seals,
verification, loads, and the start of a task. One command, `make bench-goals`, measures all figures in one run on one
machine. It also writes the pages that the last column links to; they describe how the figures are measured. The other
entries of the last column are commands that measure the same figure, and tests that count the same requests.

The column *reached* says yes only if every figure of the row is within the goal. Otherwise it says no. If only some
figures of the row are above the goal, it names them. These rules apply:

- *Windows* are the windows that are committed before the task starts. Histories of {sizes}
  windows have daily, hourly and quarter-hourly windows.
- A time is CPU time, unless the row says wall time or waiting.
- *Bare*, *full* and *prepared worker*: [Start of a task](task-start.md) describes these installations and this worker.
- *Equal at all sizes*: the number of calls is the same. No CPU time exceeds the least by more than 10 % or 0.01 s,
  whichever is larger.
- *Constant in the history*: apart from one or two calls for each window of the day, the number of calls is the same. In
  the three histories, a day has 1, 24 or 96 windows. The CPU time may grow with the windows of the day, up to the limit
  in the column *goal*.
- *Verify of one part*: the ratio to decompression and SHA-256, in brackets, has no goal. It is above 2 for most
  formats, because the decoder has to read each record to its end. The row for 24 parts has a goal for this ratio.

Measured on {measured_on}: {machine}. {reached} of {count} goals are reached.

| work | goal | now | reached | measured by |
|---|---|---|---|---|
"""


def document(figures: dict[str, Any]) -> str:
    """Returns the page of these figures; some of them may be missing."""
    rows = rows_of(figures)
    head = HEAD.format(
        sizes=f"{SIZES[0]:,}, {SIZES[1]:,} and {SIZES[2]:,}",
        measured_on=figures["measured_on"],
        machine=figures["machine"],
        reached=sum(row.word == "yes" for row in rows),
        count=len(rows),
    )
    return head + "\n".join([*(row.line() for row in rows), ""])
