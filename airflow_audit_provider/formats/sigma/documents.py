"""YAML documents of rule files, and the problems of rules with the file and line where they are.

Invariant: a file that cannot be read as YAML is a problem of that file; the others are still read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import ConfigurationError

_SUFFIXES = frozenset({".yml", ".yaml"})
_MAX_LISTED = 20


class Document(NamedTuple):
    """One YAML document of a file. ``lines`` are its lines, ``first_line`` is the number of the first of them."""

    path: Path
    content: dict[str, Any]
    lines: Sequence[str]
    first_line: int

    def line_of(self, word: str) -> int:
        """Returns the number of the first line with a word, or of the document's first line."""
        pattern = re.compile(rf"(?<![\w.]){re.escape(word)}(?![\w.])")
        places = (number for number, line in enumerate(self.lines) if word and pattern.search(line))
        return self.first_line + next(places, 0)


class Problems:
    """Collects what is wrong with rules, so that one error names all of it."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, path: Path, line: int, reason: str) -> None:
        """Adds what is wrong at a line of a file."""
        self._found.append(f"{path}:{line}: {reason.rstrip('.')}.")

    def add_to(self, document: Document, reason: str, word: str = "") -> None:
        """Adds what is wrong with a document, at the line of a word."""
        self.add(document.path, document.line_of(word), reason)

    def raise_if_any(self) -> None:
        """Raises ``ConfigurationError`` with all problems."""
        if not self._found:
            return
        more = len(self._found) - _MAX_LISTED
        listed = "\n".join([*self._found[:_MAX_LISTED], *([f"and {more} more"] if more > 0 else [])])
        raise ConfigurationError(
            f"No rule is used, because of {count_of(len(self._found), 'problem')}:\n{listed}\n"
            "Correct these rules, or move their files out of the folder."
        )


def rule_files(folder: Path) -> list[Path]:
    """Returns the YAML files of a folder and the folders in it; raises ``ConfigurationError`` if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
    if not found:
        raise ConfigurationError(
            f"The folder of rules {str(folder)!r} does not exist or has no file that ends in .yml or .yaml. Correct "
            "the path, or put a rule there."
        )
    return found


def documents_in(path: Path, problems: Problems) -> Iterator[Document]:
    """Yields the documents of a file that are objects; adds a problem for anything else."""
    import yaml

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for content, first, last in _parsed("\n".join(lines)):
            if isinstance(content, dict):
                yield Document(path, content, lines[first:last], first + 1)
            else:
                problems.add(path, first + 1, "this is not a Sigma rule, which has keys such as title and id")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problems.add(path, line, f"this is not valid YAML: {error.problem}")
    except OSError as error:
        problems.add(path, 1, f"this file cannot be read: {error.strerror}")
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        # PyYAML lets errors of Python pass for a date that does not exist, and for too many levels.
        problems.add(path, 1, f"this is not valid YAML in UTF-8: {str(error).splitlines()[0]}")


def _parsed(text: str) -> Iterator[tuple[Any, int, int]]:
    """Yields each document that is not empty with the numbers of its first line and of the line after its last."""
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node: Any = loader.get_node()
            _check_keys(node)
            content = loader.construct_document(node)
            if content is not None:
                yield content, node.start_mark.line, node.end_mark.line + 1
    finally:
        loader.dispose()


def _check_keys(node: Any) -> None:
    """Raises for a key that a mapping has twice, of which YAML keeps the last without a word."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is not text", problem_mark=key.start_mark)
            if key.value in keys:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} occurs twice", problem_mark=key.start_mark)
            keys.add(str(key.value))
            _check_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(value)
