"""Finds every message that the package's errors can have, in the source code.

A message is a template: its text with ``…`` in place of each value. Text that reaches a message through a module's
constant, a local variable, a conditional expression, a helper function's result or a parameter is expanded, so one call
can give several templates.

Invariant: a call whose message has no text of its own is an error here, because it could not be listed.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "airflow_audit_provider"
VALUE = "…"
# The fake's own errors are not the provider's; the declared classes are no messages.
LEFT_OUT = ("testing/", "exceptions.py")
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Message(NamedTuple):
    """One message template, the name of its error class, and the module and line of the call that makes it."""

    error: str
    template: str
    module: str
    line: int


class _Scope(NamedTuple):
    """Where a name is looked up: a module of the package and the function inside it, None at module level."""

    module: str
    function: Function | None


def error_classes(source: str) -> set[str]:
    """Returns the names of the classes that a module of errors defines."""
    return {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def package_modules() -> dict[str, ast.Module]:
    """Returns the parsed modules of the package by their path, without those that are left out."""
    paths = sorted(PACKAGE.rglob("*.py"))
    named = {path.relative_to(PACKAGE).as_posix(): path for path in paths}
    return {name: ast.parse(path.read_text("utf-8")) for name, path in named.items() if not name.startswith(LEFT_OUT)}


def messages(modules: dict[str, ast.Module], classes: set[str]) -> list[Message]:
    """Returns the messages of every call of an error class, sorted; raises ``ValueError`` for one without text."""
    return sorted(set(_Finder(modules, classes).messages()), key=lambda found: (found.template, found.module))


class _Name(NamedTuple):
    """A name in a scope, whose values are looked up."""

    scope: _Scope
    text: str


class _Finder:
    """Expands the first argument of each call of an error class into templates."""

    def __init__(self, modules: dict[str, ast.Module], classes: set[str]) -> None:
        self._modules = modules
        self._classes = classes
        found = {name: _functions_and_calls(tree) for name, tree in modules.items()}
        self._calls = {name: calls for name, (_, calls) in found.items()}
        # Looking up one parameter or result goes through every module: by name, it does so 40 times faster.
        self._calls_of: dict[tuple[str, str], list[tuple[Function | None, ast.Call]]] = {}
        for module, calls in self._calls.items():
            for caller, call in calls:
                self._calls_of.setdefault((module, _called(call)), []).append((caller, call))
        self._assignments: dict[Function, list[ast.Assign]] = {}
        self._results: dict[Function, list[ast.expr]] = {}
        self._functions_of: dict[str, dict[str, Function]] = {}
        for module, (functions, _) in found.items():
            for function in functions:
                self._functions_of.setdefault(function.name, {}).setdefault(module, function)

    def messages(self) -> Iterator[Message]:
        """Yields each message as often as calls make it."""
        for module, calls in self._calls.items():
            for function, call in calls:
                name = _called(call)
                if name not in self._classes:
                    continue
                for template in self._message_texts(call, _Scope(module, function)):
                    if not template.replace(VALUE, "").strip():
                        raise ValueError(f"{module}:{call.lineno} {name} has a message without text of its own.")
                    yield Message(name, " ".join(template.split()), module, call.lineno)

    def _message_texts(self, call: ast.Call, scope: _Scope) -> set[str]:
        given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "message")]
        return self._texts(given[0], scope, frozenset()) if given else {VALUE}

    def _texts(self, node: ast.expr, scope: _Scope, active: frozenset[_Name]) -> set[str]:
        """Returns the texts that an expression can have, ``…`` for a value; ``active`` holds the names on the way."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return {node.value}
        if isinstance(node, ast.JoinedStr):
            return _joined([self._texts(part, scope, active) for part in node.values])
        if isinstance(node, ast.FormattedValue) and node.conversion != ord("r"):
            return self._texts(node.value, scope, active)
        if isinstance(node, ast.IfExp):
            return self._texts(node.body, scope, active) | self._texts(node.orelse, scope, active)
        return self._texts_of_lookup(node, scope, active)

    def _texts_of_lookup(self, node: ast.expr, scope: _Scope, active: frozenset[_Name]) -> set[str]:
        if isinstance(node, ast.Name):
            return self._texts_of_name(_Name(scope, node.id), active)
        if isinstance(node, ast.Call) and _called(node) == "count_of":
            return _joined([{f"{VALUE} "}, self._texts(node.args[1], scope, active), {"s"}])
        if isinstance(node, ast.Call):
            return self._texts_of_result(_Name(_Scope(scope.module, None), _called(node)), active)
        return {VALUE}

    def _texts_of_name(self, name: _Name, active: frozenset[_Name]) -> set[str]:
        """Returns the texts of a local variable, of a parameter, or of a module's constant."""
        function = name.scope.function
        if function is not None:
            if function not in self._assignments:
                self._assignments[function] = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
            assigned = list(_assigned(name.text, self._assignments[function]))
            if assigned:
                return self._sentences(assigned, name, active)
            position = _parameter(name.text, function)
            if position is not None:
                return self._texts_of_argument(name, position, function, active)
        constants = list(_assigned(name.text, self._modules[name.scope.module].body))
        return self._sentences(constants, _Name(_Scope(name.scope.module, None), name.text), active)

    def _sentences(self, nodes: list[ast.expr], name: _Name, active: frozenset[_Name]) -> set[str]:
        """Returns the texts of the expressions behind a name if they are sentences; fragments count as values."""
        if name in active:
            # A variable that is extended by itself: the expansion is one of its other values.
            nodes = [node for node in nodes if not _mentions(node, name.text)]
        return _only_sentences(self._texts(node, name.scope, active | {name}) for node in nodes)

    def _texts_of_argument(self, name: _Name, position: int, function: Function, active: frozenset[_Name]) -> set[str]:
        """Returns the texts that callers anywhere in the package pass for a parameter."""
        if name in active:
            return {VALUE}
        is_private = function.name.startswith("_")
        modules = [name.scope.module] if is_private else [*self._modules]
        passed = (
            (_argument(call, name.text, position), _Scope(module, caller))
            for module in modules
            for caller, call in self._calls_of.get((module, function.name), [])
        )
        return _only_sentences(
            self._texts(given, scope, active | {name}) for given, scope in passed if given is not None
        )

    def _texts_of_result(self, name: _Name, active: frozenset[_Name]) -> set[str]:
        """Returns the texts that a function returns: one of the same module, or a public one of another module."""
        own = name.scope.module
        found = self._functions_of.get(name.text, {})
        others = [] if name.text.startswith("_") else list(found)
        module = next((at for at in (own, *others) if at in found), None)
        if module is None or name in active:
            return {VALUE}
        function = found[module]
        if function not in self._results:
            nodes = (node for node in ast.walk(function) if isinstance(node, ast.Return))
            self._results[function] = [node.value for node in nodes if node.value]
        scope = _Scope(module, function)
        return _only_sentences(self._texts(node, scope, active | {name}) for node in self._results[function])


