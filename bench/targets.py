"""Targets of the benchmark, and whether they are reached.

Invariant: a target is reached or not reached; a target that was not measured is neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from bench.plan import LARGE, SMALL, Lane
from bench.results import Median, Results

MICROS = {"jsonl.zst": 10.0, "jsonl.gz": 12.0, "parquet": 12.0, "parquet normalized": 20.0}
PEAK_MB = {"jsonl.zst": 80.0, "jsonl.gz": 80.0, "parquet": 200.0, "parquet normalized": 200.0}
TIMES_THE_SDK = 8.0
SDK_FORMS = ("jsonl.zst", "jsonl.gz", "parquet")
IMPORT_MS = 60.0
# Two peaks count as equal if they differ by less than the variation of the allocator.
SAME_MB = 15.0


class Verdict(NamedTuple):
    """A target: the bound, the measured value, and whether it is reached; None if it was not measured."""

    wanted: str
    measured: str
    reached: bool | None

    @property
    def word(self) -> str:
        """Result as a word."""
        return {True: "reached", False: "**not reached**", None: "not measured"}[self.reached]


def judge(results: Results) -> list[Verdict]:
    """Returns every target with its result."""
    small, large = results.medians(SMALL, 0), results.medians(LARGE, 0)
    cost = [_bound(f"CPU a record, {form}, {SMALL:,} records", "µs", small, form, "micros") for form in MICROS]
    cost += [_bound(f"CPU a record, {form}, {LARGE:,} records", "µs", large, form, "micros") for form in MICROS]
    memory = [_bound(f"peak memory, {form}, {SMALL:,} records", "MB", small, form, "peak_mb") for form in PEAK_MB]
    memory += [_bound(f"peak memory, {form}, {LARGE:,} records", "MB", large, form, "peak_mb") for form in PEAK_MB]
    return [*cost, *memory, *_flatness(small, large), *_speed(results), _import_cost(results)]


def _bound(what: str, unit: str, medians: dict[Lane, Median], form: str, figure: str) -> Verdict:
    bound = (MICROS if unit == "µs" else PEAK_MB)[form]
    found = medians.get(Lane("ours", form))
    wanted = f"{what}: at most {bound:.0f} {unit}"
    if found is None:
        return Verdict(wanted, "", None)
    value: float = getattr(found, figure)
    return Verdict(wanted, f"{value:.1f} {unit}", value <= bound)


def _flatness(small: dict[Lane, Median], large: dict[Lane, Median]) -> Iterator[Verdict]:
    for form in PEAK_MB:
        lane = Lane("ours", form)
        wanted = f"peak memory, {form}: the same for {SMALL:,} as for {LARGE:,} (within {SAME_MB:.0f} MB)"
        if lane in small and lane in large:
            one, other = small[lane].peak_mb, large[lane].peak_mb
            yield Verdict(wanted, f"{one:.0f} and {other:.0f} MB", other - one <= SAME_MB)
        else:
            yield Verdict(wanted, "", None)


def _speed(results: Results) -> Iterator[Verdict]:
    for record_count, form in product((SMALL, LARGE), SDK_FORMS):
        medians = results.medians(record_count, 50)
        ours = medians.get(Lane("ours", form))
        # Uses the figures measured alone if there are any, so that sharing the machine is no disadvantage.
        sdk = medians.get(Lane("sdk_alone", form)) or medians.get(Lane("sdk", form))
        wanted = f"records a second at 50 ms latency, {form}, {record_count:,} records"
        wanted += f": at least {TIMES_THE_SDK:.0f} times the SDK's"
        if ours is None or sdk is None:
            yield Verdict(wanted, "", None)
        else:
            times = ours.records_per_second / sdk.records_per_second
            yield Verdict(wanted, f"{times:.1f} times", times >= TIMES_THE_SDK)


def _import_cost(results: Results) -> Verdict:
    added_ms = results.imports_ms.get("ours")
    wanted = f"importing the operator adds at most {IMPORT_MS:.0f} ms of CPU to what any operator imports"
    if added_ms is None:
        return Verdict(wanted, "", None)
    return Verdict(wanted, f"{added_ms:.0f} ms", added_ms <= IMPORT_MS)
