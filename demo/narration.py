"""What the demo says while it works: steps with their times, and one bar for the backfill.

Knows: whether somebody watches (a terminal) or a log is written (anything else), and how wide it is.
Must not know: what the steps do.
Its one rule: in a log nothing is drawn over; a line is written once, every few seconds, and stays.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LOG_WIDTH = 100
LOG_EVERY_SECONDS = 5.0


def make_console(*, columns: str = "", is_terminal: bool | None = None) -> Console:
    """A console that is as wide as its terminal, or LOG_WIDTH where there is none (NO_COLOR is rich's own affair)."""
    found = Console(force_terminal=is_terminal, highlight=False)
    if found.is_terminal or columns:
        return found
    return Console(width=LOG_WIDTH, force_terminal=is_terminal, highlight=False)


class Narrator:
    """Tells steps and counts; keeps each step's seconds in `took`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.took: dict[str, float] = {}
        unicode_ok = (console.encoding or "").lower().startswith("utf")
        self.done_mark, self.failed_mark = ("✓", "✗") if unicode_ok else ("ok", "FAILED")

    def title(self, text: str) -> None:
        """Start a chapter."""
        self.console.print(f"\n[bold]{text}[/bold]")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Tell a step when it ends, with its seconds, and mark it if it raised."""
        with self._timed(text), self.console.status(text) if self.console.is_terminal else nullcontext():
            yield

    @contextmanager
    def _timed(self, text: str) -> Iterator[None]:
        started = time.monotonic()
        mark = f"[red]{self.failed_mark}[/red]"
        try:
            yield
            mark = f"[green]{self.done_mark}[/green]"
        finally:
            self.took[text] = time.monotonic() - started
            self.console.print(f"  {mark} {text} [dim]{self.took[text]:.1f} s[/dim]")

    @contextmanager
    def counting(self, text: str, total: int) -> Iterator[Counter]:
        """A step with a count that grows to `total`: a live bar in a terminal, a line every few seconds in a log."""
        with self._timed(text), self._bar(total) as progress:
            yield Counter(self.console, total, progress)

    @contextmanager
    def _bar(self, total: int) -> Iterator[Progress | None]:
        if not self.console.is_terminal:
            yield None
            return
        columns = (TextColumn("  {task.description}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=self.console, transient=True) as progress:
            progress.add_task("runs done", total=total, note="")
            yield progress


class Counter:
    """One growing count; `tell` may be called as often as one likes."""

    def __init__(self, console: Console, total: int, progress: Progress | None) -> None:
        self.console, self.total, self.progress = console, total, progress
        self.started = self.told = time.monotonic()

    def tell(self, done_count: int, note: str) -> None:
        """Show the present count with a short note."""
        if self.progress is not None:
            self.progress.update(self.progress.task_ids[0], completed=done_count, note=note)
        elif time.monotonic() - self.told >= LOG_EVERY_SECONDS:
            self.told = time.monotonic()
            told = ", ".join(filter(None, (f"{done_count}/{self.total}", note)))
            self.console.print(f"    runs done {told} ({self.told - self.started:.0f} s)")
