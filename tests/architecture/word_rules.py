"""Rules on words and names.

Invariant: only names that this project chooses are checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.source_files import SourceFile

# Words that name nothing, and words for which the glossary has another one.
EMPTY_WORDS = {"handle", "process", "manage", "data", "info", "util", "utils", "helper", "helpers", "manager"}
OTHER_WORDS = {"chunk": "page", "batch": "page or part", "bookmark": "checkpoint", "fingerprint": "digest"}
OTHER_WORDS |= {"check" + "sum": "digest"}
# Metaphors of earlier versions, and the terms that replaced them (docs/adr/0009-layout-and-names.md).
RETIRED_WORDS = {
    "told": "reported or logged", "heap": "bucket", "notary": "seal", "debris": "orphaned files",
    "outrun": "lost the race",
    "mend": "fix or remedy", "mends": "fixes", "mended": "fixed", "whoever": "callers", "put aside": "spilled",
    "gone on with": "resumed", "dead try": "abandoned attempt", "sign of life": "last activity",
}  # fmt: skip
RETIRED = re.compile(rf"\b({'|'.join(RETIRED_WORDS)})\b", re.IGNORECASE)
CHARTER = re.compile("|".join(("Knows" + ":", "Must not " + "know:", "Its one " + "rule:")))
RETIRED_NAMES = frozenset(
    "Walk ReadShape Fitting RateBudget ReadTally SideBySide Stretch Happened TableStamp PrivacyStamp PullOrder "
    "LoadOrder "
    "Stager LookedBack Swept Nobody SharedNews NewsProducer MarkStore MisfitError NormalizedShape OcsfShape note_sent "
    "note_lost note_answer close_for break_off give_up absorb joins whole_heaps clear_unnamed disown afollow look_back "
    "store_at named_failures skipping_softly task_failures next_try ONE_TRY".split()
)
# Not inside a name with hyphens, such as the header x-amz-checksum-crc32, which others gave.
SPOKEN = re.compile(rf"(?<!-)\b({'|'.join(OTHER_WORDS)})(?:e?s)?\b(?!-)", re.IGNORECASE)
# Names given by Airflow, Cloudflare or httpx; terms of the field: the end of the data, a test double in the process.
FIELD_NAMES = {
    "get_provider_info", "provider_info", "data_interval", "data_interval_start", "data_interval_end", "result_info",
    "end_of_data", "in_process", "handle_request", "get_extra_info",
}  # fmt: skip
DRAWERS = {"util", "utils", "helper", "helpers", "common", "base", "misc", "shared", "tools", "stuff"}
# Instants that the glossary, the API or Airflow named without the ending.
KNOWN_INSTANTS = {
    "start", "end", "now", "since", "before", "until", "instant", "moment", "other", "window_start", "window_end",
    "logical_date", "data_interval_start", "data_interval_end", "partition_date", "when", "value",
}  # fmt: skip
# Records a page, as every paged API calls it.
KNOWN_SIZES = {"page_size"}
LENGTH_WORDS = {"duration", "timeout", "delay", "interval", "period", "elapsed", "pause", "age"}
NUMBERS = {"int", "float", "int | None", "float | None"}
INSTANTS = {"datetime", "datetime | None"}


def words_of(name: str) -> list[str]:
    """Splits a name in snake or camel case into lower-case words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return [word for word in spaced.lower().split("_") if word]


def given_names(source: SourceFile) -> Iterator[tuple[int, str]]:
    """Returns every name that a module defines: functions, classes, parameters, variables, attributes and its own."""
    yield 1, source.path.rsplit("/", 1)[-1].removesuffix(".py")
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def empty_words(source: SourceFile) -> list[str]:
    """No name contains a word that says nothing about its subject."""
    banned = EMPTY_WORDS | set(OTHER_WORDS)
    return [
        f"{source.path}:{line} the name {name} says {word}"
        for line, name in given_names(source)
        if "_".join(words_of(name)) not in FIELD_NAMES
        for word in words_of(name)
        if word in banned
    ]


def other_words(source: SourceFile) -> list[str]:
    """No text uses another word than the glossary's for an idea."""
    return [
        f"{source.path}:{number} says {found[0]}; say {OTHER_WORDS[found[1].lower()]}"
        for number, line in enumerate(source.text.splitlines(), 1)
        for found in SPOKEN.finditer(line)
    ]


def charters(source: SourceFile) -> list[str]:
    """No module opens with the three-part charter of earlier versions."""
    return [
        f"{source.path}:{number} has a charter clause; write a summary sentence and an Invariant line"
        for number, line in enumerate(source.text.splitlines(), 1)
        if CHARTER.search(line)
    ]


def retired_words(source: SourceFile) -> list[str]:
    """No text uses a metaphor that was replaced by the field's term."""
    return [
        f"{source.path}:{number} says {found[0]}; say {RETIRED_WORDS[found[1].lower()]}"
        for number, line in enumerate(source.text.splitlines(), 1)
        for found in RETIRED.finditer(line)
    ]


def retired_names(source: SourceFile) -> list[str]:
    """No definition has a name of earlier versions."""
    return [
        f"{source.path}:{node.lineno} defines {node.name}, a name that was replaced"
        for node in source.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and (node.name in RETIRED_NAMES or node.name.lstrip("_").startswith("refuse_"))
    ]


def drawers(source: SourceFile) -> list[str]:
    """No module has a name such as utils or helpers."""
    stem = source.path.rsplit("/", 1)[-1].removesuffix(".py")
    return [f"{source.path} is a drawer; name it by what it knows"] if stem in DRAWERS else []


def endings(source: SourceFile) -> list[str]:
    """Instants end in ``_at``, numbers of seconds in ``_seconds``, counts in ``_count``, sizes in ``_bytes``."""
    complaints = []
    for line, name, kind in _annotated(source):
        words, remedy = words_of(name), None
        if kind in INSTANTS and words[-1] != "at" and name not in KNOWN_INSTANTS:
            remedy = "an instant ends in _at"
        elif kind in NUMBERS and LENGTH_WORDS & set(words) and words[-1] != "seconds":
            remedy = "a length of time that is a number ends in _seconds"
        elif kind in NUMBERS and len(words) > 1 and words[0] in {"num", "n"}:
            remedy = "a count ends in _count"
        elif kind in NUMBERS and "size" in words and words[-1] not in {"bytes", "count"} and name not in KNOWN_SIZES:
            remedy = "a size ends in _bytes, a count in _count"
        if remedy:
            complaints.append(f"{source.path}:{line} {name}: {remedy}")
    return complaints


def _annotated(source: SourceFile) -> Iterator[tuple[int, str, str]]:
    """Yields line, name and written type of every parameter and every annotated field or variable."""
    for node in source.nodes:
        if isinstance(node, ast.arg) and node.annotation is not None:
            yield node.lineno, node.arg, ast.unparse(node.annotation)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name | ast.Attribute):
            name = node.target.id if isinstance(node.target, ast.Name) else node.target.attr
            yield node.lineno, name, ast.unparse(node.annotation)
