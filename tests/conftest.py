"""Settings of every test: its cost mark, its time limits and the Hypothesis profile."""

from __future__ import annotations

from tests.cost import pytest_collection_modifyitems, pytest_runtest_call
from tests.hypothesis_profiles import register

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_call"]

register()
