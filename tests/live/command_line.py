"""Lands windows by this package's command line, in the test process: faster than by tasks of a real Airflow."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from airflow_audit_provider.cli.__main__ import main
from tests.live.live_airflow import LiveAirflow


def pull(
    live: LiveAirflow, destination: Path, start: datetime, end: datetime, *more: str, base_url: str | None = None
) -> None:
    """Lands the windows of a range that are not committed, from the fake beside an Airflow; a window is a day."""
    arguments = ["--account-id", live.account.account_id, "--start", start.isoformat(), "--end", end.isoformat()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOUDFLARE_API_TOKEN", live.account.token)
        patch.setenv("CLOUDFLARE_BASE_URL", base_url or str(live.account.base_url))
        assert main(["pull", str(destination), *arguments, *more, "--quiet"]) == 0
