"""Progress of a command: one line that is written again and again on a terminal, otherwise plain lines.

Invariant: it writes to the error output only, and never changes what is landed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Self, TextIO, cast

from airflow_audit_provider._airflow.observability.log_lines import (
    commit_line,
    loaded_window_line,
    size_text,
    window_text,
)
from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.paging.fetch import Send, Wait
from airflow_audit_provider.core.ports import Clock, Store
from airflow_audit_provider.core.verification.findings import printable
from airflow_audit_provider.core.windows.window import TimeWindow, count_of
from airflow_audit_provider.pipelines.load import LoadedWindow
from airflow_audit_provider.pipelines.observer import KeptPart, Phase, Progress, PullOutcome

_SECONDS_BETWEEN_DRAWINGS, _SECONDS_BETWEEN_LINES = 0.2, 10.0
_CLEAR_LINE = "\r\x1b[K"


class _Line:
    """Output of a command that removes its line from a terminal at the end; several threads may write."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._is_terminal = output.isatty()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the line from the terminal."""
        if self._is_terminal:
            self._write(_CLEAR_LINE)

    def _write(self, text: str) -> None:
        with self._lock:
            self._output.write(text)
            self._output.flush()


class PullProgress(_Line):
    """Observes a pull of many windows, and shows how far it is. The reader calls ``on_step`` from several threads.

    ``committed_count`` is how many windows this run has committed.
    """

    def __init__(self, windows: Sequence[TimeWindow], destination: str, output: TextIO, clock: Clock) -> None:
        super().__init__(output)
        self.committed_count = 0
        self._numbers = {window: number for number, window in enumerate(windows)}
        self._destination = destination
        self._clock = clock
        self._next_at = float("-inf")
        self._began_at = self._window_began_at = clock.monotonic()
        self._first_number: int | None = None
        self._window: TimeWindow | None = None
        self._share_done = 0.0
        self._request_count = self._record_count = self._window_record_count = 0

    def on_step(self, step: Send | Wait) -> None:
        """Counts a request; says that a wait for the rate limit or before a retry is long."""
        if isinstance(step, Send):
            self._request_count += 1
        elif step.seconds >= 1 and self._is_terminal:
            reason = "before the next try" if step.reason is not None else "for the rate limit"
            self._write(f"{_CLEAR_LINE}{self._line()}, waiting {step.seconds:.0f} s {reason}")

    def step(self, phase: Phase, window: TimeWindow | None = None) -> AbstractContextManager[object]:
        """Notes the window that is being pulled."""
        if phase is Phase.PLAN and window is not None and window != self._window:
            self._window, self._share_done, self._window_record_count = window, 0.0, 0
            if self._first_number is None:
                self._first_number = self._numbers.get(window, 0)
                self._began_at = self._window_began_at = self._clock.monotonic()
        return nullcontext()

    def fetched(self, progress: Progress) -> None:
        """Shows how far the window is read."""
        self._share_done, self._window_record_count = progress.share_done, progress.record_count
        self._show()

    def staged(self, part: StagedPart) -> None:
        """Does nothing: a part is no progress in time."""

    def committed(self, outcome: PullOutcome) -> None:
        """Shows that a window is complete."""
        self._record_count += outcome.manifest.added_count if outcome.committed else 0
        self.committed_count += outcome.committed
        self._share_done, self._window_record_count = 1.0, 0
        now = self._clock.monotonic()
        if self._is_terminal:
            self._show()
        else:
            seconds = now - self._window_began_at
            self._write(f"{self._count()}{printable(commit_line(outcome, self._destination, seconds))}\n")
        self._window_began_at = now

    def kept(self, window: TimeWindow, parts: Sequence[KeptPart]) -> None:
        """Shows each reason to keep parts that no manifest in force names."""
        for reason in sorted({one.reason for one in parts}):
            count = sum(one.reason is reason for one in parts)
            clear = _CLEAR_LINE if self._is_terminal else ""
            self._write(f"{clear}Kept {count_of(count, 'part')} of {window_text(window)}, because {reason}.\n")

    def _show(self) -> None:
        """Draws the line, or writes one, unless the last one is too young."""
        now = self._clock.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + (_SECONDS_BETWEEN_DRAWINGS if self._is_terminal else _SECONDS_BETWEEN_LINES)
        self._write(f"{_CLEAR_LINE}{self._line()}" if self._is_terminal else f"{self._line()}\n")

    def _line(self) -> str:
        window = "" if self._window is None else f"{window_text(self._window)}, {self._share_done:.0%} read; "
        records = count_of(self._record_count + self._window_record_count, "record")
        requests = count_of(self._request_count, "request")
        return f"{self._count()}{window}{records}, {requests}, {self._time()}"

    def _count(self) -> str:
        number = self._numbers.get(self._window, 0) if self._window is not None else 0
        return f"window {number + 1:,} of {len(self._numbers):,}: "

    def _time(self) -> str:
        seconds = self._clock.monotonic() - self._began_at
        share = self._share()
        left = f", about {_clock_text(seconds * (1 - share) / share)} left" if share > 0 and seconds >= 1 else ""
        return _clock_text(seconds) + left

    def _share(self) -> float:
        """Returns the share of the windows that is done, of those from the first one that was not committed before."""
        if self._window is None or self._first_number is None:
            return 0.0
        done = self._numbers.get(self._window, 0) - self._first_number + self._share_done
        return done / max(1, len(self._numbers) - self._first_number)


