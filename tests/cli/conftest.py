"""Fixtures of these tests: a fake Cloudflare behind a connection, for landings that a command continues."""

from __future__ import annotations

from tests.airflow_fixtures import task_setup

__all__ = ["task_setup"]
