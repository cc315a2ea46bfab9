"""The environment is created from its lock by uv or pip, whatever the caller's shell has set."""

from __future__ import annotations

from tools.environment import install_environ


def test_pip_keeps_its_index_and_loses_its_target() -> None:
    """A user's package index and proxy reach pip; a PYTHONPATH or a target folder does not."""
    kept = install_environ({"PIP_INDEX_URL": "i", "HTTPS_PROXY": "p", "PIP_TARGET": "t", "PYTHONPATH": "x"})
    assert kept == {"PIP_INDEX_URL": "i", "HTTPS_PROXY": "p"}
