"""What lies in a destination after the backfill, read as a stranger would: manifests first, then parts.

Knows: the landed layout and the manifest's fields.
Must not know: the package's own classes; a demo that read with the writer's code would prove less.
Its one rule: only what a manifest lists is landed; every part is read whole and its digest taken.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


@dataclass(frozen=True)
class LandedPart:
    """One data object as its manifest describes it; path is absolute."""

    path: Path
    digest: str
    record_count: int


@dataclass(frozen=True)
class LandedWindow:
    """One committed window: its newest manifest and its parts; bounds are RFC 3339 text in UTC."""

    file_format: str
    start: str
    end: str
    record_count: int
    digest: str
    parts: tuple[LandedPart, ...]
    generation: int = 1

    @property
    def day(self) -> str:
        """The window's first UTC day, YYYY-MM-DD."""
        return self.start[:10]

    @property
    def part_count(self) -> int:
        """How many objects the window has; an empty one has none."""
        return len(self.parts)

    @property
    def size_bytes(self) -> int:
        """The size of the parts that are there."""
        return sum(part.path.stat().st_size for part in self.parts if part.path.is_file())


def landed_windows(destination: Path) -> list[LandedWindow]:
    """Every committed window below a destination, oldest first; of several generations the newest."""
    newest: dict[tuple[str, str], LandedWindow] = {}
    for path in sorted((destination / "_manifests").rglob("*.json")):
        manifest = json.loads(path.read_bytes())
        window = _window(destination, manifest)
        known = newest.setdefault((window.start, window.end), window)
        if window.generation > known.generation:
            newest[window.start, window.end] = window
    return [newest[bounds] for bounds in sorted(newest)]


def _window(destination: Path, manifest: Mapping[str, Any]) -> LandedWindow:
    parts = tuple(
        LandedPart(destination / part["key"], part["sha256"], part["record_count"]) for part in manifest["parts"]
    )
    bounds, counts = manifest["window"], manifest["record_count"]
    digest, generation = manifest["records_sha256"], manifest["generation"]
    return LandedWindow(destination.name, bounds["start"], bounds["end"], counts, digest, parts, generation)


def broken_promises(window: LandedWindow) -> Iterator[str]:
    """Yield a sentence for each thing that is not as the window's own manifest says."""
    where = f"{window.file_format} {window.day}"
    broken = [f"{where}: {part.path.name} {what}" for part in window.parts for what in _broken_part(part)]
    yield from broken
    if sum(part.record_count for part in window.parts) != window.record_count:
        yield f"{where}: the parts' counts do not sum to the manifest's"
    # A later generation's digest is over the records it added, which its parts alone do not tell.
    if not broken and window.generation == 1 and _records_digest(window) != window.digest:
        yield f"{where}: the records, in file order, have another digest than the manifest's"


def _broken_part(part: LandedPart) -> Iterator[str]:
    if not part.path.is_file():
        yield "is in the manifest and not there"
    elif hashlib.sha256(part.path.read_bytes()).hexdigest() != part.digest:
        yield "has other bytes than its manifest's digest"
    elif (found_count := len(part_lines(part))) != part.record_count:
        yield f"holds {found_count} records, its manifest says {part.record_count}"


def _records_digest(window: LandedWindow) -> str:
    total = hashlib.sha256()
    for part in window.parts:
        total.update(b"".join(line + b"\n" for line in part_lines(part)))
    return total.hexdigest()


def part_lines(part: LandedPart) -> list[bytes]:
    """The raw records of a part of either format, in file order, without line ends."""
    content = part.path.read_bytes()
    if part.path.suffix == ".parquet":
        column = pq.read_table(io.BytesIO(content), columns=["raw"])["raw"]
        return [str(text).encode() for text in column.to_pylist()]
    lines = gzip.decompress(content)
    return lines.removesuffix(b"\n").split(b"\n") if lines else []


def tree_digest(folder: Path) -> str:
    """One digest over the names and bytes of all files below a folder that a reader may look at."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "_staging" not in path.parts):
        total.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return total.hexdigest()
