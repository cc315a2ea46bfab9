"""The tree of errors in the module's docstring agrees with the classes."""

from __future__ import annotations

import re

from airflow_audit_provider import exceptions
from airflow_audit_provider.exceptions import AuditProviderError

_LINE = re.compile(r"^    (?P<branches>[│├└─ ]*)(?P<name>\w+Error)\b.*?(?P<retry>no retry|retry)?$", re.MULTILINE)


def _documented() -> dict[str, tuple[str | None, bool | None]]:
    """Returns the parent and the retryability of each error, as the docstring states them."""
    path: list[str] = []
    tree: dict[str, tuple[str | None, bool | None]] = {}
    for line in _LINE.finditer((exceptions.__doc__ or "").partition('"retry" is')[0]):
        depth = len(line["branches"]) // 4
        path[depth:] = [line["name"]]
        tree[line["name"]] = (path[depth - 1] if depth else None, line["retry"] == "retry" if line["retry"] else None)
    return tree


def test_the_documented_tree_is_the_tree_of_classes() -> None:
    """Each public error is in the docstring below its base class, with the retryability it has."""
    classes = [each for each in vars(exceptions).values() if isinstance(each, type)]
    errors = [each for each in classes if issubclass(each, AuditProviderError)]
    roots = ("AuditProviderError", "SourceError")
    assert _documented() == {
        each.__name__: (
            each.__base__.__name__ if each is not AuditProviderError and each.__base__ else None,
            None if each.__name__ in roots else each.retryable,
        )
        for each in errors
    }


def test_every_error_is_exported() -> None:
    """A public error can be imported by name from the module's list."""
    assert {*exceptions.__all__} == {*_documented(), "error_named"}
