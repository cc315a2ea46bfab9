"""Folders of rules for the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = """\
title: A rule
id: 6f1f2f9c-93a8-4b46-8d0e-0d8f3c7f1a11
status: test
level: low
logsource: {product: cloudflare, service: audit}
"""


@pytest.fixture
def rule_folder(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes texts as rule files into a folder, and returns it."""

    def write(*texts: str) -> Path:
        for number, text in enumerate(texts):
            (tmp_path / f"rule{number}.yml").write_text(text)
        return tmp_path

    return write
