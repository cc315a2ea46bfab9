"""The detect operator runs rules from a folder, and gives alerts to real notifiers and to an asset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.http.notifications.http import HttpNotifier
from airflow.providers.smtp.notifications.smtp import SmtpNotifier

from airflow_audit_provider.assets.audit_logs import audit_log_alert_alias, audit_log_alert_asset
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.archive.stitching import STITCHING_KEY, Stitching
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.operators.detect import CloudflareAuditLogsDetectOperator
from tests.operators.alert_receivers import MailServer, WebhookServer, serving
from tests.pipelines.detect.detecting import alerts, given
from tests.pipelines.detect.sigma_place import BACK, DELETED, HOSTILE, PURGED, SigmaPlace, action
from tests.pipelines.pull.privacy_rules import rule
from tests.pipelines.verify.dataset import DAY, DAY_1, PLAIN, commit, window

pytestmark = pytest.mark.integration


class Place(SigmaPlace):
    """A destination on which the operator runs."""

    def operator(self, **arguments: Any) -> CloudflareAuditLogsDetectOperator:
        """Returns the operator."""
        given_ = {"task_id": "detect", "destination": self.uri, "rules": str(self.rules), "run_back": BACK}
        return CloudflareAuditLogsDetectOperator(**{**given_, **arguments})

    def run(self, run_id: str = "one", **arguments: Any) -> dict[str, Any]:
        """Runs a task of the operator."""
        instance = SimpleNamespace(dag_id="d", task_id="detect", run_id=run_id, map_index=-1)
        return self.operator(**arguments).execute({"ti": instance})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A destination with one deleted zone, one purge and one login."""
    made = Place(tmp_path)
    made.land_three()
    return made


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A mail server behind ``smtp_default``."""
    server = MailServer()
    extra = {"disable_tls": True, "disable_ssl": True, "from_email": "audit@example.com", "retry_limit": 0}
    conn = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.server_address[1], "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(conn))
    with serving(server):
        yield server


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookServer]:
    """A web server behind ``http_default``."""
    server = WebhookServer()
    conn = {"conn_type": "http", "host": "http://127.0.0.1", "port": server.server_address[1]}
    monkeypatch.setenv("AIRFLOW_CONN_HTTP_DEFAULT", json.dumps(conn))
    with serving(server):
        yield server


def notifiers() -> list[Any]:
    """Returns a mail, a message in the form of Slack's incoming webhooks, and a webhook with values."""
    values = {
        "count": "{{ detections.alert_count }}",
        "ids": "{{ detections.alerts | map(attribute='alert_id') | join }}",
    }
    return [
        SmtpNotifier(to="team@example.com", subject="{{ detections.subject }}", html_content="{{ detections.html }}"),
        HttpNotifier(endpoint="services/T/B/x", json={"text": "{{ detections.slack }}"}),
        HttpNotifier(endpoint="alerts", json=values),
    ]


def test_operator_gives_alerts_to_mail_slack_and_webhook(
    place: Place, mail: MailServer, webhook: WebhookServer
) -> None:
    """Real notifiers deliver the alerts of the level once, and values of a record are neither markup nor mention."""
    summary = place.run(notifiers=notifiers())
    place.run("two", notifiers=notifiers())
    (message,), ((slack_path, slack), (path, values)) = mail.mails, webhook.posts
    assert (summary["alert_count"], summary["levels"]) == (2, {"high": 1, "low": 1})
    assert message["subject"] == "1 alert in the Cloudflare audit log: 1 high"
    body = message.get_body(("html",)).get_content()  # type: ignore[union-attr]  # the notifier writes HTML
    assert "Rule of zone_delete" in body
    assert "Ask the person." in body
    assert "<img" not in body
    assert slack_path == "/services/T/B/x"
    assert "Rule of zone_delete" in slack["text"]
    assert "<!channel>" not in slack["text"]
    assert (path, values["count"], len(values["ids"])) == ("/alerts", "1", 64)


def test_operator_with_a_broken_notifier_retries_it_alone(
    place: Place, mail: MailServer, webhook: WebhookServer
) -> None:
    """A notifier that fails fails the task; its retry detects nothing again and delivers what is missing."""
    mail.is_broken = True
    with pytest.raises(Exception, match="451") as caught:
        place.run(notifiers=notifiers())
    assert not isinstance(caught.value, AirflowFailException)
    assert (len(mail.mails), len(webhook.posts)) == (0, 2)
    mail.is_broken = False
    summary = place.run(notifiers=notifiers())
    assert (len(mail.mails), len(webhook.posts)) == (1, 2)
    assert summary["alert_count"] == 2
    assert given(place.store) == [(f"{DELETED}@{_version(place)}", "gone"), (given(place.store)[1][0], "purged")]


def _version(place: Place) -> str:
    return given(place.store)[0][0].partition("@")[2]


