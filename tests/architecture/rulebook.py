"""Table of the rules: the files that each checks, a text that breaks it, and one that does not.

Invariant: no rule without an offender, because a rule that cannot fail proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.architecture import import_rules, prose_rules, secret_rules, size_rules, word_rules
from tests.architecture.source_files import PACKAGE, SourceFile, python_files, tracked

SourceFiles = Callable[[], tuple[SourceFile, ...]]
DOCUMENTED = (PACKAGE, "bench", "demo", "harness", "tools")
# The rules have to name what they forbid.
RULES_FOLDER = "tests/architecture/"
FOREIGN_TEXTS = ("LICENSE", "requirements/", "constraints/", RULES_FOLDER)


def _code(*folders: str) -> SourceFiles:
    return lambda: python_files(*folders)


def _but_rules(sources: SourceFiles) -> SourceFiles:
    return lambda: tuple(source for source in sources() if not source.path.startswith(FOREIGN_TEXTS))


class Rule(NamedTuple):
    """One rule: its check, the files it checks, a text that breaks it, one that does not, and their path."""

    judge: Callable[[SourceFile], list[str]]
    sources: SourceFiles
    offender: str
    innocent: str
    path: str = f"{PACKAGE}/core/sample.py"


def _body(line_count: int) -> str:
    return "\n".join(["    x = 1"] * line_count)


SILENCE = "# type" + ": ignore[assignment]"

RULES: dict[str, Rule] = {
    "files-are-short": Rule(size_rules.long_files, _code(), "x = 1\n" * 501, "x = 1\n" * 500),
    "short-files-have-a-reason": Rule(size_rules.short_files, _code(PACKAGE), "x = 1\n" * 39, "x = 1\n" * 40),
    "functions-are-short": Rule(
        size_rules.long_functions,
        _code(),
        f"def f():\n{_body(40)}\n",
        f'def f():\n    """One\n    two.\n    """\n    # three\n\n{_body(39)}\n',
    ),
    "shell-methods-are-thin": Rule(
        size_rules.long_shell_methods,
        _code(PACKAGE),
        f"def execute():\n{_body(15)}\n",
        f"def execute():\n{_body(14)}\n",
        f"{PACKAGE}/operators/sample.py",
    ),
    "six-parameters": Rule(
        size_rules.wide_functions,
        _code(*DOCUMENTED),
        "def f(a, b, c, *, d, e, f, g): ...\n",
        "def f(self, a, b, c, *, d, e, f): ...\n",
    ),
    "docstring-on-top": Rule(prose_rules.opened, _code(), "x = 1\n", '"""One."""\n'),
    "public-docstrings": Rule(
        prose_rules.public_docstrings,
        _code(*DOCUMENTED),
        'class A:\n    """One."""\n    def b(self): ...\n',
        'class A:\n    """One."""\n    def _b(self): ...\n',
    ),
    "test-docstrings": Rule(
        prose_rules.test_docstrings,
        _code("tests"),
        'def test_a():\n    """The page should be empty."""\n',
        'def test_a():\n    """The page is empty."""\n',
        "tests/test_sample.py",
    ),
    "silence-has-a-reason": Rule(
        prose_rules.reasons, _code(), f"x = 1  {SILENCE}\n", f"x = 1  {SILENCE}  # msgspec types it as Any\n"
    ),
    "no-empty-words": Rule(
        word_rules.empty_words,
        _but_rules(_code()),
        "def handle_page(): ...\n",
        "def get_provider_info(): log.info(a.data)\n",
    ),
    "one-word-per-idea": Rule(
        word_rules.other_words, _but_rules(tracked), "# the next chunks\n", "# Transfer-Encoding: chunked\n"
    ),
    "no-charters": Rule(
        word_rules.charters,
        _but_rules(tracked),
        '"""One.\n\nKnows: a. Must not know: b.\n"""\n',
        '"""One.\n\nInvariant: a.\n"""\n',
    ),
    "no-retired-words": Rule(
        # The first text is the planted offender: it has to contain a retired word.
        word_rules.retired_words,
        _but_rules(tracked),
        "# the debris of a dead try\n",
        "# orphaned files\n",
    ),
    "no-retired-names": Rule(
        word_rules.retired_names,
        _code(PACKAGE, "bench", "demo", "harness", "tools"),
        "class Walk: ...\n",
        "class Paginator: ...\n",
    ),
    "no-drawers": Rule(word_rules.drawers, _code(), "", "", f"{PACKAGE}/utils.py"),
    "names-end-in-their-unit": Rule(
        word_rules.endings,
        _code(*DOCUMENTED),
        "def f(created: datetime): ...\n",
        "def f(created_at: datetime, start: datetime, delay: timedelta, delay_seconds: float): ...\n",
    ),
    "layers-import-what-they-may": Rule(
        import_rules.external_imports,
        _code(PACKAGE),
        "def f():\n    import airflow.sdk\n",
        "import msgspec\nfrom datetime import UTC\n",
    ),
    "imports-are-statements": Rule(
        import_rules.hidden_imports,
        _code(PACKAGE),
        "import importlib\nx = importlib.import_module('pyarrow')\n",
        "from importlib import import_module\nx = [import_module(name) for name in names]\n",
    ),
    "declaration-imports-nothing": Rule(
        import_rules.no_imports,
        _code(f"{PACKAGE}/get_provider_info.py"),
        "import os\n",
        "x = {}\n",
    ),
    "test-doubles-know-the-core": Rule(
        import_rules.testing_imports,
        _code(f"{PACKAGE}/testing"),
        f"from {PACKAGE}.pipelines.pull import pull_window\n",
        f"from {PACKAGE}.core.ports import Clock\n",
    ),
    "no-imports-from-tests": Rule(
        import_rules.imports_from_tests,
        _code(),
        "from tests.core.test_limits import helper\n",
        "from tests.core.model_server import ModelServer\n",
        "tests/sample.py",
    ),
    "errors-say-their-remedy": Rule(
        import_rules.bare_raises,
        _code(PACKAGE),
        "raise exceptions.AirflowException('no')\n",
        "raise SourceError('no')\n",
    ),
    "no-trace-of-a-machine": Rule(
        secret_rules.traces,
        tracked,
        "see /ro" + "ot/.pyenv\n",
        "see /home/" + "airflow/dags\n",
        "README.md",
    ),
}
