"""The order in which parallel test processes take the files: the longest first.

A file is run by one process. A long file that begins last leaves the other processes without work until it ends.
"""

from __future__ import annotations

import pytest

# Rough seconds of the files that take ten or more, on a quiet machine; others are taken afterwards, as collected.
SECONDS: dict[str, int] = {}


def seconds_of(nodeid: str) -> int:
    """Returns the rough seconds of a test's file."""
    return SECONDS.get(nodeid.partition("::")[0], 0)


def longest_files_first(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sorts the tests by their files' time in a parallel process; one process alone keeps their order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -seconds_of(item.nodeid))
