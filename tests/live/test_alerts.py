"""The shipped DAGs on a real Airflow: a landed day starts the detections, whose alert is an asset event and a message.

They run in the Airflow of the test environment, which has the extra `detections` and the provider of the notifier.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import http_json
from harness.cloudflare_account import CloudflareAccount
from tests.live.airflow_home import Home
from tests.live.calendar_days import days_ago
from tests.live.live_airflow import FAKE_OPTIONS, WITHIN_SECONDS, LiveAirflow, start_airflow
from tests.live.versions.versions import PROJECT
from tests.operators.alert_receivers import WebhookServer, serving

# An Airflow of its own takes a minute to start.
pytestmark = pytest.mark.nightly
LANDING, DETECTING = "cloudflare_audit_daily", "cloudflare_audit_detect"
DAG_FILES = [PROJECT / "dags" / f"{name}.py" for name in (LANDING, DETECTING)]
RULES = PROJECT / "airflow_audit_provider" / "detections" / "rules"
RULE = "two_factor_disabled.yml"
# The days that the scheduler lands when the DAG is unpaused.
DAYS = (days_ago(2), days_ago(1))


class Scene(NamedTuple):
    """A running Airflow with both DAGs, and the server of the webhook."""

    live: LiveAirflow
    webhook: WebhookServer

    @property
    def destination(self) -> str:
        """The URI of the audit logs."""
        return (self.live.home.landed / "alerts").as_uri()

    def suspicious_action(self, record_id: str) -> None:
        """Adds a switched-off second factor to yesterday's log: the first run of the rules goes back one day."""
        record = {
            "id": record_id,
            "when": (DAYS[-1] + timedelta(hours=9)).isoformat(),
            "action": {"type": "2FA_disabled", "result": True},
            "actor": {"email": "mallory@example.com", "type": "user"},
            "resource": {"type": "user"},
        }
        control_url = str(self.live.account.truth_url).removesuffix("truth")
        http_json.fetch(f"{control_url}records", method="POST", body=record)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Airflow with the daily landing and the detections, which send a message to a server on loopback."""
    folder, webhook = tmp_path_factory.mktemp("alerts"), WebhookServer()
    rules = folder / "rules"
    rules.mkdir()
    shutil.copy(RULES / RULE, rules)
    home = Home(folder / "home", Path(sys.prefix))

    def settings(home: Home, account: CloudflareAccount) -> Mapping[str, str]:
        hook = {"conn_type": "http", "host": "http://127.0.0.1", "port": webhook.server_address[1]}
        return {
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AUDIT_DESTINATION": (home.landed / "alerts").as_uri(),
            "AUDIT_START_DATE": DAYS[0].date().isoformat(),
            "AUDIT_RULES": str(rules),
            "AUDIT_ALERT_WEBHOOK": "alerts",
            "AIRFLOW_CONN_ALERTS": json.dumps(hook),
        }

    started = start_airflow(
        home, version("apache-airflow"), dags=DAG_FILES, fake_options=FAKE_OPTIONS, settings=settings
    )
    with serving(webhook), started as live:
        yield Scene(live, webhook)


def test_landed_day_gives_an_alert_as_event_and_message(scene: Scene) -> None:
    """The events of landed days start the detections, whose alert is one asset event and one message to the webhook."""
    live = scene.live
    scene.suspicious_action("2fa-off")
    live.unpause(DETECTING, LANDING)
    live.instance.wait(lambda: bool(scene.webhook.posts), WITHIN_SECONDS, "the message")
    live.await_runs(LANDING, len(DAYS))
    runs = live.await_runs(DETECTING)
    assert {(run["run_type"], run["state"]) for run in runs} == {("asset_triggered", "success")}
    ((_, message),) = scene.webhook.posts
    assert all(one in message["text"] for one in ("1 alert", "mallory@example.com", "2FA_disabled"))
    (event,) = live.events(f"{scene.destination}/_detections")
    assert (event["extra"]["alert_count"], event["source_dag_id"]) == (1, DETECTING)
    results = [live.xcom(DETECTING, run["dag_run_id"], "detect") for run in runs]
    assert [one["alert_ids"] for one in results if one["alert_count"]] == [event["extra"]["alert_ids"]]
