"""Renders the troubleshooting page from the catalogue of error messages, and compares the catalogue with the code.

``python -m tools.troubleshooting`` lists the messages that ``docs/troubleshooting.toml`` lacks, and the entries whose
message is no longer in the code, with the closest message beside each. Correct the file, then run
``python -m tools.generated_docs``.
"""

from __future__ import annotations

import difflib
import re
import sys
import tomllib
from typing import Any, NamedTuple

from airflow_audit_provider import exceptions
from tools.error_messages import PACKAGE, PROJECT, error_classes, messages, package_modules

CATALOGUE = PROJECT / "docs" / "troubleshooting.toml"
AREAS = {
    "connection": "Connection, account and credential",
    "window": "Window of a run",
    "arguments": "Arguments of operators and configuration",
    "filters": "Filters",
    "api": "Cloudflare API",
    "store": "Destination and object store",
    "commit": "Data that is already committed",
    "privacy": "Privacy",
    "warehouse": "Loading into a warehouse",
    "verify": "Verification, seals and clean-up",
    "detections": "Detections and alerts",
    "hook": "Reading with the hook",
}
_SENTENCE_END = re.compile(r"[.?](?= |$)")
_CLAUSE_END = re.compile(r"[.?;](?= |$)")
_WORD = re.compile(r"\S*[^\W\d_]\S*")
# "lookback is …" does not help to find a message.
_LEAST_WORDS = 4
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|])")


class Entry(NamedTuple):
    """One message of the catalogue, and the situations that raise it, each with the remedy that helps there."""

    area: str
    text: str
    cases: list[tuple[str, str]]


def entries() -> list[Entry]:
    """Returns the catalogue in the order of the file."""
    content = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    return [
        Entry(found["area"], found["text"], [(when, remedy) for when, remedy in found["cases"]])
        for found in content["message"]
    ]


def errors_by_message() -> dict[str, set[str]]:
    """Returns the message templates in the package's code, each with the names of its error classes."""
    classes = error_classes((PACKAGE / "exceptions.py").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {}
    for message in messages(package_modules(), classes):
        found.setdefault(message.template, set()).add(message.error)
    return found


def is_retried(error: str) -> bool:
    """Returns whether Airflow retries a task that fails with an error of this class."""
    kind: Any = getattr(exceptions, error)
    return bool(kind.retryable)


def troubleshooting() -> str:
    """Returns the generated part of the page: a section for each area, with a heading for each message."""
    errors, catalogue = errors_by_message(), entries()
    heading_of = headings([entry.text for entry in catalogue])
    sections = []
    for area, title in AREAS.items():
        sections.append(f"## {title}")
        in_area = [entry for entry in catalogue if entry.area == area]
        sections += [_section(entry, heading_of[entry.text], errors.get(entry.text, set())) for entry in in_area]
    return "\n\n".join([*sections, "## Error classes", *_error_classes(errors, catalogue)])


def _error_classes(errors: dict[str, set[str]], catalogue: list[Entry]) -> list[str]:
    """Returns a section for each error class, to which the link in a task's log leads."""
    sections = []
    for name in sorted({name for names in errors.values() for name in names}):
        areas = [area for area in AREAS if any(e.area == area and name in errors.get(e.text, ()) for e in catalogue)]
        links = ", ".join(f"[{AREAS[area]}](#{_anchor(AREAS[area])})" for area in areas)
        meaning = (getattr(exceptions, name).__doc__ or "").split("\n\n")[0].replace("``", "`")
        retried = "Airflow retries" if is_retried(name) else "Airflow does not retry"
        sections += [f"### {name}", f"{' '.join(meaning.split())} {retried} it. Its messages: {links}."]
    return sections


def _anchor(heading: str) -> str:
    """Returns the anchor that GitHub and the site give a heading of plain words."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def headings(texts: list[str]) -> dict[str, str]:
    """Returns a heading for each message: its beginning, so that a search for the words of the message finds it.

    This is the first sentence, and further clauses if it has few words or another message begins with it.
    """
    return {text: _heading(text, [other for other in texts if other != text]) for text in texts}


def _heading(text: str, others: list[str]) -> str:
    first = _SENTENCE_END.search(text)
    ends = [end.end() for end in _CLAUSE_END.finditer(text, first.start())] if first else []
    for beginning in (text[:end] for end in ends):
        has_words = len(_WORD.findall(beginning)) >= _LEAST_WORDS
        if has_words and not any(other.startswith(beginning) for other in others):
            return beginning.rstrip(".;")
    return text.rstrip(".")


def _section(entry: Entry, heading: str, errors: set[str]) -> str:
    classes = ", ".join(
        f"`{error}`, which Airflow {'retries' if is_retried(error) else 'does not retry'}" for error in sorted(errors)
    )
    rows = [f"| {_cell(when)} | {_cell(remedy)} |" for when, remedy in entry.cases]
    return "\n".join(
        [
            f"### {_plain(heading)}",
            "",
            f"{classes}:",
            "",
            f"> {_plain(entry.text)}",
            "",
            "| when | do |",
            "|---|---|",
            *rows,
        ]
    )


def _plain(text: str) -> str:
    """Returns a text in which Markdown sees no markup."""
    return _MARKDOWN.sub(r"\\\1", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Prints the differences between catalogue and code; returns 1 if there are any."""
    in_code, in_file = set(errors_by_message()), {entry.text for entry in entries()}
    for text in sorted(in_code - in_file):
        near = difflib.get_close_matches(text, sorted(in_file - in_code), n=1, cutoff=0.3)
        print(f"Not in the catalogue:\n  {text}" + (f"\nperhaps the new text of:\n  {near[0]}" if near else ""))
    for text in sorted(in_file - in_code):
        print(f"No longer in the code:\n  {text}")
    return int(in_code != in_file)


if __name__ == "__main__":
    sys.exit(main())
