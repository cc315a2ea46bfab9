"""The progress of a command is one line on a terminal; elsewhere that of a pull is plain lines."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.cli.progress import PullProgress, ReadProgress
from airflow_audit_provider.core.paging.fetch import Send, Wait
from airflow_audit_provider.core.ports import Request
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.observer import KeptPart, KeptReason, Phase, Progress
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.verify.dataset import two_days

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = [TimeWindow(FIRST + timedelta(days=number), FIRST + timedelta(days=number + 1)) for number in range(10)]
REQUEST = Request("/accounts", ())


class Screen(StringIO):
    """Text output that says it is a terminal."""

    def isatty(self) -> bool:
        """Returns true."""
        return True


@pytest.fixture
def clock() -> ManualClock:
    """A clock that only the test moves."""
    return ManualClock()


def read(progress: PullProgress, number: int, share: float) -> None:
    """Reports that a part of a window with a thousand records is read."""
    with progress.step(Phase.PLAN, DAYS[number]):
        pass
    progress.fetched(Progress(1_000, 2, share, 1_000))


def test_terminal_line_has_window_and_time_left(clock: ManualClock) -> None:
    """After a quarter of the windows in half a minute, a minute and a half are left."""
    screen = Screen()
    progress = PullProgress(DAYS[:2], "file:///a", screen, clock)
    read(progress, 0, 0.0)
    clock.sleep(30)
    read(progress, 0, 0.5)
    *_, line = screen.getvalue().split("\r\x1b[K")
    assert line == "window 1 of 2: 2026-10-01, 50% read; 1,000 records, 0 requests, 0:30, about 1:30 left"


def test_time_left_ignores_windows_that_were_committed_before(clock: ManualClock) -> None:
    """If nine of ten windows are skipped, the first half of the last one takes half of the time."""
    screen = Screen()
    progress = PullProgress(DAYS, "file:///a", screen, clock)
    read(progress, 9, 0.0)
    clock.sleep(3_700)
    read(progress, 9, 0.5)
    assert screen.getvalue().endswith(
        "window 10 of 10: 2026-10-10, 50% read; 1,000 records, 0 requests, 1:01:40, about 1:01:40 left"
    )


def test_lines_are_few(clock: ManualClock) -> None:
    """A terminal is drawn at most five times a second, and a file gets a line at most every ten seconds."""
    for output, count in ((Screen(), 5), (StringIO(), 1)):
        progress = PullProgress(DAYS, "file:///a", output, clock)
        for _ in range(100):
            read(progress, 0, 0.5)
            clock.sleep(0.01)
        assert output.getvalue().count("50% read") in (count, count + 1)


def test_long_wait_is_shown_on_a_terminal(clock: ManualClock) -> None:
    """The line says how long the command waits and why; short waits are not shown."""
    screen = Screen()
    progress = PullProgress(DAYS, "file:///a", screen, clock)
    progress.on_step(Wait(0.5))
    assert not screen.getvalue()
    progress.on_step(Wait(42))
    assert screen.getvalue().endswith(", waiting 42 s for the rate limit")


def test_kept_parts_are_named_with_the_reason(clock: ManualClock) -> None:
    """A line states how many parts are kept, of which window, and why."""
    output = StringIO()
    parts = [KeptPart("dt=a", KeptReason.NO_SEAL), KeptPart("dt=b", KeptReason.NO_SEAL)]
    PullProgress(DAYS, "file:///a", output, clock).kept(DAYS[0], parts)
    assert output.getvalue() == f"Kept 2 parts of 2026-10-01, because {KeptReason.NO_SEAL}.\n"


def test_terminal_is_left_clean(clock: ManualClock) -> None:
    """At the end the line is removed, so that the result does not follow it."""
    screen = Screen()
    with PullProgress(DAYS, "file:///a", screen, clock) as progress:
        read(progress, 0, 0.5)
    assert screen.getvalue().endswith("\r\x1b[K")


def landed(folder: Path) -> LocalStore:
    """Returns a store with two landed days."""
    store = LocalStore(str(folder))
    two_days(store)
    return store


class SlowStore(LocalStore):
    """A store of which each read takes a second."""

    def __init__(self, root: Path, clock: ManualClock) -> None:
        super().__init__(str(root))
        self._clock = clock

    def read(self, key: str) -> bytes | None:
        """Reads an object a second later."""
        self._clock.sleep(1)
        return super().read(key)


def test_verification_shows_the_share_that_it_has_read(tmp_path: Path, clock: ManualClock) -> None:
    """The line on a terminal has the files, the bytes of all that are listed, and the time; the end removes it."""
    landed(tmp_path)
    screen = Screen()
    with ReadProgress(screen, clock, reads_all=True) as progress:
        report = verify(progress.observed(SlowStore(tmp_path, clock)))
    *_, last, empty = screen.getvalue().split("\r\x1b[K")
    found = re.fullmatch(r"(\d+) files read, \d.* of \d.* \((\d+)%\), 0:\d\d", last)
    assert found, last
    assert report.window_count == 3
    assert int(found[1]) >= 6
    assert int(found[2]) >= 90
    assert not empty


def test_coverage_and_plan_show_files_and_requests(tmp_path: Path, clock: ManualClock) -> None:
    """A command that reads a part of what it lists shows no share, and requests to Cloudflare if there are some."""
    landed(tmp_path)
    screen = Screen()
    progress = ReadProgress(screen, clock)
    assert coverage(progress.observed(SlowStore(tmp_path, clock)), FIRST + timedelta(days=90))
    clock.sleep(60)
    progress.on_step(Send(REQUEST))
    last = screen.getvalue().split("\r\x1b[K")[-1]
    assert re.fullmatch(r"\d+ files read, \d[\d.]* \w+, 1 request, 1:\d\d", last), last


def test_reading_writes_nothing_to_a_file(tmp_path: Path, clock: ManualClock) -> None:
    """Without a terminal, the output stays empty and the store is used as it is."""
    output, store = StringIO(), SlowStore(tmp_path, clock)
    landed(tmp_path)
    with ReadProgress(output, clock) as progress:
        assert progress.observed(store) is store
        progress.on_step(Send(REQUEST))
    assert not output.getvalue()
