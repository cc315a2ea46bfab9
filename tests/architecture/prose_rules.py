"""Rules on docstrings and on reasons in comments.

Invariant: a complaint names the line and what is missing there.
"""

from __future__ import annotations

import ast
import re

from tests.architecture.source_files import FunctionNode, SourceFile, functions

NOT_PRESENT_TENSE = re.compile(r"\b(should|shall|will|was|were|tests? that|checks? that|ensures?)\b", re.IGNORECASE)
SECOND_SENTENCE = re.compile(r"[.!?]\s+[A-Z]")
SILENCED = re.compile(r"#\s*(?:type:\s*ignore|noqa|pragma:\s*no cover|fmt:\s*(?:off|skip))(?P<rest>.*)$")
CODES = re.compile(r"^(?:\[[\w\-, ]*\])?(?::\s*[A-Z]+\d+(?:[, ]+[A-Z]+\d+)*)?")


def opened(source: SourceFile) -> list[str]:
    """Every module opens with a docstring."""
    return [] if ast.get_docstring(source.tree) or not source.text.strip() else [f"{source.path} has no docstring"]


def public_docstrings(source: SourceFile) -> list[str]:
    """Every public function, method and class has a docstring of one sentence or more."""
    return [
        f"{source.path}:{node.lineno} {node.name} has no docstring that is a sentence"
        for node in _public(source.tree)
        if not _is_sentence(ast.get_docstring(node))
    ]


def _public(tree: ast.Module | ast.ClassDef) -> list[FunctionNode | ast.ClassDef]:
    """Yields public definitions of a module and, below public classes, their public methods."""
    found: list[FunctionNode | ast.ClassDef] = []
    for node in tree.body:
        if isinstance(node, FunctionNode | ast.ClassDef) and not node.name.startswith("_") and not _repeats(node):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                found += _public(node)
    return found


def _repeats(node: FunctionNode | ast.ClassDef) -> bool:
    """Returns whether a definition is an overload or override, whose first definition has the docstring."""
    names = {ast.unparse(decorator).rsplit(".", 1)[-1] for decorator in node.decorator_list}
    return bool(names & {"overload", "override", "setter"})


def _is_sentence(text: str | None) -> bool:
    first = (text or "").split("\n\n")[0].strip()
    return bool(first) and (first[-1] in ".:!?`" or first.endswith("::"))


def test_docstrings(source: SourceFile) -> list[str]:
    """Every test has a docstring that states in one sentence, in the present tense, what is true."""
    tests = [function for function in functions(source) if function.name.startswith("test_")]
    complaints = []
    for test in tests:
        text = " ".join((ast.get_docstring(test) or "").split())
        if not text.endswith(".") or SECOND_SENTENCE.search(text) or NOT_PRESENT_TENSE.search(text):
            complaints.append(f"{source.path}:{test.lineno} {test.name}: one sentence in the present tense is due")
    return complaints


test_docstrings.__test__ = False  # type: ignore[attr-defined]  # a rule, though pytest reads its name as a test's


def reasons(source: SourceFile) -> list[str]:
    """A suppressed warning of a tool has its reason on the line or in the comment just above."""
    lines = source.text.splitlines()
    complaints = []
    for number, line in enumerate(lines, 1):
        found = SILENCED.search(line)
        above = lines[number - 2].strip() if number > 1 else ""
        if found and "fmt" not in found[0] and not above.startswith("#") and len(_why(found["rest"])) < 8:
            complaints.append(f"{source.path}:{number} silences a tool without a reason")
    return complaints


def _why(rest: str) -> str:
    """Returns the rest of a silencing comment after its codes."""
    return CODES.sub("", rest.strip()).strip(" #-:()")
