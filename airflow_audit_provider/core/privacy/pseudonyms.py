"""Pseudonyms: replaces e-mail and IP addresses in a record's JSON by keyed digests.

Addresses are found under any key, in keys, in escapes, in JSON that is text inside JSON, and in URLs.

Invariant: one address has one pseudonym, however it is written. All bytes that are not part of one stay as they are.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.api.records import fields_of
from airflow_audit_provider.core.privacy.address_signs import Signs, literals_with_signs, signs_of
from airflow_audit_provider.core.privacy.ip_addresses import plain_address, replace_address, unquoted

MARK = "hmac:"
# 128 bits: the chance that two of a million addresses share a pseudonym is 1 in 10^26.
_DIGEST_HEX = 32
_DEEPEST = 8
# Names of the fields with a record's id and time. They are no addresses, and names are replaced like values.
_NAMES = frozenset({"id", "when", "action", "time"})
_LITERAL = r'("([^"\\]*(?:\\.[^"\\]*)*)")'
_NEXT_LITERAL = re.compile(rf'[^"]*+{_LITERAL}', re.DOTALL)
# An address contains a dot, a colon or a URL escape, and a JSON escape can represent each of them. Most literals have
# none of these; a Python call for each literal would dominate the time.
_HINTS = ".:%\\"
# Only single characters are possessive: Python before 3.11.5 has a bug with possessive groups after a failed repeat.
_NEXT_HINT = re.compile(rf'[^"]*+(?:"[^"{re.escape(_HINTS)}]*+"[^"]*+)*{_LITERAL}', re.DOTALL)
# RFC 3986, section 2.1: percent-encoding. URLs inside URLs are encoded again: %2540 is an at sign, too.
_PERCENT = r"%(?:25)*"
_HIGH_BYTE = r"[89A-Fa-f][0-9A-Fa-f]"
_AT = re.compile(rf"@|{_PERCENT}40|\\u0040")
_LOCAL_BACKWARDS = re.compile(r"[\w.!#$&'*+^~%-]+")
_LABEL_START, _LABEL = rf"(?:[^\W_]|{_PERCENT}{_HIGH_BYTE})", rf"(?:[\w-]|{_PERCENT}{_HIGH_BYTE})"
_DOT = rf"(?:\.|{_PERCENT}2[eE])"
_DOMAIN = re.compile(
    rf"(?:{_LABEL_START}{_LABEL}{{0,62}}{_DOT}){{1,126}}(?:xn--[\w-]{{1,59}}|(?:[^\W\d_]|{_PERCENT}{_HIGH_BYTE}){{2,63}})"
)
# Escapes that end an address: all except those of + - . _ and of letters beyond ASCII.
_URL_ESCAPE = re.compile(rf"%(?!(?:25)*(?:2[bBdDeE]|5[fF]|{_HIGH_BYTE}))(?:25)*[0-9A-Fa-f]{{2}}")
# Texts that JSON writes as they are, and that have no other case.
_PLAIN = re.compile(r"[a-z0-9@.:_+-]+", re.ASCII)
_FIRST_LETTER = re.compile(rf"\w|{_PERCENT}{_HIGH_BYTE}")


class _Actor(msgspec.Struct, gc=False):
    email: Any = None
    ip: Any = None
    ip_address: Any = None


class _Head(msgspec.Struct, gc=False):
    actor: _Actor | None = None


_HEAD = msgspec.json.Decoder(_Head)
_NO_ACTOR = _Actor()


class _Known(NamedTuple):
    """A record's actor: the IP address, and texts that are replaced only if a literal has nothing else.

    ``signs`` are what literals with something to replace contain; None if all literals have to be searched.
    ``literals`` are the usual notations of the texts as JSON, the same after a backslash, and what replaces them.
    """

    address: str | None
    whole: Mapping[str, str]
    signs: Signs | None = None
    literals: tuple[tuple[bytes, bytes, bytes], ...] = ()

    @property
    def is_hinted(self) -> bool:
        """Whether each of the actor's texts has a character that addresses contain."""
        return all(any(hint in text for hint in _HINTS) for text in self.whole)


