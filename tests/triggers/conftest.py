"""Fixtures of these tests: an Airflow without a home, and a fake Cloudflare behind its connection."""

from __future__ import annotations

from tests.airflow_fixtures import task_setup, trigger_setup

__all__ = ["task_setup", "trigger_setup"]
