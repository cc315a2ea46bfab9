"""Compares landed records with the true ones: ids, counts and bytes.

Missing, duplicate, foreign and changed records are each a difference.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One difference in one record."""

    where: str
    what: str
    record_id: str

    def __str__(self) -> str:
        return f"{self.where}: record {self.record_id} is {self.what}"


def record_id(line: bytes) -> str:
    """Returns the id of a raw record, or the beginning of a line that is not one."""
    try:
        return str(json.loads(line)["id"])
    except (ValueError, KeyError, TypeError):
        return f"(not a record: {line[:60]!r})"


def compare_ids(where: str, landed: Iterable[str], true: Iterable[str]) -> Iterator[Difference]:
    """Yields every id that is missing, foreign or has another count than it should."""
    found, wanted = Counter(landed), Counter(true)
    for each in sorted(found.keys() | wanted.keys()):
        if not found[each]:
            yield Difference(where, "missing", each)
        elif not wanted[each]:
            yield Difference(where, "not Cloudflare's", each)
        elif found[each] != wanted[each]:
            yield Difference(where, f"present {found[each]} times, not {wanted[each]}", each)


def compare_lines(where: str, landed: Sequence[bytes], true: Sequence[bytes]) -> Iterator[Difference]:
    """Yields every difference of ids, then every record whose bytes differ from the true ones."""
    bytes_of = {record_id(line): line for line in true}
    found = [(record_id(line), line) for line in landed]
    yield from compare_ids(where, (each for each, _ in found), map(record_id, true))
    for each, line in found:
        if each in bytes_of and line != bytes_of[each]:
            yield Difference(where, f"changed at byte {_first_change(line, bytes_of[each])}", each)


def _first_change(left: bytes, right: bytes) -> int:
    pairs = zip(left, right, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
