"""Provides one wheel and one source archive for all packaging tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.building import build


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once."""
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, built once."""
    return build("sdist", tmp_path_factory.mktemp("sdist"))
