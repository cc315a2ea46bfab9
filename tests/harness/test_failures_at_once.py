"""Each failed test is named while the run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.architecture.source_files import PROJECT
from tests.failures_at_once import line_of

# The second test waits until the first one's failure was read, or for two minutes.
_TESTS = """
import time
from pathlib import Path

def test_first():
    assert 1 == 2

def test_second():
    for _ in range(1200):
        if (Path(__file__).parent / "was_read").exists():
            return
        time.sleep(0.1)
    raise AssertionError("The failure of the first test was not read.")
"""


@pytest.mark.integration
@pytest.mark.parametrize("to_descriptor", [False, True], ids=["several processes", "descriptor"])
def test_failed_test_is_named_before_the_next_one_ends(tmp_path: Path, to_descriptor: bool) -> None:
    """The line is read from the output or from the named descriptor while another test still runs."""
    (tmp_path / "test_two.py").write_text(_TESTS)
    reading, writing = os.pipe()
    options = [f"--failures-fd={writing}"] if to_descriptor else ["-n1"]
    with _started(tmp_path, options, writing) as run, os.fdopen(reading) as descriptor:
        os.close(writing)
        assert run.stdout is not None
        lines = descriptor if to_descriptor else run.stdout
        named = next(line for line in lines if "FAILED" in line)
        (tmp_path / "was_read").touch()
        rest = run.stdout.read()
    assert named == "FAILED test_two.py::test_first: assert 1 == 2\n"
    assert "1 failed, 1 passed" in rest
    assert run.returncode == 1


def _started(folder: Path, options: Sequence[str], descriptor: int) -> subprocess.Popen[str]:
    """Starts pytest without the settings of this project."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.failures_at_once", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [*command, "-c", os.devnull, f"--rootdir={folder}", *options, "test_two.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        pass_fds=[descriptor],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_line_of_a_file_that_cannot_be_imported_names_the_file() -> None:
    """The first line of the error stands behind the file, and a long one is shortened."""
    report = pytest.CollectReport("tests/test_a.py", "failed", "\nImportError: no module\nmore", [])
    assert line_of(report) == "FAILED tests/test_a.py (collect): ImportError: no module"
    report = pytest.CollectReport("tests/test_a.py", "failed", "x" * 1000, [])
    assert line_of(report).endswith(": " + "x" * 300)
