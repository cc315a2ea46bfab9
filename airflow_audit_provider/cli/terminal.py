"""Colours in a terminal: the words of a result that state a problem, at the places where the tables have them.

Invariant: without its colours the text is the same, so that a pipe gets what a terminal shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TextIO

_RESET, _BOLD, _RED, _GREEN, _YELLOW = "\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"
_STATE_COLOURS = {
    "committed": _GREEN,
    "empty": _GREEN,
    "pending": _YELLOW,
    "partial": _YELLOW,
    "no_history": _YELLOW,
    "foreign": _RED,
    "missing": _RED,
    "lost": _RED,
    "severe": _RED,
    "mild": _YELLOW,
}
_INSTANT = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
_HEADING = re.compile(r"^(?:severity +kind|start +end|seal +day|file_format +compression) .*$", re.MULTILINE)
_FINDING = re.compile(r"^()(severe|mild)(?= )", re.MULTILINE)
_SPAN = re.compile(rf"^({_INSTANT} +{_INSTANT} +)({'|'.join(_STATE_COLOURS)})(?= )", re.MULTILINE)
_COUNT = re.compile(r"^(severe_count +)(\d+)$", re.MULTILINE)


def is_coloured(output: TextIO, environment: Mapping[str, str]) -> bool:
    """Returns whether text for an output gets colours: on a terminal, unless a variable decides otherwise.

    ``NO_COLOR`` is stronger than ``FORCE_COLOR``, as in Python's own tools; an empty variable counts as none.
    """
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return output.isatty() and environment.get("TERM") != "dumb"


def coloured(text: str) -> str:
    """Returns the text of a result with colours."""
    text = _HEADING.sub(lambda found: f"{_BOLD}{found[0]}{_RESET}", text)
    for pattern in (_FINDING, _SPAN):
        text = pattern.sub(_painter(lambda word: _STATE_COLOURS[word]), text)
    return _COUNT.sub(_painter(lambda number: _RED if int(number) else _GREEN), text)


def coloured_error(text: str) -> str:
    """Returns the text of an error with its name in colour."""
    name, colon, rest = text.partition(":")
    return f"{_RED}{name}{_RESET}{colon}{rest}"


def _painter(colour_of: Callable[[str], str]) -> Callable[[re.Match[str]], str]:
    """Returns what replaces a match by its first group as it is, and its second one in colour."""
    return lambda found: f"{found[1]}{colour_of(found[2])}{found[2]}{_RESET}"
