"""Hooks of the documentation site: expand patterns in the navigation, and refuse what a page would load from elsewhere.

An entry such as ``adr/0*.md`` stands for every matching page that the navigation does not name elsewhere, so a new
decision needs no change in ``mkdocs.yml``, and a page that is generated later appears once it exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What a browser fetches by itself: not links to follow.
LOADED = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon|modulepreload))[^>]*\bhref=[\"']?((?:https?:)?//[^\"'\s>]+)"
)


def on_config(config: Any) -> Any:
    """Replaces the patterns by pages; called by MkDocs."""
    named = {page for page in _pages(config.nav) if "*" not in page}
    config.nav = expanded(config.nav, Path(config.docs_dir), named)
    return config


def on_post_build(config: Any) -> None:
    """Fails the build if a page needs a network; called by MkDocs."""
    found = {
        f"{path.relative_to(config.site_dir)} loads {url}"
        for path in sorted(Path(config.site_dir).rglob("*.html"))
        for url in loaded_from_elsewhere(path.read_text(encoding="utf-8"))
    }
    if found:
        raise SystemExit("The site must work without a network:\n" + "\n".join(sorted(found)))


def loaded_from_elsewhere(page: str) -> list[str]:
    """Returns the addresses on other hosts that a browser fetches to show the page."""
    return [address for pair in LOADED.findall(page) for address in pair if address]


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
