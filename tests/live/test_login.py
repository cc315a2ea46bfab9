"""Users log in with a password: who may read the asset sees the coverage page, and anyone else does not.

Everywhere else in these tests each user is an administrator. Here an API server alone asks for passwords, with
Airflow's simple auth manager. Airflow 3.0 has no menu that leads to the page.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from airflow_audit_provider._airflow.destinations import PAGE_PREFIX
from harness import chromium, http_json
from harness.airflow_environment import Ports, airflow_environ
from harness.airflow_instance import AirflowInstance
from harness.child_processes import Children, free_ports
from tests._airflow.coverage_page.site import write
from tests.live.airflow_home import Home
from tests.live.live_airflow import WITHIN_SECONDS
from tests.live.versions import environments
from tests.live.versions.versions import AirflowVersion
from tests.pipelines.history.generated import committed, windows

pytestmark = [pytest.mark.live, pytest.mark.nightly, pytest.mark.since("3.1.8")]
PASSWORDS = {"vera": "a-password-of-vera", "nora": "a-password-of-nora"}
# Nora has no role, and so no right.
USERS = "vera:viewer,nora:"


@pytest.fixture(scope="module")
def guarded(
    version: AirflowVersion, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowInstance]:
    """An API server that asks for passwords, with a dataset in its configuration."""
    environments.prepare(version, wheel)
    home = Home(tmp_path_factory.mktemp(f"login-{version.number}") / "home", version.folder)
    for folder in (home.dags, home.logs, home.landed):
        folder.mkdir(parents=True)
    dataset = write(home.landed / "covered", committed(windows(3)))
    passwords = home.root / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    ports = free_ports(3)
    environ = airflow_environ(os.environ, home, Ports(*ports), {}, "2199-01-01") | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": USERS,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CLOUDFLARE_AUDIT_LOGS__COVERAGE_DESTINATIONS": json.dumps([{"destination": dataset.as_uri()}]),
    }
    with Children(home.logs) as children:
        instance = AirflowInstance(home, children, environ, f"http://127.0.0.1:{ports[0]}")
        instance.migrate()
        instance.start_api()
        health = f"{instance.base_url}/api/v2/monitor/health"
        instance.wait(lambda: bool(http_json.fetch_json(health)), WITHIN_SECONDS, "the API server to answer")
        yield instance


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium.browser_path(), args=chromium.OPTIONS)
        yield opened
        opened.close()


def visitor(browser: Browser, guarded: AirflowInstance) -> Page:
    """Returns a page without a session."""
    page = browser.new_context(base_url=guarded.base_url).new_page()
    page.set_default_timeout(chromium.WITHIN_MS)
    return page


def logged_in(browser: Browser, guarded: AirflowInstance, name: str) -> Page:
    """Returns a page after a login by the form."""
    page = visitor(browser, guarded)
    page.goto("/auth/login")
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(PASSWORDS[name])
    page.locator("button[type=submit]").click()
    page.wait_for_url(lambda url: "/login" not in url)
    return page


def status_of(page: Page) -> int:
    """Returns the status with which the page's address answers."""
    answer = page.goto(f"{PAGE_PREFIX}/")
    assert answer is not None
    return answer.status


def test_user_who_may_read_the_asset_sees_the_page(browser: Browser, guarded: AirflowInstance) -> None:
    """A viewer logs in with a password and finds the dataset by the menu."""
    page = logged_in(browser, guarded, "vera")
    page.get_by_role("button", name="Browse").click()
    page.get_by_text("Cloudflare audit logs").click()
    expect(page.frame_locator("iframe").get_by_role("link", name="/covered")).to_be_visible(timeout=chromium.WITHIN_MS)
    assert status_of(page) == 200


def test_visitor_without_a_session_sees_no_dataset(browser: Browser, guarded: AirflowInstance) -> None:
    """The page answers 401, and Airflow's first page leads to the login."""
    page = visitor(browser, guarded)
    assert status_of(page) == 401
    assert "covered" not in page.content()
    page.goto("/")
    page.wait_for_url("**/login**")


def test_user_without_the_right_gets_status_403(browser: Browser, guarded: AirflowInstance) -> None:
    """A user without a role logs in, and the page shows no dataset."""
    page = logged_in(browser, guarded, "nora")
    assert status_of(page) == 403
    assert "covered" not in page.content()
