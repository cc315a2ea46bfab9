"""The backfill under the rate limit ends complete and unrefused, and its use of the limit is computed from the log."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.eighteen_months.source import HistorySource, Setup, rate_use
from tests.architecture.source_files import PROJECT

# A period of 60 seconds.
SETUP = Setup(clock_scale=5)
FULL = [number * 0.01 for number in range(1200)]


def _periods(*starts: float, count: int = 1200) -> list[float]:
    return [start + at for start in starts for at in FULL[:count]]


@pytest.mark.parametrize(
    ("times", "pauses", "counts", "share"),
    [
        ([], [], [], 0.0),
        (FULL, [], [], 0.0),
        (_periods(0, 60, 120), [], [1200, 1200], 1.0),
        (_periods(0, 75), [], [1200], 0.8),
        (_periods(0, 60, 120, count=600), [], [600, 600], 0.5),
        # The period that a pause cuts off does not count, and neither does the time of the pause.
        (_periods(0, 60, 500, 560), [(70, 499)], [1200, 1200], 1.0),
        (_periods(0, 60, 500, 575), [(70, 499)], [1200, 1200], 2400 / (1200 * (60 + 75) / 60)),
    ],
)
def test_use_of_the_limit_is_that_of_complete_periods(
    times: list[float], pauses: list[tuple[float, float]], counts: list[int], share: float
) -> None:
    """Requests of complete periods are divided by what the limit allows in their time, apart from pauses."""
    use = rate_use(times, pauses, SETUP)
    assert use.counts == counts
    assert use.share == pytest.approx(share)


def test_history_has_its_bursts() -> None:
    """On three days, as many records as a mean day has come within ten minutes."""
    source = HistorySource(Setup(day_count=40, records_per_day=200))
    rows = list(source.truth("v1", None, source.start, source.end))
    assert sum(row.id.startswith("b0000000") for row in rows) == 3 * 200
    assert len(rows) > 40 * 100


@pytest.mark.nightly
def test_short_backfill_with_both_outages_ends_complete() -> None:
    """Forty days in four runs: all are committed with exactly the records of the source, and no request is refused."""
    sizes = ("--day-count", "40", "--days-a-run", "10", "--records-per-day", "500", "--side-by-side", "2")
    clock = ("--clock-scale", "20", "--api-outage-minutes", "10", "--machine-outage-minutes", "12")
    command = [sys.executable, "-m", "bench.eighteen_months", *sizes, *clock]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert (found["states"], found["day_count"], found["refused_count"]) == ({"success": 4}, 40, 0)
    assert found["failed_count"] > 0
