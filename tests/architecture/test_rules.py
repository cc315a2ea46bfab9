"""Tests that every file obeys every rule, and that every rule can fail."""

from __future__ import annotations

import pytest

from tests.architecture import size_rules
from tests.architecture.rulebook import RULES, Rule
from tests.architecture.source_files import PACKAGE, SourceFile, python_files

EACH_RULE = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


@pytest.fixture(scope="module", autouse=True)
def _parsed() -> None:
    """Parses every file once, so that no single rule's test has to."""
    for source in python_files():
        assert source.nodes


@EACH_RULE
def test_every_file_obeys(rule: Rule) -> None:
    """No file breaks the rule."""
    complaints = [complaint for source in rule.sources() for complaint in rule.judge(source)]
    assert not complaints, "\n".join(["", *complaints])


@EACH_RULE
def test_rule_can_fail(rule: Rule) -> None:
    """The rule rejects a text that breaks it."""
    assert rule.judge(SourceFile(rule.path, rule.offender))


@EACH_RULE
def test_rule_lets_good_text_pass(rule: Rule) -> None:
    """The rule accepts a text that does not break it."""
    path = rule.path.replace("utils", "window")
    assert rule.judge(SourceFile(path, rule.innocent)) == []


@pytest.mark.parametrize(
    ("offender", "word"),
    [
        ("def f(timeout: float): ...", "_seconds"),
        ("def f(num_records: int): ...", "_count"),
        ("def f(part_size: int | None): ...", "_bytes"),
    ],
)
def test_number_without_unit_ending_is_rejected(offender: str, word: str) -> None:
    """Names the missing ending for a time, a count or a size."""
    endings = RULES["names-end-in-their-unit"].judge
    assert any(word in complaint for complaint in endings(SourceFile("a.py", offender)))


def test_functions_are_short_on_the_whole() -> None:
    """Half of the package's functions have at most 8 lines of code, and 90 % at most 25."""
    median, ninth_decile = size_rules.spread(python_files(PACKAGE))
    assert (median <= size_rules.MEDIAN_LINES, ninth_decile <= size_rules.NINTH_DECILE_LINES) == (True, True)


def test_spread_counts_code_and_not_stubs() -> None:
    """The spread of lengths leaves out Protocol stubs, docstrings and comments."""
    stub = 'def a():\n    """One."""\n    ...\n'
    short = 'def b():\n    """One."""\n    # why\n    return 1\n'
    long = "def c():\n" + "    x = 1\n" * 29
    assert size_rules.spread([SourceFile("a.py", stub + short + long)])[0] == 16
