"""Provides a PostgreSQL server for SQL that the pages show."""

from __future__ import annotations

from tests.pipelines.load.conftest import postgres

__all__ = ["postgres"]
