"""Every landed record against what is true: byte for byte where the format keeps bytes, by id where it does not.

Knows: what a difference between two lists of records is, and how to say it.
Must not know: files, servers, windows of time.
Its one rule: nothing is forgiven; missing, doubled, foreign and changed records are each a difference.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One disagreement about one record, or about one window's count."""

    where: str
    what: str
    record_id: str

    def __str__(self) -> str:
        return f"{self.where}: record {self.record_id} is {self.what}"


def record_id(line: bytes) -> str:
    """The id in one raw record; a line that is no record gives its beginning, so that it can still be named."""
    try:
        return str(json.loads(line)["id"])
    except (ValueError, KeyError, TypeError):
        return f"(not a record: {line[:60]!r})"


def compare_ids(where: str, landed: Iterable[str], true: Iterable[str]) -> Iterator[Difference]:
    """Yield every id that is missing, foreign or there more often than it should be."""
    found, wanted = Counter(landed), Counter(true)
    for each in sorted(found.keys() | wanted.keys()):
        if not found[each]:
            yield Difference(where, "missing", each)
        elif not wanted[each]:
            yield Difference(where, "not Cloudflare's", each)
        elif found[each] != wanted[each]:
            yield Difference(where, f"there {found[each]} times, not {wanted[each]}", each)


def compare_lines(where: str, landed: Sequence[bytes], true: Sequence[bytes]) -> Iterator[Difference]:
    """Yield every difference of ids, then every record whose bytes are not the true ones."""
    bytes_of = {record_id(line): line for line in true}
    found = [(record_id(line), line) for line in landed]
    yield from compare_ids(where, (each for each, _ in found), map(record_id, true))
    for each, line in found:
        if each in bytes_of and line != bytes_of[each]:
            yield Difference(where, f"changed at byte {_first_change(line, bytes_of[each])}", each)


def _first_change(left: bytes, right: bytes) -> int:
    pairs = zip(left, right, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