class Pseudonyms:
    """Replaces addresses in records' JSON; ``key`` is secret, and each kind of address can be switched off.

    All e-mail addresses are replaced. Of IP addresses the actor's is replaced, anywhere in the record; others are
    configuration, such as the content of a DNS record.
    """

    def __init__(self, key: bytes, *, emails: bool, addresses: bool) -> None:
        self._key = key
        self._emails = emails
        self._addresses = addresses
        self._pseudonym = lru_cache(maxsize=8192)(self._digest)
        self._known_by_texts = lru_cache(maxsize=8192)(self._known_of)

    def of_email(self, text: str) -> str:
        """Returns the pseudonym of an e-mail address; ignores case and surrounding white space."""
        return self._pseudonym("email", text.strip().lower())

    def of_address(self, text: str) -> str:
        """Returns the pseudonym of an IP address in any notation, or of the text itself if it is no address."""
        return self._pseudonym("ip", plain_address(text) or text.strip().lower())

    def of_record(self, raw: bytes) -> str:
        """Returns the pseudonym of a record's whole text."""
        return MARK + hmac.digest(self._key, b"record\0" + raw, "sha256").hex()[:_DIGEST_HEX]

    def in_record(self, raw: bytes) -> bytes:
        """Returns a record's JSON with pseudonyms in place of addresses."""
        known = self._known(raw)
        if known.signs is None:
            return _encode(self._in_json(_decode(raw), known, 0))
        has_backslash = b"\\" in raw
        for literal, after_backslash, replacement in known.literals:
            # After a backslash, its first quote is inside of a longer literal.
            if not has_backslash or after_backslash not in raw:
                raw = raw.replace(literal, replacement)
        pieces: list[bytes] = []
        done = 0
        for start, end in literals_with_signs(raw, known.signs):
            pieces += [raw[done:start], self._in_raw_literal(raw[start:end], known)]
            done = end
        return b"".join([*pieces, raw[done:]]) if pieces else raw

    def in_text(self, text: str) -> str:
        """Returns a text outside of a record with pseudonyms in place of e-mail addresses; IP addresses stay."""
        return self._in_value(text, _Known(None, {}), 0)

    def _digest(self, kind: str, text: str) -> str:
        message = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
        return MARK + hmac.digest(self._key, message, "sha256").hex()[:_DIGEST_HEX]

    def _known(self, raw: bytes) -> _Known:
        actor, is_valid = _actor_of(raw)
        known = self._known_by_texts(_text(actor.email), _text(actor.ip), _text(actor.ip_address))
        # Signs are inside of string literals only in valid JSON.
        return known if is_valid else known._replace(signs=None)

    def _known_of(self, email: str | None, *addresses: str | None) -> _Known:
        whole: dict[str, str] = {}
        if self._emails and email and email.lower() not in _NAMES:
            whole[email.lower()] = self.of_email(email)
        address = None
        for text in addresses if self._addresses else ():
            if text and text.lower() not in _NAMES:
                address = plain_address(text) or address
                whole[text.lower()] = self.of_address(text)
        have_signs = all(
            (self._emails and "@" in text) or (address and plain_address(text) == address) for text in whole
        )
        signs = signs_of(address, has_emails=self._emails) if have_signs else None
        literals = tuple(_literals(text, whole[text]) for text in whole if _PLAIN.fullmatch(text))
        return _Known(address, whole, signs, literals)

    def _in_json(self, text: str, known: _Known, depth: int) -> str:
        """Replaces in the string literals of valid JSON, keys included."""
        following, pieces, done = _NEXT_HINT if known.is_hinted else _NEXT_LITERAL, [], 0
        # Not by ``sub``: each match has to begin where the last one ended, or it could begin inside a literal.
        while found := following.match(text, done):
            pieces += [text[done : found.start(1)], self._in_literal(found[1], found[2], known, depth)]
            done = found.end()
        return "".join([*pieces, text[done:]])

    def _in_raw_literal(self, raw: bytes, known: _Known) -> bytes:
        literal = _decode(raw)
        return _encode(self._in_literal(literal, literal[1:-1], known, 0))

    def _in_literal(self, literal: str, content: str, known: _Known, depth: int) -> str:
        is_plain = "\\" not in content
        value: str = content if is_plain else json.loads(literal, strict=False)
        replaced = self._in_value(value, known, depth)
        if replaced == value:
            return literal
        return f'"{replaced}"' if is_plain and "\\" not in replaced else json.dumps(replaced)

    def _in_value(self, text: str, known: _Known, depth: int) -> str:
        """Replaces in the value of a literal: JSON, text, or the address itself."""
        if itself := known.whole.get(text.strip().lower()):
            return itself
        if depth < _DEEPEST and _is_json(text):
            return self._in_json(text, known, depth + 1)
        if self._emails:
            text = _replace_emails(text, self.of_email)
        return text if known.address is None else replace_address(text, known.address, self.of_address(known.address))


def _literals(text: str, pseudonym: str) -> tuple[bytes, bytes, bytes]:
    literal = f'"{text}"'.encode()
    return literal, b"\\" + literal, f'"{pseudonym}"'.encode()


def _text(value: Any) -> str | None:
    """Returns a text without surrounding white space, None for another value and for an empty text."""
    return value.strip() or None if isinstance(value, str) else None


def _decode(raw: bytes) -> str:
    """Returns text; bytes that are no UTF-8 keep their value until ``_encode``."""
    return raw.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _actor_of(raw: bytes) -> tuple[_Actor, bool]:
    """Returns the actor, and whether the record is JSON whose string literals are known to be where they seem to be."""
    try:
        return _HEAD.decode(raw).actor or _NO_ACTOR, True
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The actor has another type, the record contains half a surrogate pair, or it is no JSON as a whole.
        actor = fields_of(raw).get("actor")
        names = _Actor.__struct_fields__
        return (_Actor(**{name: actor.get(name) for name in names}) if isinstance(actor, dict) else _NO_ACTOR), False


def _is_json(text: str) -> bool:
    """Returns whether a text is itself JSON: an object, a list or a string."""
    if text.lstrip(" \t\r\n")[:1] not in ("{", "[", '"'):
        return False
    try:
        msgspec.json.decode(text.encode("utf-8", "replace"), type=msgspec.Raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True


def _replace_emails(text: str, pseudonym: Callable[[str], str]) -> str:
    """Replaces every e-mail address, in linear time for any text."""
    pieces: list[str] = []
    done = floor = 0
    for at in _AT.finditer(text):
        domain = _DOMAIN.match(text, at.end())
        start = None if domain is None else _local_start(text, at.start(), max(done, floor))
        floor = at.end()
        if domain is None or start is None:
            continue
        address = f"{unquoted(text[start : at.start()])}@{unquoted(domain[0])}"
        pieces += [text[done:start], pseudonym(address)]
        done = domain.end()
    return text if not pieces else "".join([*pieces, text[done:]])


def _local_start(text: str, at: int, floor: int) -> int | None:
    """Returns where the part before an at sign starts, at or after ``floor``; None if there is none."""
    found = _LOCAL_BACKWARDS.match(text[floor:at][::-1])
    if found is None:
        return None
    local = _URL_ESCAPE.split(found[0][::-1])[-1]
    first = _FIRST_LETTER.search(local)
    return None if first is None else at - len(local) + first.start()
