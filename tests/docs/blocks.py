"""Finds the documents of the project, and the Python blocks and commands in them.

Invariant: a mark is an HTML comment on the line before the block, so a reader never sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.architecture.source_files import PROJECT

FENCE = re.compile(
    r"(?P<marks>(?:^[ ]*<!--[^\n]*-->[ ]*\n)*)^(?P<indent>[ ]*)```python[ ]*\n(?P<code>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
CODE = re.compile(r"```.*?^[ ]*```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^[ ]*```console\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6}\s+(?P<title>.+?)\s*#*$", re.MULTILINE)


class Block(NamedTuple):
    """One Python block: its document and line, its marks, and its code without common indentation."""

    document: str
    line: int
    marks: tuple[str, ...]
    code: str

    @property
    def runs(self) -> bool:
        """Whether the block is marked to be run."""
        return "runs" in self.marks

    @property
    def quoted_from(self) -> str | None:
        """The file from which the block is quoted."""
        return next((mark.removeprefix("from ") for mark in self.marks if mark.startswith("from ")), None)


def documents() -> list[Path]:
    """Returns the Markdown files at the top level and everything below docs/."""
    return sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])


def blocks_of(name: str, text: str) -> Iterator[Block]:
    """Returns every Python block of a text, in order."""
    for found in FENCE.finditer(text):
        indent = found["indent"]
        code = "".join(line.removeprefix(indent) for line in found["code"].splitlines(keepends=True))
        marks = tuple(mark.strip() for mark in re.findall(r"<!--(.*?)-->", found["marks"]))
        yield Block(name, text[: found.start("code")].count("\n") + 1, marks, code)


def all_blocks() -> list[Block]:
    """Returns every Python block of every document."""
    return [
        block
        for path in documents()
        for block in blocks_of(path.relative_to(PROJECT).as_posix(), path.read_text(encoding="utf-8"))
    ]


def links_of(text: str) -> list[str]:
    """Returns every relative link of a text, except in code."""
    targets = (found["target"] for found in LINK.finditer(CODE.sub("", text)))
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def anchors_of(text: str) -> set[str]:
    """Returns the anchors that a renderer makes from a text's headings."""
    return {_anchor(found["title"]) for found in HEADING.finditer(re.sub(r"(?ms)^```.*?^```", "", text))}


def _anchor(title: str) -> str:
    """Returns a heading in lower case, without punctuation and with hyphens for spaces, as GitHub does."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def broken_links(path: Path, text: str) -> list[str]:
    """Returns the relative links of a document that have no target."""
    return [target for target in links_of(text) if not _leads_somewhere(path, text, target)]


def _leads_somewhere(path: Path, text: str, target: str) -> bool:
    name, _, anchor = target.partition("#")
    there = (path.parent / name) if name else path
    if not there.exists():
        return False
    if not anchor or there.suffix != ".md":
        return True
    return anchor in anchors_of(text if not name else there.read_text(encoding="utf-8"))


def commands_of(text: str) -> Iterator[str]:
    """Yields the commands of a page's console blocks, continued lines joined and comments left out."""
    for block in CONSOLE.findall(text):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if line.strip().startswith("$ "):
                yield re.sub(r"\s+#\s.*", "", line.strip()[2:])
