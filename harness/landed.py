"""Reads what lies in a destination by its manifests and parts, without the package's own reader.

Reading with the writer's code would prove less.

Invariant: only what a manifest lists counts as landed; every part is read whole and its digest computed.
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
    """A part as its manifest describes it; the path is absolute."""

    path: Path
    digest: str
    record_count: int


@dataclass(frozen=True)
class LandedWindow:
    """A committed window by its newest manifest; bounds are RFC 3339 texts in UTC."""

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
        """The number of parts; an empty window has none."""
        return len(self.parts)

    @property
    def size_bytes(self) -> int:
        """The size of the parts that exist."""
        return sum(part.path.stat().st_size for part in self.parts if part.path.is_file())


def landed_windows(destination: Path) -> list[LandedWindow]:
    """Returns every committed window of a destination, oldest first, in its newest generation."""
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


def manifest_differences(window: LandedWindow) -> Iterator[str]:
    """Yields a sentence for each difference between a window's parts and its manifest."""
    where = f"{window.file_format} {window.day}"
    broken = [f"{where}: {part.path.name} {what}" for part in window.parts for what in _broken_part(part)]
    yield from broken
    if sum(part.record_count for part in window.parts) != window.record_count:
        yield f"{where}: the record counts of the parts do not add up to the manifest's"
    # The digest of a later generation covers the records it added, which the parts alone do not show.
    if not broken and window.generation == 1 and _records_digest(window) != window.digest:
        yield f"{where}: the records, in file order, do not have the digest the manifest states"


def _broken_part(part: LandedPart) -> Iterator[str]:
    if not part.path.is_file():
        yield "is in the manifest but does not exist"
    elif hashlib.sha256(part.path.read_bytes()).hexdigest() != part.digest:
        yield "does not have the SHA-256 digest its manifest states"
    elif (found_count := len(part_lines(part))) != part.record_count:
        yield f"holds {found_count} records, its manifest states {part.record_count}"


def _records_digest(window: LandedWindow) -> str:
    total = hashlib.sha256()
    for part in window.parts:
        total.update(b"".join(line + b"\n" for line in part_lines(part)))
    return total.hexdigest()


def part_lines(part: LandedPart) -> list[bytes]:
    """Returns the raw records of a JSON Lines or Parquet part, in file order, without line ends."""
    content = part.path.read_bytes()
    if part.path.suffix == ".parquet":
        column = pq.read_table(io.BytesIO(content), columns=["raw"])["raw"]
        return [str(text).encode() for text in column.to_pylist()]
    lines = gzip.decompress(content)
    return lines.removesuffix(b"\n").split(b"\n") if lines else []


def tree_digest(folder: Path) -> str:
    """Returns one digest over the names and bytes of all files below a folder, staging excluded."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "_staging" not in path.parts):
        total.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return total.hexdigest()
