"""Finds the string literals of a record that may contain an address to replace, without decoding the others.

A sign is a short text that is part of every notation of an address, also in JSON that is text inside JSON. Escapes of
such characters are signs, too. Most literals have no sign, and the whole record is searched for signs at once.

Invariant: a literal without a sign has neither an e-mail address nor the actor's IP address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from airflow_audit_provider.core.privacy.ip_addresses import constant_groups

# JSON escapes of the characters that signs and these escapes consist of: % . : @ \ u, digits, and a to f.
_ESCAPE = rb"\\u00(?:2[5eE]|3[0-9aA]|4[0-6]|5[cC]|6[1-6]|75)"
# An at sign or the dot of an IPv4 address as URL escape, also encoded several times: %40, %2540, %2E, %252E.
_ESCAPED = re.compile(rb"%(?:40|2[5eE])|" + _ESCAPE)
_LITERAL = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BACKSLASH = ord("\\")


class Signs(NamedTuple):
    """Lower-case texts; each notation of an address contains one of them, the last ones only beside a URL escape."""

    plain: tuple[bytes, ...]
    escaped: tuple[bytes, ...] = ()


def signs_of(address: str | None, *, has_emails: bool) -> Signs | None:
    """Returns the signs of a canonical IP address, and of e-mail addresses; None for one without, such as ``::17``."""
    plain = (b"@",) if has_emails else ()
    if address is None:
        return Signs(plain)
    if ":" not in address:
        # RFC 4291, section 2.5.5.2: as IPv6 it is ::ffff:192.0.2.1, or ::ffff:c000:201.
        return Signs((*plain, address.encode(), b"ffff:"), (b"ffff%",))
    group = max(constant_groups(address), key=len, default="").encode()
    # A colon follows each of these groups, maybe as a URL escape.
    return Signs((*plain, group + b":"), (group + b"%",)) if group else None


def literals_with_signs(raw: bytes, signs: Signs) -> Iterator[tuple[int, int]]:
    """Yields start and end of each string literal of valid JSON that has a sign, quotes included, in their order."""
    done = 0
    for spot in _spots(raw, signs):
        if spot < done:
            continue
        start = raw.rfind(b'"', done, spot)
        # A sign is inside a literal, where every quote follows a backslash; the literal's own first quote never does.
        while start > 0 and raw[start - 1] == _BACKSLASH:
            start = raw.rfind(b'"', done, start)
        if start >= 0 and (found := _LITERAL.match(raw, start)):
            done = found.end()
            yield start, done


def _spots(raw: bytes, signs: Signs) -> list[int]:
    """Returns the places of all signs, sorted."""
    has_percent = b"%" in raw
    lowered = raw.lower()
    spots = []
    for sign in signs.plain + signs.escaped if has_percent else signs.plain:
        spots += _places(lowered, sign)
    # Nothing else needs a search by pattern, which takes longer than all other searches.
    if has_percent:
        spots += [spot for spot in _places(raw, b"%") if _ESCAPED.match(raw, spot)]
    if b"\\" in raw:
        spots += [spot for spot in _places(raw, b"\\u00") if _ESCAPED.match(raw, spot)]
    return sorted(spots)


def _places(text: bytes, part: bytes) -> list[int]:
    """Returns where a part is in a text."""
    places = []
    spot = text.find(part)
    while spot >= 0:
        places.append(spot)
        spot = text.find(part, spot + len(part))
    return places
