"""Settings of every test: its cost mark and time limits, Hypothesis, failures at once, and the object-store servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cost import pytest_collection_modifyitems, pytest_runtest_call
from tests.failures_at_once import pytest_addoption, pytest_configure
from tests.hypothesis_profiles import register
from tests.temporary_folders import use_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.adapters.storage.real_stores import Servers

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_configure", "pytest_runtest_call"]

register()
use_memory()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Real object-store servers by name: one of each in a session, wherever its tests are."""
    # Imported here, because unmarked tests need no client of any store.
    from tests.adapters.storage.real_stores import running_servers

    with running_servers(tmp_path_factory.mktemp) as found:
        yield found
