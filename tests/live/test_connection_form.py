"""A connection is created and tested in Airflow's pages, and a DAG lands a day with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from airflow_audit_provider.testing.settings import TOKEN
from harness import chromium
from tests.live import browser
from tests.live.live_airflow import LiveAirflow

GOOD, BAD = "made_by_form", "made_with_another_token"
TOKENS = {GOOD: TOKEN, BAD: "not-a-token-anybody-knows-0123456789abcdef"}
LABELS = {"API base URL", "Port of the API", "E-mail (only with a Global API Key)", "API token, or Global API Key"}
# Airflow before 3.2 shows all of them in one section.
SECTIONS = {
    "Scope": {"Account id", "Organization id"},
    "Limits": {
        "Requests per period",
        "Length of the period, in seconds",
        "Redis connection for a shared rate limit",
        "Attempts per request",
        "Longest time to retry a request, in seconds",
        "Longest wait for data, in seconds",
        "Largest response, in bytes",
    },
    "Network": {"Proxy", "Certificate authorities"},
}
ONE_SECTION = {"Extra Fields": set().union(*SECTIONS.values())}


@pytest.fixture(scope="module")
def page(live: LiveAirflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser on the Airflow under test, in which both connections were created with the form."""
    with chromium.browse(live.instance.base_url) as opened:
        try:
            for conn_id in TOKENS:
                _make(opened, live, conn_id)
            yield opened
        finally:
            opened.screenshot(path=tmp_path_factory.mktemp("pictures") / f"{live.version}.png")


def _make(page: Page, live: LiveAirflow, conn_id: str) -> None:
    """Fills and saves the form."""
    base_url = str(live.account.base_url)
    form = browser.open_form(page, "Cloudflare")
    browser.fill(form, {"Connection ID": conn_id})
    texts = {
        "API base URL": base_url,
        "Port of the API": str(urlsplit(base_url).port),
        "API token, or Global API Key": TOKENS[conn_id],
    }
    browser.fill(form, texts, "Standard Fields")
    account_id, seconds = {"Account id": live.account.account_id}, {"Longest wait for data, in seconds": "30"}
    if _has_sections(live):
        browser.fill(form, account_id, "Scope")
        browser.fill(form, seconds, "Limits")
    else:
        browser.fill(form, account_id | seconds, "Extra Fields")
    browser.save(page, form)


def _has_sections(live: LiveAirflow) -> bool:
    return not live.version.startswith(("3.0.", "3.1."))


def _kept(live: LiveAirflow, conn_id: str) -> dict[str, Any]:
    kept: dict[str, Any] = live.ask(f"connections/{conn_id}")
    return kept


@pytest.mark.usefixtures("page")
def test_form_is_kept_as_it_was_filled(live: LiveAirflow) -> None:
    """Airflow stores each field of the form under the name that the hook reads, and no empty field."""
    kept = _kept(live, GOOD)
    assert (kept["conn_type"], kept["host"]) == ("cloudflare", live.account.base_url)
    extra = {name: value for name, value in json.loads(kept["extra"]).items() if value is not None}
    assert extra.pop("account_id") == live.account.account_id
    assert {name: float(value) for name, value in extra.items()} == {"timeout_seconds": 30.0}


def test_form_is_labelled(live: LiveAirflow, page: Page) -> None:
    """Every field has the provider's label, and the token's field shows no letter of the token."""
    form = browser.open_again(page, GOOD)
    assert browser.labels(form, "Standard Fields") >= LABELS
    secret = browser.field_of(form, "API token, or Global API Key")
    assert secret.get_attribute("type") == "password"
    assert secret.input_value() in ("", "***")
    assert secret.get_attribute("placeholder") == "API token with Account Settings: Read"
    sections = SECTIONS if _has_sections(live) else ONE_SECTION
    assert {section: browser.labels(form, section) for section in sections} == sections
    if _has_sections(live):
        expect(browser.unfold(form, "Scope").get_by_role("link", name="Where to find it")).to_be_visible()
    assert TOKEN not in page.content()
    browser.unfold(form, "Scope" if _has_sections(live) else "Extra Fields")
    assert live.account.account_id in browser.field_of(form, "Account id").input_value()


def test_connection_is_tested(live: LiveAirflow, page: Page) -> None:
    """*Test Connection* reports that the credential may read the account's log, or what is wrong."""
    good, bad = (_tested(live, page, conn_id) for conn_id in (GOOD, BAD))
    assert good["status"] is True, good
    assert "may read the audit log of account" in good["message"]
    assert bad["status"] is False
    assert "API token is not valid" in bad["message"]
    assert TOKEN not in str(good) + str(bad)


def _tested(live: LiveAirflow, page: Page, conn_id: str) -> dict[str, Any]:
    """Tests the connection in the page, or by the API in Airflow 3.0, whose pages have no such button."""
    if live.version.startswith("3.0."):
        body = {**_kept(live, conn_id), "password": TOKENS[conn_id]}
        answer: dict[str, Any] = live.ask("connections/test", method="POST", body=body)
        return answer
    pressed = browser.press_test(page, conn_id)
    if not pressed["status"]:
        expect(page.get_by_text(pressed["message"]).first).to_be_visible()
    return pressed


@pytest.mark.usefixtures("page")
def test_dag_lands_with_it(live: LiveAirflow) -> None:
    """A run that names the connection lands its whole day; its links work, and no log shows the token."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    start = end - timedelta(days=1)
    live.unpause("seen")
    run_id = live.trigger("seen", conf={"conn_id": GOOD, "start": start.isoformat(), "end": end.isoformat()})
    assert live.await_run("seen", run_id) == "success", live.log(live.tasks("seen", run_id)[0])
    summary = live.xcom("seen", run_id, "land")
    assert summary["record_count"] == len(live.truth_ids(start, end)) > 0
    links = live.ask(f"dags/seen/dagRuns/{run_id}/taskInstances/land/links")["extra_links"]
    assert links.pop("Coverage").startswith(f"{live.instance.base_url}/cloudflare-audit-logs/d/")
    assert links == {
        "Manifest": summary["manifest_uri"],
        "Cloudflare dashboard": f"https://dash.cloudflare.com/{live.account.account_id}/audit-log",
    }
    log = live.log(live.tasks("seen", run_id)[0])
    assert log.count("::group::fetch") == log.count("::group::verify") == 1
    event = live.events(f"{(live.home.landed / 'seen').as_uri()}")[-1]
    assert event["extra"] | summary == event["extra"]
    assert not [path for path in _logs(live) if TOKEN in path.read_text(errors="replace")]


def _logs(live: LiveAirflow) -> list[Path]:
    """Returns every log of every component and task, without the fake's own log, which contains the token."""
    folders = (live.home.logs, live.home.airflow_home / "logs")
    return [path for folder in folders for path in folder.rglob("*.log") if path.name != "fake-cloudflare.log"]
