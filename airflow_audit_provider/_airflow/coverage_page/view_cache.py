"""Keeps what was computed from a reading, so that each request for a page with many windows does not compute it again.

Invariant: a view is that of the same reading in the same minute, it is computed once however many requests come at the
same time, and the number of views that are kept has a bound.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

# The page of a dataset has about 300 kB, and that of a day less.
_MOST_KEPT = 64
_View = TypeVar("_View")


@dataclass(slots=True)
class _Kept:
    """A view; ``source`` is what it was computed from, which is much larger and is not kept for it."""

    source: weakref.ref[Any]
    minute_at: datetime
    lock: threading.Lock = field(default_factory=threading.Lock)
    view: Any = None


class ViewCache:
    """Views by name, the most recent ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()

    def get(self, name: tuple[str, ...], source: object, now: datetime, compute: Callable[[datetime], _View]) -> _View:
        """Returns the view of a source in the present minute; ``compute`` gets the start of that minute."""
        minute_at = now.replace(second=0, microsecond=0)
        with self._lock:
            kept = self._kept.get(name)
            if kept is None or kept.source() is not source or kept.minute_at != minute_at:
                kept = self._kept[name] = _Kept(weakref.ref(source), minute_at)
            self._kept.move_to_end(name)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        with kept.lock:
            if kept.view is None:
                kept.view = compute(minute_at)
        view: _View = kept.view
        return view
