"""DuckDB files: one process at a time can open one, and a load waits for a lock and for nothing else."""

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
    release: Callable[[], object]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[_Held]:
    """A database file that another process has open until it is released."""
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
def test_missing_folder_fails_at_once(tmp_path: Path, folder: str) -> None:
    """A path that cannot be opened is a configuration error without a wait, even if it is named like a lock."""
    clock = ManualClock()
    began_at = clock.monotonic()
    with pytest.raises(ConfigurationError, match="Check that the folder exists"):
        open_duckdb(str(tmp_path / folder / "a.duckdb"), clock)
    assert clock.monotonic() == began_at


def test_memory_is_limited(tmp_path: Path) -> None:
    """DuckDB has a memory limit of 256 MB or the given one; an invalid limit is a configuration error."""
    file, query = str(tmp_path / "a.duckdb"), "select current_setting('memory_limit')"
    with closing(open_duckdb(file, ManualClock())) as session:
        assert session.execute(query) == [("244.1 MiB",)]
    with closing(open_duckdb(file, ManualClock(), "1GiB")) as session:
        assert session.execute(query) == [("1.0 GiB",)]
    with pytest.raises(ConfigurationError, match="memory_limit"):
        open_duckdb(file, ManualClock(), "plenty")


def test_file_that_is_open_already_keeps_its_limit(tmp_path: Path) -> None:
    """If this process has the file open, as in a notebook, the limit of that connection stays."""
    file, query = str(tmp_path / "a.duckdb"), "select current_setting('memory_limit')"
    with closing(duckdb.connect(file)) as mine:
        mine.execute("set memory_limit = '1GiB'")
        with closing(open_duckdb(file, ManualClock())) as session:
            assert session.execute(query) == [("1.0 GiB",)]
        assert mine.execute(query).fetchall() == [("1.0 GiB",)]


def test_locked_file_fails_after_five_minutes(held: _Held) -> None:
    """A load waits five minutes for a file that another process has open, then fails with a retryable error."""
    clock = ManualClock()
    with pytest.raises(WarehouseBusyError, match="Another process still has") as caught:
        open_duckdb(str(held.file), clock)
    assert caught.value.retryable
    assert 300 <= clock.monotonic() < 302


def test_locked_file_opens_when_its_holder_ends(held: _Held) -> None:
    """A file that another process has open opens as soon as it is released."""

    class _Clock(ManualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            held.release()

    clock = _Clock()
    with closing(open_duckdb(str(held.file), clock)) as session:
        assert session.execute("select 1") == [(1,)]
    assert len(clock.sleeps) == 1
