"""Official SDK with nothing beside it: shows whether sharing the machine makes it slower.

Invariant: the same code as the ``sdk`` contender.
"""

from __future__ import annotations

from bench.contenders.sdk import pull

__all__ = ["pull"]
