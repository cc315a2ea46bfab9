"""The budget's file: private, replaced as a whole, and locked by no process that has ended."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.budget.file_store import FileBudgetStore
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.core.api.token_budget import BudgetUnavailableError


def _store(*folders: Path) -> FileBudgetStore:
    return FileBudgetStore(folders, "digest", SystemClock())


def _append(store: FileBudgetStore, addition: bytes = b"x") -> bytes:
    """Adds to the stored bytes; returns what was stored before."""
    return store.update(lambda content, _now: ((content or b"") + addition, content or b""))


def _replaced_by(new: bytes, content: bytes | None, _now: float) -> tuple[bytes, bytes | None]:
    return new, content


def _append_often(folder: Path) -> None:
    for _ in range(200):
        _append(_store(folder))


def test_folder_and_file_are_private(tmp_path: Path) -> None:
    """Only the user can enter the folder and read the file, whatever the mask for new files."""
    before = os.umask(0)
    try:
        _append(_store(tmp_path / "budget"))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "budget", *(tmp_path / "budget").iterdir()]]
    assert modes == [0o700, 0o600]


@pytest.mark.integration
def test_changes_of_several_processes_are_all_kept(tmp_path: Path) -> None:
    """Processes that change the file at the same time lose no change of another."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append_often, args=(tmp_path / "budget",)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(_append(_store(tmp_path / "budget"))) == 800


def test_folder_with_access_for_others_is_not_used(tmp_path: Path) -> None:
    """A folder that others can enter is left, and the next one is used."""
    (tmp_path / "open").mkdir(mode=0o755)
    _append(_store(tmp_path / "open", tmp_path / "private"))
    assert not list((tmp_path / "open").iterdir())
    with pytest.raises(BudgetUnavailableError, match=r"no folder for it can be used: .*open belongs to another user"):
        _store(tmp_path / "open")


def test_folder_behind_a_link_is_not_used(tmp_path: Path) -> None:
    """A link in the place of the folder is not followed."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BudgetUnavailableError, match="no folder"):
        _store(tmp_path / "link")


def test_file_behind_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of the file is neither read nor written through."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    store = _store(tmp_path / "budget")
    _append(store)
    (file,) = (tmp_path / "budget").iterdir()
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(BudgetUnavailableError, match="cannot be used"):
        _append(store)
    assert secret.read_bytes() == b"secret"


def test_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """After a cleaner removed the folder, the budget begins anew."""
    store = _store(tmp_path / "budget")
    _append(store)
    for file in (tmp_path / "budget").iterdir():
        file.unlink()
    (tmp_path / "budget").rmdir()
    assert _append(store) == b""
    assert _append(store) == b"x"


def test_kill_between_two_writes_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill before any of the writes leaves the old content, whether the new one is longer or shorter."""
    store, pwrite = _store(tmp_path / "budget"), os.pwrite
    expected = b"first"
    _append(store, expected)
    for number, kept_writes in enumerate([0, 1] * 6):
        left = kept_writes

        def until_killed(file: int, content: bytes, at: int) -> int:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            return pwrite(file, content, at)

        monkeypatch.setattr(os, "pwrite", until_killed)
        with pytest.raises(KeyboardInterrupt):
            store.update(lambda _content, _now: (b"lost" * 900, None))
        monkeypatch.undo()
        new = b"%d" % number * (3000 if number % 3 else 10)
        assert store.update(partial(_replaced_by, new)) == expected
        expected = new


@pytest.mark.parametrize("content", [b"\0" * 100, b"\xff" * 5000, b"short"])
def test_file_of_another_program_is_no_content(tmp_path: Path, content: bytes) -> None:
    """A file that holds something else gives nothing that could be taken for a budget, and is replaced."""
    store = _store(tmp_path / "budget")
    _append(store)
    (file,) = (tmp_path / "budget").iterdir()
    file.write_bytes(content)
    assert not _append(store, b"new")
    assert _append(store) == b"new"


def test_file_does_not_grow(tmp_path: Path) -> None:
    """Contents of one length need the room of two."""
    store = _store(tmp_path / "budget")
    for _ in range(50):
        store.update(lambda _content, _now: (b"x" * 1000, None))
    (file,) = (tmp_path / "budget").iterdir()
    assert file.stat().st_size <= 4096 + 2000


@pytest.mark.integration
def test_lock_of_a_killed_holder_is_released(tmp_path: Path) -> None:
    """The kernel releases the lock of a killed process."""
    store = _store(tmp_path / "budget")
    code = """if True:
        import fcntl, os, sys, time
        fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
        print("locked", flush=True)
        time.sleep(99)
    """
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "budget")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    _append(store)


@pytest.mark.integration
def test_lock_that_is_held_for_seconds_is_an_outage(tmp_path: Path) -> None:
    """A process that is stopped while it holds the lock stops nobody else for longer than two seconds."""
    store = _store(tmp_path / "budget")
    holder = os.open(tmp_path / "budget", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        with pytest.raises(BudgetUnavailableError, match="was locked for 2 s"):
            _append(store)
    finally:
        os.close(holder)
    _append(store)


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    """Threads that change the file at the same time lose no change."""
    store = _store(tmp_path / "budget")
    threads = [threading.Thread(target=lambda: [_append(store) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_append(store)) == 200
