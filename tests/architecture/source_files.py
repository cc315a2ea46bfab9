"""The project's files, read once, for the rules.

Invariant: a rule gets a ``SourceFile``, so a snippet can stand in for a file.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_audit_provider"
CODE_FOLDERS = (PACKAGE, "bench", "dags", "demo", "harness", "tests", "tools")
AIRFLOW_LAYER = tuple(
    f"{PACKAGE}/{name}"
    for name in (
        "_airflow/",
        "assets/",
        "cli/",
        "hooks/",
        "links/",
        "operators/",
        "plugins/",
        "sensors/",
        "triggers/",
        "retry_policy.py",
    )
)

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class SourceFile(NamedTuple):
    """One text file: its path from the project's root, with forward slashes, and its text."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        """The parsed module."""
        return _parse(self.text)

    @property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the parsed module."""
        return _nodes(self.text)

    @property
    def is_python(self) -> bool:
        """Whether Python can parse it."""
        return self.path.endswith(".py")

    @property
    def module(self) -> str:
        """The dotted name of the module."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def _parse(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def _nodes(text: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(_parse(text)))


@cache
def tracked() -> tuple[SourceFile, ...]:
    """Returns every text file that is or would be committed."""
    found = []
    for name in sorted(_names()):
        try:
            found.append(SourceFile(name, (PROJECT / name).read_text(encoding="utf-8")))
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return tuple(found)


def _names() -> list[str]:
    """Returns the file names that git does not ignore; in an unpacked archive, all but hidden folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    if (PROJECT / ".git").exists():
        return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout.splitlines()
    relative = (path.relative_to(PROJECT) for path in PROJECT.rglob("*") if path.is_file())
    return [path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts)]


def python_files(*folders: str) -> tuple[SourceFile, ...]:
    """Returns the Python files below the folders, by default all code."""
    wanted = tuple(name if name.endswith(".py") else f"{name}/" for name in folders or CODE_FOLDERS)
    return tuple(source for source in tracked() if source.is_python and source.path.startswith(wanted))


def functions(source: SourceFile) -> Iterator[FunctionNode]:
    """Returns every function and method of a module, including nested ones."""
    for node in source.nodes:
        if isinstance(node, FunctionNode):
            yield node


def is_stub(function: FunctionNode) -> bool:
    """Returns whether a body is empty, as in a Protocol or an overload."""
    return all(isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) for step in function.body)


def code_line_count(source: SourceFile, function: FunctionNode) -> int:
    """Returns the lines of a function from ``def`` on, without docstrings, comments and blank lines."""
    silent: set[int] = set()
    for node in ast.walk(function):
        if isinstance(node, (FunctionNode, ast.ClassDef)) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            silent.update(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    lines = source.text.splitlines()
    spoken = range(function.lineno, (function.end_lineno or function.lineno) + 1)
    return sum(1 for number in spoken if number not in silent and _is_code(lines[number - 1]))


def _is_code(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def parameter_count(function: FunctionNode) -> int:
    """Returns the number of parameters without ``self`` and ``cls``; a star or double star counts as one."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    stars = [star for star in (arguments.vararg, arguments.kwarg) if star is not None]
    return sum(1 for argument in named if argument.arg not in {"self", "cls"}) + len(stars)
