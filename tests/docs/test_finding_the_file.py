"""The files named on the contributors' page exist."""

from __future__ import annotations

import re

import pytest

from tests.architecture.source_files import PROJECT

PAGE = (PROJECT / "docs/contributing/finding-the-file.md").read_text("utf-8")
PATHS = sorted(set(re.findall(r"`([\w/]+\.py)`", PAGE)))


def test_page_has_an_example_of_every_layer() -> None:
    """The examples name a file in every folder in which contributors make changes."""
    folders = {path.split("/")[0] for path in PATHS}
    assert folders >= {"_airflow", "adapters", "cli", "core", "formats", "links", "operators", "pipelines", "sensors"}


@pytest.mark.parametrize("path", PATHS)
def test_named_file_exists(path: str) -> None:
    """Each file on the page exists under this path."""
    assert (PROJECT / "airflow_audit_provider" / path).is_file()
