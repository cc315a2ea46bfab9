"""A PostgreSQL for what the documents say runs there."""

from __future__ import annotations

from tests.pipelines.load.conftest import postgres

__all__ = ["postgres"]
