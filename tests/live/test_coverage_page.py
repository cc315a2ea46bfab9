"""The coverage page in Airflow's own pages: the menu leads to it, and it shows what a DAG has landed.

Each test logs in, opens the page and goes on by what it shows. Airflow 3.0 has no menu for it, so there the page is
opened by its address; everything else is the same in all versions.
"""

from __future__ import annotations

import json
import re
import shlex
import urllib.request
from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from airflow_audit_provider._airflow.destinations import PAGE_PREFIX
from harness import chromium
from tests._airflow.coverage_page.site import page_of
from tests.live.calendar_days import days_ago
from tests.live.live_airflow import WITHIN_SECONDS, LiveAirflow

pytestmark = pytest.mark.live
LANDED = [days_ago(6), days_ago(4)]


@pytest.fixture(scope="module")
def page(live: LiveAirflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser on an Airflow that has landed two days with a gap between them."""
    live.unpause("covered")
    for start in LANDED:
        conf = {"start": start.isoformat(), "end": (start + timedelta(days=1)).isoformat()}
        assert live.await_run("covered", live.trigger("covered", conf=conf)) == "success"
    with chromium.browse(live.instance.base_url) as opened:
        try:
            yield opened
        finally:
            opened.screenshot(path=tmp_path_factory.mktemp("pictures") / f"coverage-{live.version}.png")


def _opened(live: LiveAirflow, page: Page) -> FrameLocator | Page:
    """Opens the page; returns the frame in which Airflow shows it, or in Airflow 3.0 the page itself."""
    page.goto("/")
    if live.version.startswith("3.0."):
        expect(page.get_by_text("Dags").first).to_be_visible(timeout=chromium.WITHIN_MS)
        page.goto(f"{PAGE_PREFIX}/")
        return page
    return _frame(page)


def _frame(page: Page) -> FrameLocator:
    """Opens the page by the menu; returns the frame in which Airflow shows it."""
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_text("Cloudflare audit logs").click()
    return page.frame_locator("iframe")


@pytest.mark.since("3.1.8")
def test_menu_leads_to_calendar_with_gap(live: LiveAirflow, page: Page) -> None:
    """A user opens the page by the menu, chooses the dataset, sees the gap and opens the hours of a landed day."""
    frame = _frame(page)
    name = (live.home.landed / "covered").as_uri()
    frame.get_by_role("link", name=name).click()
    expect(frame.get_by_role("heading", name=name)).to_be_visible()
    states = [
        frame.locator(f".months .cell[href*='{days_ago(ago).date()}']").get_attribute("class") or ""
        for ago in (6, 5, 4)
    ]
    assert [state.split()[-1] for state in states] == ["unverified", "v0", "unverified"]
    assert [state.split()[1] for state in states] == ["committed", "missing", "committed"]
    frame.locator(f".months .cell[href*='{LANDED[0].date()}']").click()
    expect(frame.locator("#day table")).to_contain_text(str(LANDED[0].date()))


def test_window_page_leads_to_run_that_landed_it(live: LiveAirflow, page: Page) -> None:
    """A day leads to its window, and a link to a run opens it in the whole page, also from inside Airflow's frame."""
    frame = _opened(live, page)
    frame.get_by_role("link", name=(live.home.landed / "covered").as_uri()).click()
    frame.locator(f".months .cell[href*='{LANDED[0].date()}']").click()
    frame.locator("#day table a").click()
    expect(frame.locator(".timeline li")).to_have_count(1)
    # The list of links has the run, and so has the generation that it wrote.
    expect(frame.locator(".timeline").get_by_role("link", name="run covered")).to_be_visible()
    frame.get_by_role("link", name="run covered").first.click()
    page.wait_for_url("**/dags/covered/runs/**")


def test_page_by_its_address_shows_dataset(live: LiveAirflow, page: Page) -> None:
    """A logged-in user opens the page without the menu, which Airflow 3.0 does not have."""
    page.goto("/")
    expect(page.get_by_text("Dags").first).to_be_visible(timeout=chromium.WITHIN_MS)
    page.goto(f"{PAGE_PREFIX}/")
    page.get_by_role("link", name=(live.home.landed / "covered").as_uri()).click()
    expect(page.locator(f".months .cell.missing[href*='{days_ago(5).date()}']")).to_be_visible()


@pytest.mark.since("3.1.8")
def test_page_in_dark_mode_follows_airflow(page: Page) -> None:
    """The page takes the theme of the pages around it."""
    frame = _frame(page)
    expect(frame.locator(".card").first).to_be_visible()
    page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")


def test_page_with_bearer_token_answers_with_dataset(live: LiveAirflow, page: Page) -> None:
    """A script reads the page with a token, on each version."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{live.instance.base_url}/auth/token", timeout=60) as answer:
        token = json.load(answer)["access_token"]
    path = page_of(live.home.landed / "covered")
    request = urllib.request.Request(
        f"{live.instance.base_url}{PAGE_PREFIX}/{path}", headers={"Authorization": f"Bearer {token}"}
    )
    with opener.open(request, timeout=120) as answer:
        text = answer.read().decode()
    assert str(LANDED[0].date()) in text
    assert 'class="cell missing' in text


def test_copied_command_of_gap_creates_its_run(live: LiveAirflow, page: Page) -> None:
    """The copied command is the one on the page, and Airflow's command line plans the missing day for it."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    frame = _opened(live, page)
    frame.get_by_role("link", name=(live.home.landed / "covered").as_uri()).click()
    day = days_ago(5).date()
    frame.get_by_role("button", name=f"Copy the backfill command of the gap from {day}").click()
    expect(frame.get_by_role("button", name=f"Copy the backfill command of the gap from {day}")).to_have_text("Copied")
    command = page.evaluate("navigator.clipboard.readText()")
    program, *words = shlex.split(command)
    assert program == "airflow"
    live.instance.command("planned-by-copy", *words, "--dry-run")
    answer = (live.instance.children.logs / "planned-by-copy.log").read_text()
    assert str(day) in answer
    assert str(days_ago(6).date()) not in answer


def test_backfill_started_from_gap_turns_its_cell(live: LiveAirflow, page: Page) -> None:
    """A user starts the backfill after the plan and the runs that Airflow creates, and the day is then committed."""
    frame = _opened(live, page)
    frame.get_by_role("link", name=(live.home.landed / "covered").as_uri()).click()
    cell = frame.locator(f".months .cell[href*='{days_ago(5).date()}']")
    expect(cell).to_have_class(re.compile("missing"))
    live.unpause("covered_daily")
    frame.get_by_role("button", name=f"Start the backfill of the gap from {days_ago(5).date()}").click()
    expect(frame.locator("#plan-needs li").first).to_contain_text("It fetches 1 window of 1 day")
    expect(frame.locator("#plan-needs")).to_contain_text("estimated from 2 committed windows of this length")
    expect(frame.locator("#plan-runs li")).to_have_text([re.compile(str(days_ago(5).date()))])
    start, words = frame.locator("#plan-start"), frame.locator("#plan-words")

    def created() -> bool:
        if "was created" in words.inner_text():
            return True
        # The button is hidden until Airflow has answered.
        if start.is_visible():
            # Where SQLite was locked half-way, Airflow answers 500, and a backfill without runs prevents the next.
            if " 409" in words.inner_text():
                live.cancel_backfills("covered_daily")
            start.click()
        return False

    live.instance.wait(created, WITHIN_SECONDS, "the backfill of the gap to be created")
    frame.get_by_role("button", name="Close").click()

    def landed() -> bool:
        runs = live.runs("covered_daily")
        return any(run["run_type"] == "backfill" and run["state"] == "success" for run in runs)

    live.instance.wait(landed, WITHIN_SECONDS, "the backfill of the gap to end")
    frame.get_by_role("link", name="Read again").click()
    expect(cell).to_have_class(re.compile("unverified"))
