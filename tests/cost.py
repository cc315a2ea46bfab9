"""Pytest hooks that hold a test to the cost its mark declares.

A test without a mark is pure and takes milliseconds; `make quick` runs these alone. `integration` starts real servers
or processes or writes many files, `live` starts an Airflow, `nightly` is a campaign. The limit for an unmarked test
counts CPU time: its wall-clock time says as much about the machine's other processes as about the test.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.file_order import longest_files_first

# Twice the two seconds of a quiet machine: the CPU time of one test varied from 1.2 to 2.4 s with what ran beside it.
CPU_LIMIT_SECONDS = 4.0
# When a test is ended that does not end by itself. A hanging test has to end; a slow machine must not fail one.
TIME_OUT_SECONDS = {"nightly": 3600, "live": 1800, "integration": 900, "": 300}
MARKS = tuple(mark for mark in TIME_OUT_SECONDS if mark)
# Folders in which every test has one cost.
FOLDER_MARKS = {"tests/live/": "live", "tests/pipelines/load/": "integration", "tests/packaging/": "integration"}


def cost_mark(item: pytest.Item) -> str:
    """Returns the most expensive cost mark of a test, or an empty text."""
    return next((mark for mark in MARKS if item.get_closest_marker(mark)), "")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks each test as its folder is, gives it the time-out of its mark unless it has one, and sorts the files."""
    has_timeouts = config.pluginmanager.has_plugin("timeout")
    for item in items:
        for folder, mark in FOLDER_MARKS.items():
            if item.nodeid.startswith(folder):
                item.add_marker(mark)
        if has_timeouts and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIME_OUT_SECONDS[cost_mark(item)]))
    longest_files_first(config, items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fails an unmarked test that passes but takes more CPU time than it may."""
    before = _cpu_seconds()
    result = yield
    used = _cpu_seconds() - before
    if used > CPU_LIMIT_SECONDS and not cost_mark(item) and not _is_scaled_up(item):
        pytest.fail(
            f"{item.nodeid} took {used:.1f} s of CPU time; without a cost mark {CPU_LIMIT_SECONDS:.0f} s are allowed. "
            f"Make it cheaper, or mark it as one of {', '.join(MARKS)}.",
            pytrace=False,
        )
    return result


def _is_scaled_up(item: pytest.Item) -> bool:
    """Whether the Hypothesis profile has a test try more examples than `make quick` does."""
    is_property = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return is_property and settings.get_current_profile_name() != "quick"


def _cpu_seconds() -> float:
    """Returns the CPU time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
