"""Public names of the package that the API reference leaves out, or that have no docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.architecture.source_files import PROJECT

PACKAGE = "airflow_audit_provider"
FOLDERS = ("hooks", "operators", "sensors", "triggers", "assets", "links")
MODULES = ("retry_policy", "exceptions", "testing/__init__")
# Modules in the public folders that DAG authors do not import.
INTERNAL = {f"{PACKAGE}.triggers.shared_stream", f"{PACKAGE}.triggers.shared_activity"}
# Their arguments are the facts of one error, and described in its docstring.
WITHOUT_PARAMETER_LISTS = {f"{PACKAGE}.exceptions"}
DIRECTIVE = re.compile(rf"^::: ({PACKAGE}[\w.]*)[ ]*$", re.MULTILINE)
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A module's dotted name and its code."""

    name: str
    tree: ast.Module


def public_modules() -> Iterator[Module]:
    """Yields every module that DAG authors may import."""
    root = PROJECT / PACKAGE
    paths = [path for folder in FOLDERS for path in sorted((root / folder).glob("[!_]*.py"))]
    paths += [root / f"{name}.py" for name in MODULES]
    for path in paths:
        name = _module_name(path)
        if name not in INTERNAL:
            yield Module(name, ast.parse(path.read_text(encoding="utf-8")))


def documented_names(texts: Iterable[str]) -> set[str]:
    """Returns what the pages' ``:::`` directives name."""
    return {found[1] for text in texts for found in DIRECTIVE.finditer(text)}


def undocumented(module: Module, documented: set[str]) -> list[str]:
    """Returns a complaint for each public name that no page shows, or that lacks a description."""
    defined = [complaint for node in _public(module.tree) for complaint in _complaints(module, node, documented)]
    names = {node.name for node in module.tree.body if isinstance(node, Definition)}
    exported = [name for name in _all_of(module.tree) if name not in names]
    return [*defined, *(found for name in exported for found in _missing(f"{module.name}.{name}", module, documented))]


def _missing(name: str, module: Module, documented: set[str]) -> Iterator[str]:
    if not {name, module.name} & documented:
        yield f"{name} is on no page: add `::: {name}` below docs/reference/"


def _complaints(module: Module, node: Definition, documented: set[str]) -> Iterator[str]:
    name = f"{module.name}.{node.name}"
    yield from _missing(name, module, documented)
    text = ast.get_docstring(node) or ""
    if not text:
        yield f"{name} has no docstring"
    if module.name not in WITHOUT_PARAMETER_LISTS:
        described = set(re.findall(r"^:param (\w+):", text, re.MULTILINE))
        for argument in _arguments(node, module.tree):
            if argument not in described:
                yield f"{name} does not describe its argument {argument}"


def _public(tree: ast.Module) -> list[Definition]:
    """Returns the definitions that ``__all__`` lists or, without it, those without an underscore."""
    defined = [node for node in tree.body if isinstance(node, Definition)]
    listed = _all_of(tree)
    return [node for node in defined if (node.name in listed if listed else not node.name.startswith("_"))]


def _all_of(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets):
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


def _arguments(node: Definition, tree: ast.Module) -> list[str]:
    """Returns the arguments of a constructor, those of a base in the same module included; none for a function."""
    if not isinstance(node, ast.ClassDef):
        return []
    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
    parents = [each for each in tree.body if isinstance(each, ast.ClassDef) and each.name in bases]
    own = [
        argument.arg
        for each in node.body
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
        for argument in (*each.args.args[1:], *each.args.kwonlyargs)
    ]
    return list(dict.fromkeys([*own, *(name for parent in parents for name in _arguments(parent, tree))]))


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
