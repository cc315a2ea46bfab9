"""Prints the demo's steps and stages with their times, and a progress bar in a terminal.

In a log, which nobody watches, a line is written every few seconds and none is overwritten.
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
    """Returns a console as wide as its terminal, or LOG_WIDTH columns where there is none. Rich obeys NO_COLOR."""
    found = Console(force_terminal=is_terminal, highlight=False)
    if found.is_terminal or columns:
        return found
    return Console(width=LOG_WIDTH, force_terminal=is_terminal, highlight=False)


class Narrator:
    """Prints steps and counts; `took` has the seconds of each step, `stages` those of each stage."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.took: dict[str, float] = {}
        self.stages: dict[str, float] = {}
        unicode_ok = (console.encoding or "").lower().startswith("utf")
        self.done_mark, self.failed_mark = ("✓", "✗") if unicode_ok else ("ok", "FAILED")

    def title(self, text: str) -> None:
        """Prints the title of a chapter."""
        self.console.print(f"\n[bold]{text}[/bold]")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures a stage, which may have several steps."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = time.monotonic() - started

    def print_stages(self) -> None:
        """Prints the seconds of each stage and their sum."""
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.stages.items())
        self.console.print(f"Time: {parts}; {sum(self.stages.values()):.0f} s in all.", soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Prints a step when it ends, with its seconds, and marks it as failed if it raised."""
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
    """A growing count; `show` may be called at any rate."""

    def __init__(self, console: Console, total: int, progress: Progress | None) -> None:
        self.console, self.total, self.progress = console, total, progress
        self.started = self.shown_at = time.monotonic()

    def show(self, done_count: int, note: str) -> None:
        """Shows the present count with a short note."""
        if self.progress is not None:
            self.progress.update(self.progress.task_ids[0], completed=done_count, note=note)
        elif time.monotonic() - self.shown_at >= LOG_EVERY_SECONDS:
            self.shown_at = time.monotonic()
            text = ", ".join(filter(None, (f"{done_count}/{self.total}", note)))
            self.console.print(f"    runs done {text} ({self.shown_at - self.started:.0f} s)")
