"""A missing Python version is an error that names it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.live.versions import interpreters


def test_own_python_is_found() -> None:
    """The Python that runs the tests is found by its version."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert interpreters.find([version]).exists()


def test_missing_python_is_named() -> None:
    """If no wanted Python is installed, the error names the versions and the remedy."""
    with pytest.raises(interpreters.NoInterpreterError, match=r"No Python 9\.1 or 9\.2 .*pyenv install 9\.1"):
        interpreters.find(["9.1", "9.2"])


def test_wanted_order_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that reports another version, or does not run, is skipped."""
    for name, text in (("python9.1", "#!/bin/sh\nexit 1\n"), ("python9.2", "#!/bin/sh\necho 9.2\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert interpreters.find(["9.1", "9.2"]) == tmp_path / "python9.2"
