"""A report is written beside the data after each seal, in every version of Airflow."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.live.calendar_days import days_ago
from tests.live.live_airflow import LiveAirflow

pytestmark = [pytest.mark.live, pytest.mark.nightly]


def test_report_follows_the_seal_of_a_landed_day(live: LiveAirflow) -> None:
    """The file has the digest and the size in the XCom, and the newest seal and its verification in its text."""
    live.unpause("reported")
    start = days_ago(4)
    conf = {"start": start.isoformat(), "end": (start + timedelta(days=1)).isoformat()}
    run_id = live.trigger("reported", conf=conf)
    assert live.await_run("reported", run_id) == "success", live.tasks("reported", run_id)
    found, sealed = (live.xcom("reported", run_id, task) for task in ("report", "seal"))
    content = Path(urlsplit(found["report_uri"]).path).read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (found["sha256"], found["size_bytes"])
    assert found["report_uri"].startswith(f"{(live.home.landed / 'reported').as_uri()}/_reports/")
    page = content.decode()
    assert sealed["newest_seal_sha256"] in page
    assert "A seal names the newest generation of 1 of 1 windows." in page
    assert "Records of verifications name the newest generation of 1 of 1 windows" in page
