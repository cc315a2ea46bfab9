"""The official SDK once more, with all cores to itself: whether others beside it cost it anything.

Knows: the SDK's contender. Must not know: what runs beside it.
Its one rule: it is that contender, unchanged.
"""

from __future__ import annotations

from bench.contenders.sdk import pull

__all__ = ["pull"]
