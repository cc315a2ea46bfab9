"""Names of parts: generation, number and digest, behind the folder or beginning that a layout gives them.

::

    part-0001-00000-3f2a9c1d8b7e6f50.jsonl.gz
         │    │     └ the first 16 hexadecimal digits of the SHA-256 of its bytes
         │    └ its number in the generation
         └ the generation that it was published for

In the ordinary layout, the folder of the window is before it; in Security Lake, where windows share folders, the window
and the stream are the beginning of the object's name.

Invariant: a name is a function of the part's place and bytes, so the same part always has the same name.
"""

from __future__ import annotations

import re

# Anyone who can write to the store can name a part in a manifest, so nothing in a key may lead to another folder. RFC
# 8785 has no integer above 2**53, so a number has at most 15 digits.
_PART = re.compile(r"part-(\d{4,15})-\d{5,15}-([0-9a-f]{16})(?:\.[A-Za-z0-9]+)+", re.ASCII)


def part_name(generation: int, index: int, sha256: str, extension: str) -> str:
    """Returns the name of a part."""
    return f"part-{generation:04}-{index:05}-{sha256[:16]}.{extension}"


def part_generation_in(beginning: str, key: str) -> int | None:
    """Returns the generation of a part by its key, None if it does not begin so; see ``object_keys.WindowKeys``."""
    match = _PART.fullmatch(key, len(beginning)) if key.startswith(beginning) else None
    return int(match[1]) if match else None


def part_stem(key: str) -> str:
    """Returns the name of a part without what the layout puts before it, and without its endings."""
    name = key.rpartition("/")[2]
    return name[max(name.find("part-"), 0) :].partition(".")[0]


def part_digest(key: str) -> str | None:
    """Returns the first 16 hexadecimal digits of a part's SHA-256 by its key, None for any other key."""
    name = key.rpartition("/")[2]
    # In Security Lake, the window and the stream precede it.
    match = _PART.fullmatch(name, max(name.find("part-"), 0))
    return match[2] if match else None
