"""Cuts JSON into its parts by brackets, strings and commas, where decoders refuse the text as a whole.

Decoders refuse a text for one bad value in it: NaN, a raw control character, nesting deeper than the interpreter's
recursion limit. Here only the structure is read, in a loop, so one bad value spoils nothing else.

Invariant: a piece is the original bytes. A structure that is not balanced raises ``ValueError``; nothing recurses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

# A string with its quotes, a structural character, or a quote that opens a string without an end.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},"]', re.DOTALL)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NAME = re.compile(rb'\s*("[^"\\]*(?:\\.[^"\\]*)*")\s*:\s*', re.DOTALL)
# All backslashes before what looks like a surrogate escape: if their number is even, they escape each other.
_SURROGATE = re.compile(rb"(?<!\\)(\\+)u([dD][89a-fA-F][0-9a-fA-F]{2})")
_SPACE = b" \t\r\n"
_CLOSERS = {ord("["): ord("]"), ord("{"): ord("}")}
_QUOTE, _COMMA = ord('"'), ord(",")


class _Span(NamedTuple):
    start: int
    end: int


def cut_result(body: bytes) -> tuple[list[bytes], bytes]:
    """Returns the entries of a response's ``result`` list, and the response with an empty list in their place.

    Raises ``ValueError`` if the response has no such list, or one that cannot be cut into entries.
    """
    found: _Span | None = None
    for name, value in _members(body, _first_brace(body)):
        # Of a repeated name, decoders take the last.
        found = value if name == b'"result"' else found
    if found is None or body[found.start : found.start + 1] != b"[":
        raise ValueError("the response has no result list")
    spans, end = _elements(body, found.start)
    entries = [body[span.start : span.end].strip(_SPACE) for span in spans]
    if entries == [b""]:
        entries = []
    if not all(entries):
        raise ValueError("an entry of the result list is missing")
    return entries, b"%b[]%b" % (body[: found.start], body[end:])


def cut_fields(raw: bytes) -> dict[str, bytes] | None:
    """Returns the JSON of each field of an object, None for anything else; what is no field is left out."""
    start = len(raw) - len(raw.lstrip(_SPACE))
    if raw[start : start + 1] != b"{":
        return None
    try:
        members = _members(raw, start)
    except ValueError:
        return {}
    return {_name_text(name): raw[value.start : value.end].rstrip(_SPACE) for name, value in members}


def escape_line_breaks(raw: bytes) -> bytes:
    """Returns JSON on one line: a line break inside a string becomes its escape, any other becomes a space."""

    def escaped(string: re.Match[bytes]) -> bytes:
        return string[0].replace(b"\n", b"\\n").replace(b"\r", b"\\r")

    return _STRING.sub(escaped, raw).replace(b"\n", b" ").replace(b"\r", b" ")


def mask_surrogates(body: bytes) -> bytes:
    r"""Returns JSON of the same length in which every surrogate escape is replaced by U+FFFD.

    RFC 8259, 8.2: the grammar allows "bit sequences that cannot encode Unicode characters; for example, "\uDEAD" (a
    single unpaired UTF-16 surrogate)", as a truncated emoji leaves it. Strict decoders reject it.
    """
    return replace_surrogates(body, lambda _: b"\\ufffd")


def replace_surrogates(text: bytes, replacement: Callable[[bytes], bytes]) -> bytes:
    """Returns JSON with another text for each surrogate escape; ``replacement`` gets its four digits."""

    def replaced(found: re.Match[bytes]) -> bytes:
        backslashes, digits = found.groups()
        return backslashes[:-1] + replacement(digits) if len(backslashes) % 2 else found[0]

    return _SURROGATE.sub(replaced, text)


def _first_brace(body: bytes) -> int:
    start = len(body) - len(body.lstrip(_SPACE))
    if body[start : start + 1] != b"{":
        raise ValueError("the response is not an object")
    return start


def _members(text: bytes, opening: int) -> list[tuple[bytes, _Span]]:
    """Returns the name with its quotes, and the value's place, of each member of the object at an offset."""
    members = []
    for span in _elements(text, opening)[0]:
        name = _NAME.match(text, span.start, span.end)
        if name is not None:
            members.append((name[1], _Span(name.end(), span.end)))
    return members


def _elements(text: bytes, opening: int) -> tuple[list[_Span], int]:
    """Returns the places between the commas of the list or object at an offset, and the offset after its end."""
    spans, start, closers = [], opening + 1, bytearray()
    for token in _TOKEN.finditer(text, opening):
        at = token.start()
        byte = text[at]
        if byte == _COMMA:
            if len(closers) == 1:
                spans.append(_Span(start, at))
                start = at + 1
        elif byte in _CLOSERS:
            closers.append(_CLOSERS[byte])
        elif byte != _QUOTE or token.end() == at + 1:
            # A closing bracket, or a quote that opens a string without an end.
            if closers.pop() != byte:
                raise ValueError("the brackets or quotes are not balanced")
            if not closers:
                return [*spans, _Span(start, at)], at + 1
    raise ValueError("a bracket is not closed")


def _name_text(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    try:
        return str(json.loads(text, strict=False)) if "\\" in text else text[1:-1]
    except ValueError:
        return text[1:-1]