def test_operator_adds_one_event_for_a_run_with_alerts(place: Place) -> None:
    """The alias gets a small event with rules, levels, counts and ids; a run without alerts adds none."""
    added: list[tuple[Any, dict[str, Any]]] = []
    events = SimpleNamespace(add=lambda asset, extra: added.append((asset, extra)))
    alias = audit_log_alert_alias(place.uri)
    for number in range(2):
        instance = SimpleNamespace(dag_id="d", task_id="detect", run_id=str(number), map_index=-1)
        place.operator(outlets=[alias]).execute({"ti": instance, "outlet_events": {alias: events}})
    ((asset, extra),) = added
    assert asset == audit_log_alert_asset(place.uri)
    assert extra["rules"] == {DELETED: 1, PURGED: 1}
    assert len(extra["alert_ids"]) == 2
    assert len(json.dumps(extra)) < 1_000


def test_operator_retried_after_its_commit_still_adds_the_event(place: Place) -> None:
    """A task that is killed between its commit and its end adds the event in its next attempt."""
    alias = audit_log_alert_alias(place.uri)
    added: list[dict[str, Any]] = []
    events = SimpleNamespace(add=lambda _, extra: added.append(extra))
    instance = SimpleNamespace(dag_id="d", task_id="detect", run_id="one", map_index=-1)
    place.run()
    place.operator(outlets=[alias]).execute({"ti": instance, "outlet_events": {alias: events}})
    assert [one["alert_count"] for one in added] == [2]


def test_operator_dry_run_writes_nothing(place: Place) -> None:
    """A dry run returns how many alerts a day each rule would give, with examples, and changes no object."""
    before = {key: place.store.read(key) for key in place.store.list_keys("")}
    report = place.operator(dry_run=True).execute({})
    assert {key: place.store.read(key) for key in place.store.list_keys("")} == before
    assert (report["alert_count"], report["record_count"], report["alerts_per_day"]) == (2, 3, 4.0)
    assert [one["alert_count"] for one in report["rules"]] == [1, 1]
    assert report["rules"][0]["examples"][0]["record"]["actor_email"] == HOSTILE


_FORMS = [(schema, form) for schema in ("raw", "normalized", "ocsf") for form in ("jsonl", "parquet")]


@pytest.mark.parametrize(("schema", "file_format"), [*_FORMS, ("raw", "csv"), ("normalized", "csv")])
def test_operator_runs_on_every_landed_form(tmp_path: Path, schema: str, file_format: str) -> None:
    """The same records give the same alerts in every schema and file format."""
    place = Place(tmp_path)
    place.land(action(DAY_1, "gone", "zone_delete"), format_=part_format(file_format, None, schema))
    assert place.run()["rules"] == {DELETED: 1}


def test_operator_sees_pseudonyms_in_place_of_what_they_replace(place: Place, tmp_path: Path) -> None:
    """With a privacy rule, a rule on the action fires, one on an address does not, and no alert has an address."""
    other = tmp_path / "other"
    other.mkdir()
    private = Place(other)
    by_address = (place.rules / "zone_delete.yml").read_text().replace("action_type: zone_delete", "actor_email: ann@*")
    (private.rules / "address.yml").write_text(by_address.replace(DELETED, f"{DELETED[:-1]}9"))
    private.land(*rule().apply(ApiVersion.V1, [action(DAY_1, "gone", "zone_delete", "ann@example.com")]))
    assert private.run()["rules"] == {DELETED: 1}
    assert "ann@example.com" not in repr(alerts(private.store))


def test_operator_refuses_the_root_of_a_stitched_history(place: Place) -> None:
    """The root holds no window, so nothing runs, and the error says to give the folders of the versions."""
    place.store.put(STITCHING_KEY, Stitching("0" * 32, (), DAY_1, None).to_bytes())
    with pytest.raises(AirflowFailException, match="Give these folders, v1 and v2 below it"):
        place.run()
    assert given(place.store) == []


def test_operator_refuses_an_unknown_level() -> None:
    """A level that is none of Sigma's fails when the DAG is parsed."""
    with pytest.raises(ConfigurationError, match="notify_level"):
        CloudflareAuditLogsDetectOperator(task_id="d", destination="file:///x", notify_level="severe")


def test_operator_with_a_damaged_window_delivers_the_alerts_of_the_others(place: Place, webhook: WebhookServer) -> None:
    """A window that cannot be read fails the task after the notifiers have got the alerts of the other windows."""
    other = action(DAY_1 + DAY, "other", "zone_delete")
    commit(place.store, window(1), [other], format_=PLAIN)
    place.store.put(next(iter(place.store.list_keys("dt=2026-10-26/"))), b"damaged")
    notifier = HttpNotifier(endpoint="alerts", json={"text": "{{ detections.text }}"})
    with pytest.raises(AirflowFailException, match="differs from its manifest"):
        place.run(notifiers=[notifier])
    ((_, values),) = webhook.posts
    assert "record: other" in values["text"]


def test_operator_refuses_to_run_back_further_than_a_calendar() -> None:
    """A length that no calendar has fails when the DAG is parsed."""
    with pytest.raises(ConfigurationError, match="run_back"):
        CloudflareAuditLogsDetectOperator(task_id="d", destination="file:///x", run_back=timedelta(days=900_000))
