"""Draws the records of each day as a bar chart of characters, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

EIGHTHS = " ▏▎▍▌▋▊▉"


def bars(counts: Mapping[str, Sequence[int]], *, width: int, ascii_only: bool = False) -> list[Text]:
    """Returns one line a day, in order: the day, a bar of two parts, the numbers.

    `counts` maps a day to its two parts; `width` is in characters and at least 40.
    """
    label = max((len(day) for day in counts), default=0)
    notes = {day: _note(parts) for day, parts in counts.items()}
    room = max(width - label - max((len(note) for note in notes.values()), default=0) - 4, 8)
    most = max((sum(parts) for parts in counts.values()), default=0)
    lines = []
    for day, parts in counts.items():
        good, bad = (part * room / most if most else 0.0 for part in (parts[0], sum(parts)))
        line = Text(f"{day}  ", no_wrap=True)
        line.append(_bar(good, ascii_only, "#"), style="cyan")
        line.append(_rest(good, bad, ascii_only), style="yellow")
        lines.append(line.append("  " + notes[day]))
    return lines


def _note(parts: Sequence[int]) -> str:
    return f"{sum(parts):,} ({parts[1]:,})"


def _bar(length: float, ascii_only: bool, mark: str) -> str:
    if ascii_only:
        return mark * round(length)
    whole, eighths = divmod(round(length * 8), 8)
    return "█" * whole + (EIGHTHS[eighths] if eighths else "")


def _rest(start: float, end: float, ascii_only: bool) -> str:
    taken = round(start) if ascii_only else -(-round(start * 8) // 8)
    return ("x" if ascii_only else "▒") * max(round(end) - taken, 0)