class LoadProgress(_Line):
    """Shows which windows a load has written; ``loaded_count`` is how many."""

    def __init__(self, output: TextIO, clock: Clock) -> None:
        super().__init__(output)
        self.loaded_count = 0
        self._record_count = 0
        self._clock = clock
        self._began_at = clock.monotonic()

    def loaded(self, window: LoadedWindow) -> None:
        """Shows that a window is in the table."""
        self.loaded_count += 1
        self._record_count += window.record_count
        if self._is_terminal:
            records = count_of(self._record_count, "record")
            windows, seconds = count_of(self.loaded_count, "window"), self._clock.monotonic() - self._began_at
            self._write(f"{_CLEAR_LINE}{window_text(window.window)}: {records} of {windows}, {_clock_text(seconds)}")
        else:
            self._write(f"{loaded_window_line(window)}\n")


class ReadProgress(_Line):
    """Shows on a terminal how many files of a destination a command has read; elsewhere it writes nothing.

    ``reads_all`` says that the command reads about all that it lists, so that a share can be shown.
    """

    def __init__(self, output: TextIO, clock: Clock, *, reads_all: bool = False) -> None:
        super().__init__(output)
        self._clock = clock
        self._reads_all = reads_all
        self._began_at = clock.monotonic()
        self._next_at = self._began_at + _SECONDS_BETWEEN_DRAWINGS
        self._file_count = self._size_bytes = self._listed_bytes = self._request_count = 0
        self._counting = threading.Lock()

    def observed(self, store: Store) -> Store:
        """Returns a store that does what the given one does, and whose reads are shown."""
        return cast("Store", _ObservedStore(store, self._on_read, self._on_listed)) if self._is_terminal else store

    def on_step(self, step: Send | Wait) -> None:
        """Counts a request to Cloudflare."""
        if isinstance(step, Send):
            with self._counting:
                self._request_count += 1
            self._show()

    def _on_read(self, size_bytes: int) -> None:
        with self._counting:
            self._file_count += 1
            self._size_bytes += size_bytes
        self._show()

    def _on_listed(self, size_bytes: int) -> None:
        self._listed_bytes += size_bytes

    def _show(self) -> None:
        now = self._clock.monotonic()
        if self._is_terminal and now >= self._next_at:
            self._next_at = now + _SECONDS_BETWEEN_DRAWINGS
            self._write(f"{_CLEAR_LINE}{self._text()}")

    def _text(self) -> str:
        requests = f", {count_of(self._request_count, 'request')}" if self._request_count else ""
        time = _clock_text(self._clock.monotonic() - self._began_at)
        return f"{count_of(self._file_count, 'file')} read, {self._size()}{requests}, {time}"

    def _size(self) -> str:
        if not (self._reads_all and self._listed_bytes):
            return size_text(self._size_bytes)
        share = min(1.0, self._size_bytes / self._listed_bytes)
        return f"{size_text(self._size_bytes)} of {size_text(self._listed_bytes)} ({share:.0%})"


class _ObservedStore:
    """Store that reports the size of each object that is read or listed with its size."""

    def __init__(self, store: Store, on_read: Callable[[int], None], on_listed: Callable[[int], None]) -> None:
        self.store = store
        self._on_read = on_read
        self._on_listed = on_listed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def read(self, key: str) -> bytes | None:
        """Reads an object."""
        content = self.store.read(key)
        if content is not None:
            self._on_read(len(content))
        return content

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Lists objects."""
        for key, size_bytes in self.store.list_sizes(prefix):
            self._on_listed(size_bytes)
            yield key, size_bytes


def plain_store(store: Store) -> Store:
    """Returns the store that an observed one stands for, which tells what kind of store it is."""
    return store.store if isinstance(store, _ObservedStore) else store


def _clock_text(seconds: float) -> str:
    """Returns a length of time as ``m:ss`` or ``h:mm:ss``."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
