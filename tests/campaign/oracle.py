"""Compares what landed with what the server truly holds, byte for byte, reading files without the provider's code."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.campaign.audit_records import SECOND_NS, Row
from tests.campaign.logs import Bounds, TrueLog

_EDGE_NS = 2 * SECOND_NS


class Difference(NamedTuple):
    """Records that did not land, that landed and should not have, and that landed more than once."""

    missing_count: int
    extra_count: int
    repeated_count: int

    @property
    def is_exact(self) -> bool:
        """Whether exactly the records of the window landed, each once."""
        return not any(self)

    def __str__(self) -> str:
        return f"{self.missing_count} missing, {self.extra_count} extra, {self.repeated_count} repeated"


def newest_manifest(folder: Path) -> dict[str, Any] | None:
    """Returns the manifest with the highest generation below a destination with one window; None if there is none."""
    manifests = [json.loads(path.read_bytes()) for path in sorted((folder / "_manifests").rglob("*.json"))]
    return max(manifests, key=lambda manifest: int(manifest["generation"]), default=None)


def landed_lines(folder: Path) -> list[bytes] | None:
    """Returns the records that the newest manifest names; None without one, ``ValueError`` for a damaged part."""
    manifest = newest_manifest(folder)
    if manifest is None:
        return None
    lines: list[bytes] = []
    for part in manifest["parts"]:
        content = (folder / part["key"]).read_bytes()
        if (len(content), hashlib.sha256(content).hexdigest()) != (part["size_bytes"], part["sha256"]):
            raise ValueError(f"{part['key']} differs from its manifest")
        text = gzip.decompress(content) if part["key"].endswith(".gz") else content
        lines += text.split(b"\n")[:-1]
    if len(lines) != manifest["record_count"]:
        raise ValueError(f"the manifest counts {manifest['record_count']} records, its parts have {len(lines)}")
    return lines


def difference(log: TrueLog, landed: list[bytes], optional: frozenset[int] = frozenset()) -> Difference:
    """Compares; rows in ``optional``, by number, may be there or not.

    A record without a time of its own may also land if nothing dated lies between it and the window.
    """
    bounds = log.bounds
    due = {row.raw for row in log.rows if row.at_ns in bounds and row.number not in optional}
    allowed = due | {row.raw for row in log.rows if row.number in optional and row.at_ns in bounds}
    allowed |= {row.raw for row in log.rows if not row.is_dated and _may_seem_inside(row, log.rows, bounds)}
    found = Counter(landed)
    return Difference(
        missing_count=len(due - found.keys()),
        extra_count=len(found.keys() - allowed),
        repeated_count=sum(count - 1 for count in found.values()),
    )


def _may_seem_inside(odd: Row, rows: tuple[Row, ...], bounds: Bounds) -> bool:
    if odd.at_ns < bounds.start_ns:
        return not any(row.is_dated and odd.at_ns <= row.at_ns < bounds.start_ns - _EDGE_NS for row in rows)
    return not any(row.is_dated and bounds.end_ns + _EDGE_NS <= row.at_ns <= odd.at_ns for row in rows)
