"""The code in the documents is correct: blocks compile, marked blocks run, quotations are exact, links have targets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source_files import PROJECT
from tests.docs.blocks import Block, all_blocks, anchors_of, blocks_of, broken_links, documents, links_of

BLOCKS = all_blocks()
DOCUMENTS = documents()
SAMPLE = """
# A `title`, here

<!-- runs -->
```python
x = 1
```

  <!-- from dags/a.py -->
  ```python
  if x:
      y = 2
  ```

See [a](b.md), [c](https://example.org/), [d](#a-title-here) and `[no](link.md)`.
"""


def _each(blocks: list[Block]) -> pytest.MarkDecorator:
    """Parametrizes by block, named by document and line."""
    return pytest.mark.parametrize("block", blocks, ids=[f"{block.document}:{block.line}" for block in blocks])


@_each(BLOCKS)
def test_block_compiles(block: Block) -> None:
    """The block is valid Python."""
    compile(block.code, f"{block.document}:{block.line}", "exec")


@pytest.mark.integration
@_each([block for block in BLOCKS if block.runs])
def test_block_runs(block: Block, tmp_path: Path) -> None:
    """The block, saved to a file, runs in an empty folder without an error."""
    script = tmp_path / "block.py"
    script.write_text(block.code)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, str(script)]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{block.document}:{block.line}\n{answer.stdout}{answer.stderr}"


@_each([block for block in BLOCKS if block.quoted_from])
def test_quotation_is_exact(block: Block) -> None:
    """The block is in the file it is quoted from, line for line."""
    assert block.code.strip("\n") in (PROJECT / str(block.quoted_from)).read_text(encoding="utf-8")


@_each([block for block in BLOCKS if "with DAG(" in block.code or "@dag" in block.code])
def test_dag_is_quoted_or_run(block: Block) -> None:
    """A block that defines a DAG is either quoted from a tested example, or is itself run."""
    assert block.quoted_from is not None or block.runs


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.relative_to(PROJECT).as_posix() for path in DOCUMENTS])
def test_links_lead_somewhere(path: Path) -> None:
    """Each relative link has an existing file, and each anchor an existing heading."""
    assert broken_links(path, path.read_text(encoding="utf-8")) == []


def test_blocks_and_marks_are_found() -> None:
    """A block is found with its line, its marks and its code, indented or not."""
    first, second = blocks_of("a.md", SAMPLE)
    assert (first.line, first.runs, first.quoted_from, first.code) == (6, True, None, "x = 1\n")
    assert (second.runs, second.quoted_from, second.code) == (False, "dags/a.py", "if x:\n    y = 2\n")


def test_links_are_told_from_code_and_addresses() -> None:
    """Only relative links outside code are checked."""
    assert links_of(SAMPLE) == ["b.md", "#a-title-here"]
    assert anchors_of(SAMPLE) == {"a-title-here"}


def test_broken_links_are_noticed(tmp_path: Path) -> None:
    """A link to a missing file or heading is found."""
    (tmp_path / "b.md").write_text("# There\n")
    text = "[a](b.md#there) [b](b.md#nowhere) [c](c.md) [d](#x)"
    assert broken_links(tmp_path / "a.md", text) == ["b.md#nowhere", "c.md", "#x"]


def test_contributing_links_to_pages_by_their_address() -> None:
    """CONTRIBUTING.md is also included in a page of another folder, where a relative link to a page is broken."""
    links = re.findall(r"\]\(([^)]+)\)", (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if link.startswith("docs/")] == []