def _only_sentences(found: Iterable[set[str]]) -> set[str]:
    """Returns all texts if they are sentences, else ``…``; looks no further than the first that is none."""
    sentences: set[str] = set()
    for texts in found:
        if not all(text.rstrip().endswith((".", "?")) for text in texts):
            return {VALUE}
        sentences |= texts
    return sentences or {VALUE}


def _joined(parts: list[set[str]]) -> set[str]:
    return {"".join(combination) for combination in product(*map(sorted, parts))}


def _mentions(node: ast.expr, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))


def _functions_and_calls(tree: ast.Module) -> tuple[list[Function], list[tuple[Function | None, ast.Call]]]:
    """Returns the functions of a module, and its calls with the innermost function around each."""
    functions: list[Function] = []
    calls: list[tuple[Function | None, ast.Call]] = []
    # A loop and not a generator that calls itself, which takes twice as long.
    left: deque[tuple[Function | None, ast.AST]] = deque([(None, tree)])
    while left:
        function, node = left.popleft()
        if isinstance(node, Function):
            function = node
            functions.append(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                calls.append((function, child))
            left.append((function, child))
    return functions, calls


def _called(call: ast.Call) -> str:
    function = call.func
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def _assigned(name: str, nodes: Iterable[ast.AST]) -> Iterator[ast.expr]:
    for node in nodes:
        if isinstance(node, ast.Assign) and any(isinstance(at, ast.Name) and at.id == name for at in node.targets):
            yield node.value


def _parameter(name: str, function: Function) -> int | None:
    """Returns a parameter's position, None for a name that is none; ``self`` is not counted."""
    names = [given.arg for given in (*function.args.posonlyargs, *function.args.args)]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    return names.index(name) if name in names else None


def _argument(call: ast.Call, name: str, position: int) -> ast.expr | None:
    by_name = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return by_name[0] if by_name else call.args[position] if position < len(call.args) else None
