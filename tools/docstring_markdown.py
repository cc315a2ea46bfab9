"""Converts docstrings from the reStructuredText that Airflow's conventions ask for to Markdown.

Griffe's parser of ``:param:`` lists takes a paragraph after the list for a part of the last parameter, so such
paragraphs are moved before the list.
"""

from __future__ import annotations

import re

ROLE = re.compile(r":(?:py:)?(?:class|meth|func|mod|attr|exc|data|obj|ref):`~?([^`]+)`")
LITERAL_BLOCK = re.compile(r"^(.*)::$", re.MULTILINE)
FIELD = re.compile(r":[a-z]+(?: [*\w]+)?:(?: |$)")


def to_markdown(text: str) -> str:
    """Returns a docstring without roles and literal block marks, and with its field list at the end."""
    text = LITERAL_BLOCK.sub(lambda found: f"{found[1]}:" if found[1].strip() else "", ROLE.sub(r"`\1`", text))
    paragraphs = re.split(r"\n[ \t]*\n", text)
    fields = [paragraph for paragraph in paragraphs if FIELD.match(paragraph)]
    rest = [paragraph for paragraph in paragraphs if not FIELD.match(paragraph)]
    return "\n\n".join([*rest, "\n".join(fields)] if fields else rest)
