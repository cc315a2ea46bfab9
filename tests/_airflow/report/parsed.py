"""Reads a report as a browser does: its elements, the texts in them, and what it would fetch."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

# Elements of the report itself; a text of a destination must not add one.
ELEMENTS = frozenset(
    "html head meta title style body main h1 h2 h3 p article section ul ol li dl div dt dd span svg rect table thead "
    "tbody tr th td pre code".split()
)
_FETCHING = ("src", "href", "srcset", "style", "action", "data", "poster")


class Parsed(HTMLParser):
    """A parsed report: ``tables`` are the texts of the cells by label, ``wrong`` is what a report must not have."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self.codes: list[str] = []
        self.wrong: list[str] = []
        self.policy = self.style = self.verdict = ""
        self._open: list[str] = []
        self._label = ""
        vars(self).update(handle_starttag=self._opened, handle_endtag=self._closed, handle_data=self._said)
        self.feed(html)

    def _opened(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element, and what it must not be or have."""
        values: dict[str, Any] = dict(attrs)
        wrong = [name for name in values if name in _FETCHING or name.startswith("on")]
        self.wrong += [f"{tag} {wrong}"] if tag not in ELEMENTS or wrong else []
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if "verdict" in values.get("class", ""):
            self.verdict = values["class"].removeprefix("verdict ")
        if tag == "div" and "aria-label" in values:
            self._label = values["aria-label"]
            self.tables[self._label] = []
        if tag == "tr":
            self.tables[self._label].append([])
        if tag in ("td", "th"):
            self.tables[self._label][-1].append("")
        if tag == "code":
            self.codes.append("")
        if tag != "meta":
            self._open.append(tag)

    def _closed(self, tag: str) -> None:
        """Closes an element."""
        assert self._open.pop() == tag

    def _said(self, text: str) -> None:
        """Adds a text to the element that it is in."""
        inside = self._open[-1] if self._open else ""
        if inside == "style":
            self.style += text
            return
        self.text += text
        if inside in ("td", "th"):
            self.tables[self._label][-1][-1] += text
        if inside == "code":
            self.codes[-1] += text


def parsed(path: Path) -> Parsed:
    """Returns a report in a file."""
    return Parsed(path.read_text(encoding="utf-8"))
