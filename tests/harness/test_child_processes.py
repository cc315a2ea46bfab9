"""The demo ends the processes it starts, with all descendants, and notices one that ends too early."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.child_processes import END_SIGNALS, ChildDiedError, Children, free_ports, is_free

pytestmark = pytest.mark.integration
PROJECT = Path(__file__).resolve().parents[2]

# Starts a grandchild in its own process group, as Airflow's task runners do, and sleeps.
PARENT = """
import subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
print(grandchild.pid, flush=True)
time.sleep(60)
"""


DEAF = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


# Ends a deaf child, and gets a signal meanwhile that its own handler makes an exception of, as the demo's does.
INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
sys.path.insert(0, os.getcwd())
from harness.child_processes import Children

def interrupt(*_):
    raise KeyboardInterrupt

for one in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(one, interrupt)
children = Children(Path(sys.argv[1]))
child = children.start("deaf", [sys.executable, "-c", {deaf!r}], os.environ, cwd=Path(sys.argv[1]))
while "up" not in child.log.read_text():
    time.sleep(0.05)
threading.Timer(0.5, os.kill, (os.getpid(), {number})).start()
try:
    children.stop()
    print("none is left" if not children.survivors() else "some are left")
finally:
    os.kill(child.popen.pid, signal.SIGKILL) if child.popen.poll() is None else None
"""


def wait_for_line(log: Path) -> str:
    """Waits for the first whole line of a log and returns it."""
    for _ in range(2400):
        if "\n" in log.read_text():
            return log.read_text().splitlines()[0]
        time.sleep(0.05)
    raise AssertionError("the child said nothing")


def test_grandchildren_end_with_their_parent(tmp_path: Path) -> None:
    """A descendant that moved to another process group is ended as well."""
    with Children(tmp_path) as children:
        child = children.start("parent", [sys.executable, "-c", PARENT], os.environ, cwd=tmp_path)
        grandchild = int(wait_for_line(child.log))
        assert set(children.survivors()) == {child.popen.pid, grandchild}
    assert children.survivors() == []
    assert child.popen.poll() is not None


def test_child_that_ignores_signals_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that ignores other signals is ended by SIGKILL."""
    monkeypatch.setattr("harness.child_processes.END_SIGNALS", tuple((number, 0.2) for number, _ in END_SIGNALS))
    with Children(tmp_path) as children:
        child = children.start("deaf", [sys.executable, "-c", DEAF], os.environ, cwd=tmp_path)
        wait_for_line(child.log)
    assert child.popen.poll() == -9


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_while_children_are_ended_leaves_none(tmp_path: Path, number: signal.Signals) -> None:
    """Somebody who sends a second signal, or closes the terminal, does not leave a session of its own behind."""
    script = tmp_path / "parent.py"
    script.write_text(INTERRUPTED.format(deaf=DEAF, number=int(number)))
    command = [sys.executable, str(script), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=PROJECT)
    assert ended.stdout == "none is left\n", ended.stderr


def test_early_end_is_noticed(tmp_path: Path) -> None:
    """A child that ended early is reported with its name and exit code."""
    with Children(tmp_path) as children:
        child = children.start("brief", [sys.executable, "-c", "raise SystemExit(7)"], os.environ, cwd=tmp_path)
        child.popen.wait(120)
        with pytest.raises(ChildDiedError, match="brief ended unexpectedly with exit code 7"):
            children.check()


def test_free_ports_differ_and_a_taken_one_is_seen() -> None:
    """Free ports differ, no outgoing connection gets one of them, and a port with a listener is not free."""
    ports = free_ports(300)
    assert len(set(ports)) == 300
    assert max(ports) < 32_768
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not is_free(taken.getsockname()[1])
