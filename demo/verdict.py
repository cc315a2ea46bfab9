"""Compares all windows with the true records, or with their manifests where these are not known.

Invariant: a window that is missing counts as a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from demo.comparison import compare_ids, compare_lines, record_id
from harness.landed import LandedWindow, manifest_differences, part_lines

# (window's start, its end) -> the true raw records
Truth = Callable[[datetime, datetime], list[bytes]]


@dataclass
class Verdict:
    """The differences found; `status` maps (format, day) to a short text for the table."""

    differences: list[str] = field(default_factory=list)
    status: dict[tuple[str, str], str] = field(default_factory=dict)
    compared_count: int = 0


def judge(
    windows: Iterable[LandedWindow], formats: Iterable[str], days: Iterable[date], truth: Truth | None
) -> Verdict:
    """Compares every window of these formats and days; without `truth` with its manifest, and for duplicate ids."""
    verdict, found = Verdict(), {(window.file_format, window.day): window for window in windows}
    for file_format in formats:
        for day in days:
            key = file_format, day.isoformat()
            window = found.get(key)
            differences = _judge_window(window, day, truth) if window else [f"{key[0]} {key[1]}: no manifest"]
            verdict.differences += differences
            verdict.compared_count += window.record_count if window else 0
            verdict.status[key] = _dirty(len(differences)) if differences else _clean(truth)
    return verdict


def _dirty(count: int) -> str:
    return "1 difference" if count == 1 else f"{count:,} differences"


def _clean(truth: Truth | None) -> str:
    return "equal to its manifest" if truth is None else "equal, every byte"


def _judge_window(window: LandedWindow, day: date, truth: Truth | None) -> list[str]:
    broken = list(manifest_differences(window))
    if broken:
        return broken
    where = f"{window.file_format} {window.day}"
    lines = [line for part in window.parts for line in part_lines(part)]
    if truth is None:
        ids = [record_id(line) for line in lines]
        return [str(difference) for difference in compare_ids(where, ids, set(ids))]
    start = datetime.combine(day, time(), UTC)
    return [str(difference) for difference in compare_lines(where, lines, truth(start, start + timedelta(days=1)))]
