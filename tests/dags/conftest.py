"""Provides an Airflow without a home, and a fake Cloudflare behind its connection."""

from __future__ import annotations

from tests.airflow_fixtures import servers, task_setup, trigger_setup

__all__ = ["servers", "task_setup", "trigger_setup"]
