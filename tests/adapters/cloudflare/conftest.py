"""Fixtures: a private certificate authority."""

from __future__ import annotations

import pytest

from tests.adapters.cloudflare.authority import Authority, new_authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose server is ``localhost`` and ``127.0.0.1``."""
    return new_authority(tmp_path_factory.mktemp("authority"))
