"""The catalogue of errors has every message of the package, each with situations and remedies."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from airflow_audit_provider import exceptions
from tests.architecture.source_files import PROJECT
from tools import troubleshooting
from tools.error_messages import messages

CLASSES = {"ConfigurationError", "StorageError"}
EXTENDED_HINT = """
def f(a):
    hint = "Do a."
    if a:
        hint = f"Or b. {hint}"
    raise StorageError(f"Bad. {hint}")
"""
REMEDY = (
    "Run `python -m tools.troubleshooting`, correct docs/troubleshooting.toml, then `python -m tools.generated_docs`."
)


@cache
def _errors() -> dict[str, set[str]]:
    """Returns the error classes of each message of the package; read at the first test, because it takes seconds."""
    return troubleshooting.errors_by_message()


@cache
def _entries() -> list[troubleshooting.Entry]:
    return troubleshooting.entries()


def _found(**sources: str) -> set[tuple[str, str]]:
    """Returns error class and template of each message in these modules."""
    modules = {f"{name}.py": ast.parse(source) for name, source in sources.items()}
    return {(found.error, found.template) for found in messages(modules, CLASSES)}


def test_every_message_is_in_the_catalogue() -> None:
    """The catalogue has an entry for each message that the code can raise."""
    assert sorted(_errors().keys() - {entry.text for entry in _entries()}) == [], REMEDY


def test_every_entry_is_a_message() -> None:
    """The catalogue has no entry for a message that the code no longer raises, and none twice."""
    texts = [entry.text for entry in _entries()]
    assert sorted(set(texts) - _errors().keys()) == [], REMEDY
    assert len(texts) == len(set(texts))


def test_each_entry_has_situations_and_remedies() -> None:
    """An entry has an area and at least one situation, and situation and remedy are sentences."""
    assert [entry.text for entry in _entries() if entry.area not in troubleshooting.AREAS or not entry.cases] == []
    texts = [text for entry in _entries() for case in entry.cases for text in case]
    assert [text for text in texts if not text.endswith(".")] == []


def test_only_a_retried_error_needs_no_action() -> None:
    """A remedy that leaves the task to Airflow's retries belongs to an error that Airflow retries."""
    left = [e for e in _entries() if any(remedy.startswith("Nothing: Airflow retries") for _, remedy in e.cases)]
    assert left
    assert [e.text for e in left if not all(map(troubleshooting.is_retried, _errors().get(e.text, set())))] == []


def test_each_message_ends_in_a_sentence() -> None:
    """A message is at least two sentences, what happened and what to do, and ends with a full stop."""
    texts = sorted(_errors())
    assert [text for text in texts if not text.endswith((".", "?"))] == []
    assert [text for text in texts if len(re.findall(r"[.?:](?= |$)", text)) < 2] == []


def test_every_class_that_is_raised_has_a_message() -> None:
    """Each public error class has a message, except those that only group others."""
    raised = set().union(*_errors().values())
    assert set(exceptions.__all__) - raised == {"AuditProviderError", "SourceError", "error_named"}


def test_page_shows_every_message() -> None:
    """The page has a section for each entry, with its class, its text and all of its cases."""
    page = (PROJECT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages_part, _, classes_part = page.partition("\n## Error classes\n")
    assert messages_part.count("\n### ") == len(_entries())
    for entry in _entries():
        assert all(f"| {when.replace('|', chr(92) + '|')} |" in page for when, _ in entry.cases)
    assert re.findall(r"\n### (\w+)\n", classes_part) == sorted(set().union(*_errors().values()))


def test_headings_differ_and_say_something() -> None:
    """Each heading is the beginning of its message, has at least four words, and is that of no other message."""
    heading_of = troubleshooting.headings([entry.text for entry in _entries()])
    assert [text for text, heading in heading_of.items() if not text.startswith(heading)] == []
    assert [heading for heading in heading_of.values() if len(re.findall(r"\S*[A-Za-z]\S*", heading)) < 4] == []
    assert len(set(heading_of.values())) == len(_entries())


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["The store is not there. Do it."], ["The store is not there"]),
        (["… is …. Give a number, for example 5; see it."], ["… is …. Give a number, for example 5"]),
        (["The store is not there. Do a.", "The store is not there. Do b."],
         ["The store is not there. Do a", "The store is not there. Do b"]),
        (["It is …. Do it."], ["It is …. Do it"]),
        (["The store is …", "The store is …. Do it now."], ["The store is …", "The store is …. Do it now"]),
    ],
)  # fmt: skip
def test_heading_is_as_long_as_needed(texts: list[str], found: list[str]) -> None:
    """A heading is the first sentence; more of the message if that is short or begins another message."""
    assert list(troubleshooting.headings(texts).values()) == found


def test_a_message_that_is_not_listed_is_found() -> None:
    """A message that is raised in any module and missing in the catalogue is found."""
    (found,) = _found(new='def f(x):\n    raise ConfigurationError(f"The {x!r} is new. Do it.")\n')
    assert found == ("ConfigurationError", "The … is new. Do it.")
    assert found[1] not in {entry.text for entry in _entries()}


@pytest.mark.parametrize(
    ("source", "templates"),
    [
        ('REMEDY = "Fix it."\nraise StorageError(f"Bad. {REMEDY}", key="k")', {"Bad. Fix it."}),
        ('def f(a):\n    hint = "Do a." if a else "Do b."\n    raise StorageError(f"Bad. {hint}")',
         {"Bad. Do a.", "Bad. Do b."}),
        (EXTENDED_HINT, {"Bad. Do a.", "Bad. Or b. Do a."}),
        ('def _make(text):\n    return StorageError(f"Bad: {text}")\n_make("Do a.")\n_make(text="Do b.")',
         {"Bad: Do a.", "Bad: Do b."}),
        ('def text():\n    return f"Bad {1 + 1}. Do it."\nraise StorageError(text())', {"Bad …. Do it."}),
        ('raise StorageError(message=f"Part {key} of {len(x)}.")', {"Part … of …."}),
        ('raise ValueError("Not one of ours.")', set()),
    ],
)  # fmt: skip
def test_text_behind_a_name_is_expanded(source: str, templates: set[str]) -> None:
    """Constants, variables, parameters and results that are sentences become part of the template."""
    assert {template for _, template in _found(module=source)} == templates


def test_a_parameter_is_followed_into_other_modules() -> None:
    """A remedy that a caller in another module passes is part of the message."""
    found = _found(
        maker='def missing(name, remedy):\n    return ConfigurationError(f"{name} is missing. {remedy}")\n',
        caller='REMEDY = "Create it."\n\ndef f():\n    raise missing("x", REMEDY)\n',
    )
    assert found == {("ConfigurationError", "… is missing. Create it.")}


def test_a_message_without_text_is_an_error() -> None:
    """A call whose message cannot be read from the code is an error that names its line."""
    with pytest.raises(ValueError, match=r"odd\.py:2 StorageError"):
        _found(odd="def f(error):\n    raise StorageError(str(error))\n")
