"""Notations of one IP address, found in any text: IPv4, IPv6, shortened, embedded, percent-encoded.

Invariant: a text that may be the address counts as the address, unless an adjacent digit makes it another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

# RFC 3986, section 2.1: percent-encoding. URLs inside URLs are encoded again: %253A.
_COLON = r"(?::|%(?:25)*3[aA])"
_DOT = r"(?:\.|%(?:25)*2[eE])"
_GROUPS = 8
_QUOTED = re.compile(rb"%(?:25)*([0-9A-Fa-f]{2})")
_WORD = re.compile(r"[0-9A-Fa-f:.]{2,}")
# The digits of an escape do not belong to the text after it: %20 is a space.
_ESCAPED = r"(?<=%[0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2})|(?<=%2525[0-9A-Fa-f]{2})"
_BEFORE_IPV4 = rf"(?:{_ESCAPED}|(?<!\d)(?<!\d\.)(?<!\d%2[eE]))"
_BEFORE_IPV6 = rf"(?:{_ESCAPED}|(?<![0-9A-Fa-f]))"
_AFTER_IPV4 = rf"(?!\d|{_DOT}\d)"
_AFTER_IPV6 = rf"(?![0-9A-Fa-f]|{_DOT}\d)"


@lru_cache(maxsize=4096)
def plain_address(text: str) -> str | None:
    """Returns an IP address in canonical notation, IPv4-mapped IPv6 as IPv4; None for any other text."""
    try:
        # RFC 4007, section 11: a zone id after a percent sign is not part of the address.
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def unquoted(text: str) -> str:
    """Returns text without URL escapes, also those that were encoded several times."""
    if "%" not in text:
        return text
    plain = _QUOTED.sub(lambda escape: bytes.fromhex(escape[1].decode()), text.encode("utf-8", "surrogatepass"))
    return plain.decode("utf-8", "surrogateescape")


def holds_address(text: str) -> bool:
    """Returns whether a text contains any IP address, plain or percent-encoded."""
    words = [word.strip(".") for word in _WORD.findall(unquoted(text))]
    return any(plain_address(text) for word in words for text in (word, word.strip(":"), *word.split(":")))


def replace_address(text: str, address: str, replacement: str) -> str:
    """Returns text with every notation of a canonical address replaced."""
    for pattern in _patterns(text, address):
        text = pattern.sub(replacement, text)
    return text


def _patterns(text: str, address: str) -> Iterator[re.Pattern[str]]:
    """Yields patterns that may match; compiling one takes milliseconds, so others are not compiled."""
    lowered = text.lower()
    if ":" in address:
        if all(group in lowered for group in constant_groups(address)) and _has_colons(lowered):
            yield _ipv6(address)
        return
    if "ffff:" in lowered or "ffff%" in lowered:
        yield _ipv6(f"::ffff:{address}")
    if address in text or "%2e" in lowered or "%252" in lowered:
        yield _ipv4(address)


def _has_colons(lowered: str) -> bool:
    return lowered.count(":") > 1 or "3a" in lowered


@lru_cache(maxsize=4096)
def constant_groups(address: str) -> tuple[str, ...]:
    """Returns the groups that every notation of an IPv6 address contains; the last two can be written as IPv4."""
    return tuple(group for group in _groups_of(address)[: _GROUPS - 2] if group != "0")


def _groups_of(address: str) -> list[str]:
    # Not from the text: from Python 3.13 on, `exploded` writes the end of an IPv4-mapped address as 192.0.2.1.
    packed = IPv6Address(address).packed
    return [f"{int.from_bytes(packed[index : index + 2]):x}" for index in range(0, len(packed), 2)]


@lru_cache(maxsize=256)
def _ipv4(address: str) -> re.Pattern[str]:
    return re.compile(_BEFORE_IPV4 + _dotted(address) + _AFTER_IPV4, re.ASCII)


def _dotted(address: str) -> str:
    return _DOT.join(address.split("."))


@lru_cache(maxsize=256)
def _ipv6(address: str) -> re.Pattern[str]:
    groups = _groups_of(address)
    spelled = [f"0{{0,{4 - len(group)}}}{group}" for group in groups]
    last = IPv4Address(int(IPv6Address(address)) & 0xFFFF_FFFF)
    tails = [(groups, spelled), (groups[:-2], [*spelled[:-2], _dotted(str(last))])]
    ways = [way for zeros, texts in tails for way in _ways(zeros, texts)]
    return re.compile(f"{_BEFORE_IPV6}(?:{'|'.join(ways)}){_AFTER_IPV6}", re.ASCII | re.IGNORECASE)


def _ways(groups: list[str], texts: list[str]) -> Iterator[str]:
    """Yields every notation of the groups: in full, and with each run of zeros left out."""
    yield _COLON.join(texts)
    for start in range(len(groups)):
        for end in range(start + 1, len(groups) + 1):
            if any(group != "0" for group in groups[start:end]):
                break
            yield _COLON.join(texts[:start]) + _COLON + _COLON + _COLON.join(texts[end:])
