"""Hook of the documentation site: expands patterns in the navigation.

An entry such as ``adr/0*.md`` stands for every matching page that the navigation does not name elsewhere, so a new
decision needs no change in ``mkdocs.yml``, and a page that is generated later appears once it exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Replaces the patterns by pages; called by MkDocs."""
    named = {page for page in _pages(config.nav) if "*" not in page}
    config.nav = expanded(config.nav, Path(config.docs_dir), named)
    return config


def expanded(nav: list[Any], docs: Path, named: set[str]) -> list[Any]:
    """Returns the navigation with each pattern replaced by the matching pages that ``named`` does not have."""
    entries: list[Any] = []
    for entry in nav:
        if isinstance(entry, str) and "*" in entry:
            pages = sorted(path.relative_to(docs).as_posix() for path in docs.glob(entry))
            entries += [page for page in pages if page not in named]
        elif isinstance(entry, dict):
            entries.append({title: _below(below, docs, named) for title, below in entry.items()})
        else:
            entries.append(entry)
    return entries


def _below(below: Any, docs: Path, named: set[str]) -> Any:
    return expanded(below, docs, named) if isinstance(below, list) else below


def _pages(nav: Any) -> Iterator[str]:
    """Yields the pages and patterns that a navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from _pages(entry)
