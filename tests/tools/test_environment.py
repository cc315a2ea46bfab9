"""The environment is created from its lock by uv or pip, whatever the caller's shell has set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import environment
from tools.environment import install_environ


def test_pip_keeps_its_index_and_loses_its_target() -> None:
    """A user's package index and proxy reach pip; a PYTHONPATH or a target folder does not."""
    kept = install_environ({"PIP_INDEX_URL": "i", "HTTPS_PROXY": "p", "PIP_TARGET": "t", "PYTHONPATH": "x"})
    assert kept == {"PIP_INDEX_URL": "i", "HTTPS_PROXY": "p"}


@pytest.mark.parametrize("is_there", [True, False])
def test_uv_of_the_machine_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, is_there: bool) -> None:
    """The uv on the PATH is tried before the one that pip installs, and without it the latter is the only one."""
    command = tmp_path / "uv"
    if is_there:
        command.write_text("#!/bin/sh")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment, "installed_uv", lambda folder: folder / "bin" / "uv")
    found = list(environment.available_uvs(tmp_path / "env"))
    assert found == [*([command] if is_there else []), tmp_path / "env" / "bin" / "uv"]
