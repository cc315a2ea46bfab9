"""Ruff and mypy are configured to reject what the architecture forbids."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.architecture.source_files import PACKAGE, PROJECT

HEAD = '"""One."""\n\nfrom __future__ import annotations\n\n'
BRANCHES = "def f(a: int) -> int:\n" + '    """One."""\n' + "".join(
    f"    if a == {number}:\n        a += 1\n" for number in range(8)
) + "    return a\n"  # fmt: skip


def _objections(text: str, path: str) -> set[str]:
    """Returns the codes that ruff reports for a text, as if it were a file of the package."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format=json", f"--stdin-filename={path}", "-"]
    answer = subprocess.run(command, cwd=PROJECT, input=text, capture_output=True, text=True, check=False)
    return {finding["code"] for finding in json.loads(answer.stdout)}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("from datetime import UTC, datetime\n\nNOW = datetime.now(UTC)\n", "TID251"),
        ("import time\n\nNOW = time.time()\n", "TID251"),
        ("import time\n\ntime.sleep(1)\n", "TID251"),
        ("import pendulum\n\nNOW = pendulum.now()\n", "TID251"),
        ("import random\n\nJITTER = random.random()\n", "TID251"),
        ("from airflow.exceptions import AirflowException\n\nraise AirflowException\n", "TID251"),
        (BRANCHES, "C901"),
        ('def f(a, b, c, d, e, f, g):\n    """One."""\n', "PLR0913"),
        ("def f() -> None: ...\n", "D103"),
        ("try:\n    a = 1\nexcept Exception:\n    pass\n", "BLE001"),
    ],
)
def test_ruff_objects(text: str, code: str) -> None:
    """Ruff reports a clock, randomness, a generic error, complexity, too many parameters, and swallowed errors."""
    assert code in _objections(HEAD + text, f"{PACKAGE}/core/sample.py")


def test_ruff_lets_the_clock_adapter_read_the_clock() -> None:
    """The only module that may read the clock is not reported."""
    text = HEAD + "import time\n\nNOW = time.time()\n"
    assert "TID251" not in _objections(text, f"{PACKAGE}/adapters/clock.py")


def test_ruff_wants_annotations_postponed() -> None:
    """A module without the future import is reported."""
    assert "I002" in _objections('"""One."""\n\nx = 1\n', f"{PACKAGE}/core/sample.py")
