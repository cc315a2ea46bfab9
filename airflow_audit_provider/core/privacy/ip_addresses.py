"""The spellings of one IP address, found in any text.

Knows: IPv4 and IPv6 as text, shortened, embedded, and how URLs escape. Must not know: records, JSON, pseudonyms.
Its one rule: what may be the address is taken for it, whatever stands beside it but a digit that makes it another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

# URLs escape a colon, and URLs inside URLs escape that again: %253A.
_COLON = r"(?::|%(?:25)*3[aA])"
_DOT = r"(?:\.|%(?:25)*2[eE])"
_GROUPS = 8
_QUOTED = re.compile(rb"%(?:25)*([0-9A-Fa-f]{2})")
_WORD = re.compile(r"[0-9A-Fa-f:.]{2,}")
# The digits of an escape are no part of what follows it: %20 is a space.
_ESCAPED = r"(?<=%[0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2})|(?<=%2525[0-9A-Fa-f]{2})"
_BEFORE_IPV4 = rf"(?:{_ESCAPED}|(?<!\d)(?<!\d\.)(?<!\d%2[eE]))"
_BEFORE_IPV6 = rf"(?:{_ESCAPED}|(?<![0-9A-Fa-f]))"
_AFTER_IPV4 = rf"(?!\d|{_DOT}\d)"
_AFTER_IPV6 = rf"(?![0-9A-Fa-f]|{_DOT}\d)"


@lru_cache(maxsize=4096)
def plain_address(text: str) -> str | None:
    """Return an IP address in its one plain spelling; IPv4 in IPv6 is IPv4; None for anything else."""
    try:
        # What an interface is called behind a percent sign is no part of the address.
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def unquoted(text: str) -> str:
    """Return text without URL escapes, however often they were escaped again."""
    if "%" not in text:
        return text
    plain = _QUOTED.sub(lambda escape: bytes.fromhex(escape[1].decode()), text.encode("utf-8", "surrogatepass"))
    return plain.decode("utf-8", "surrogateescape")


def holds_address(text: str) -> bool:
    """Say whether any IP address stands in a text, plain or in URL escapes."""
    words = [word.strip(".") for word in _WORD.findall(unquoted(text))]
    return any(plain_address(text) for word in words for text in (word, word.strip(":"), *word.split(":")))


def replace_address(text: str, address: str, replacement: str) -> str:
    """Return text with every spelling of a plain address replaced."""
    for pattern in _patterns(text, address):
        text = pattern.sub(replacement, text)
    return text


def _patterns(text: str, address: str) -> Iterator[re.Pattern[str]]:
    """Yield what to look for; making a pattern costs milliseconds, so one that cannot be found is not made."""
    lowered = text.lower()
    if ":" in address:
        if all(group in lowered for group in _needed(address)) and _has_colons(lowered):
            yield _ipv6(address)
        return
    if "ffff:" in lowered or "ffff%" in lowered:
        yield _ipv6(f"::ffff:{address}")
    if address in text or "%2e" in lowered or "%252" in lowered:
        yield _ipv4(address)


def _has_colons(lowered: str) -> bool:
    return lowered.count(":") > 1 or "3a" in lowered


@lru_cache(maxsize=4096)
def _needed(address: str) -> tuple[str, ...]:
    """Return the groups that stand in every spelling; the last two may be spelled as IPv4."""
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
    """Yield every way to write the texts of groups: in full, and with each run of zeros left out."""
    yield _COLON.join(texts)
    for start in range(len(groups)):
        for end in range(start + 1, len(groups) + 1):
            if any(group != "0" for group in groups[start:end]):
                break
            yield _COLON.join(texts[:start]) + _COLON + _COLON + _COLON.join(texts[end:])
