"""Draws the layers of the package, from its import graph, as an SVG.

``python -m tools.layer_picture`` writes ``docs/pictures/layers.svg``. A module is one row above the highest module
it imports. An arrow that follows from two others is left out, so the picture shows the order of layers, not every
import.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

import grimp

PROJECT = Path(__file__).resolve().parent.parent
PICTURE = PROJECT / "docs" / "pictures" / "layers.svg"
PACKAGE = "airflow_audit_provider"
CELL_WIDTH, CELL_HEIGHT = 150, 84
BOX_WIDTH, BOX_HEIGHT = 128, 36
COLORS = {"airflow": "#f9e2cf", "private": "#fff2cc", "work": "#d9ead3", "core": "#cfe2f3"}
Graph = Mapping[str, frozenset[str]]


def import_graph(package: str = PACKAGE) -> dict[str, frozenset[str]]:
    """Returns which modules on the package's top level import which."""
    graph = grimp.build_graph(package)
    children = graph.find_children(package)
    arrows = {
        child: frozenset(
            other
            for other in children - {child}
            if graph.direct_import_exists(importer=child, imported=other, as_packages=True)
        )
        for child in children
    }
    return {_short(child): frozenset(map(_short, others)) for child, others in arrows.items()}


def rows_of(graph: Graph) -> list[list[str]]:
    """Returns the modules by row, the lowest row first."""
    heights: dict[str, int] = {}

    def height(name: str) -> int:
        if name not in heights:
            heights[name] = 1 + max((height(other) for other in graph[name]), default=-1)
        return heights[name]

    top = max((height(name) for name in graph), default=-1)
    return [sorted(name for name in graph if heights[name] == row) for row in range(top + 1)]


def reduced(graph: Graph) -> list[tuple[str, str]]:
    """Returns the arrows that do not follow from others."""
    reach: dict[str, frozenset[str]] = {}

    def below(name: str) -> frozenset[str]:
        if name not in reach:
            reach[name] = graph[name].union(*(below(other) for other in graph[name]))
        return reach[name]

    return sorted(
        (name, other) for name in graph for other in graph[name] if not any(other in below(via) for via in graph[name])
    )


def picture(graph: Graph) -> str:
    """Returns the SVG."""
    rows = rows_of(graph)
    columns = max((len(row) for row in rows), default=0)
    width, height = columns * CELL_WIDTH, len(rows) * CELL_HEIGHT
    centers = {
        name: (width / 2 + (place - (len(row) - 1) / 2) * CELL_WIDTH, height - (number + 0.5) * CELL_HEIGHT)
        for number, row in enumerate(rows)
        for place, name in enumerate(row)
    }
    lines = [_arrow(*centers[upper], *centers[lower]) for upper, lower in reduced(graph)]
    boxes = [_box(name, *centers[name], _color(name)) for row in rows for name in row]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="sans-serif" font-size="15">\n<title>Layers of the package, from the import graph</title>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#888"/></marker></defs>'
    )
    return "\n".join([head, *lines, *boxes, "</svg>", ""])


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    start, end = y1 + BOX_HEIGHT / 2, y2 - BOX_HEIGHT / 2
    middle = (start + end) / 2
    curve = f"M{x1:g} {start:g}C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {end:g}"
    return f'<path d="{curve}" fill="none" stroke="#888" marker-end="url(#tip)"/>'


def _box(name: str, x: float, y: float, color: str) -> str:
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
        f'fill="{color}" stroke="#555"/>'
        f'<text x="{x:g}" y="{y + 5:g}" text-anchor="middle" fill="#111">{escape(_label(name))}</text>'
    )


def _label(name: str) -> str:
    return name.replace("get_provider_info", "provider_info")


def _color(name: str) -> str:
    kinds: dict[str, Iterable[str]] = {
        "core": ("core", "exceptions", "get_provider_info"),
        "work": ("pipelines", "adapters", "formats"),
        "private": ("_airflow",),
    }
    return COLORS[next((kind for kind, names in kinds.items() if name in names), "airflow")]


def _short(name: str) -> str:
    return name.removeprefix(f"{PACKAGE}.")


def main() -> int:
    """Writes the picture."""
    PICTURE.write_text(picture(import_graph()), encoding="utf-8")
    print(f"Wrote {PICTURE.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
