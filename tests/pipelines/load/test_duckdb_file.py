"""What is DuckDB's own: its file is one process's at a time, and only a lock is waited for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError
from airflow_audit_provider.testing.clock import ManualClock

_HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


class _Held(NamedTuple):
    file: Path
    let_go: Callable[[], object]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[_Held]:
    """A database file that another process has open until it is told to let go."""
    file = tmp_path / "held.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield _Held(file, lambda: holder.communicate(timeout=300))
        if holder.poll() is None:
            holder.communicate(timeout=300)


@pytest.mark.parametrize("folder", ["block", "Could not set lock on file", "Conflicting lock is held"])
def test_missing_folder_is_told_at_once(tmp_path: Path, folder: str) -> None:
    """A path that cannot be opened is the user's to mend, whatever it is called, and nobody waits for it."""
    clock = ManualClock()
    began_at = clock.monotonic()
    with pytest.raises(ConfigurationError, match="Check that the folder exists"):
        open_duckdb(str(tmp_path / folder / "a.duckdb"), clock)
    assert clock.monotonic() == began_at


def test_memory_is_limited(tmp_path: Path) -> None:
    """DuckDB takes a quarter of a gigabyte, or what it is told; what is no limit is the user's to mend."""
    file, asked = str(tmp_path / "a.duckdb"), "select current_setting('memory_limit')"
    with closing(open_duckdb(file, ManualClock())) as session:
        assert session.execute(asked) == [("244.1 MiB",)]
    with closing(open_duckdb(file, ManualClock(), "1GiB")) as session:
        assert session.execute(asked) == [("1.0 GiB",)]
    with pytest.raises(ConfigurationError, match="memory_limit"):
        open_duckdb(file, ManualClock(), "plenty")


def test_file_that_is_open_here_already_keeps_its_limit(tmp_path: Path) -> None:
    """Where this process has the file open, as in a notebook, whoever opened it has set the limit."""
    file, asked = str(tmp_path / "a.duckdb"), "select current_setting('memory_limit')"
    with closing(duckdb.connect(file)) as mine:
        mine.execute("set memory_limit = '1GiB'")
        with closing(open_duckdb(file, ManualClock())) as session:
            assert session.execute(asked) == [("1.0 GiB",)]
        assert mine.execute(asked).fetchall() == [("1.0 GiB",)]


def test_locked_file_is_not_waited_for_forever(held: _Held) -> None:
    """A file that another process keeps open is waited for five minutes, then the task may be tried again."""
    clock = ManualClock()
    with pytest.raises(WarehouseBusyError, match="Another process") as caught:
        open_duckdb(str(held.file), clock)
    assert caught.value.retryable
    assert 300 <= clock.monotonic() < 302


def test_locked_file_opens_when_its_holder_ends(held: _Held) -> None:
    """A file that another process has open opens as soon as that one lets go."""

    class _Clock(ManualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            held.let_go()

    clock = _Clock()
    with closing(open_duckdb(str(held.file), clock)) as session:
        assert session.execute("select 1") == [(1,)]
    assert len(clock.sleeps) == 1
