"""Takes the pictures of Airflow's pages that the documentation shows: ``make screenshots``.

Starts the Airflow of the test environment with a fake Cloudflare, works its pages in a browser as a person does, and
writes one PNG for each page into ``docs/pictures``.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect

from airflow_audit_provider.testing.settings import TOKEN
from tests.live import browser
from tests.live.airflow_home import Home
from tests.live.live_airflow import FAKE_OPTIONS, LiveAirflow, start_airflow
from tests.live.shared_airflow import settings
from tests.live.versions.versions import PROJECT

FOLDER = PROJECT / "docs" / "pictures"
DAG_FILE = PROJECT / "tests" / "live" / "dags" / "telemetry.py"
CONN_ID = "cloudflare_audit"
WIDTH, HEIGHT = 1000, 760
# Down to the links; what is below them is Airflow's own.
LINKS_HEIGHT = 480


def main() -> int:
    """Takes every picture."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        home = Home(Path(folder) / "home", Path(sys.prefix))
        number = version("apache-airflow")
        started = start_airflow(home, number, dags=[DAG_FILE], fake_options=FAKE_OPTIONS, settings=settings)
        with started as live, browser.browse(live.instance.base_url) as page:
            page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            _connection(page, live)
            _links(page, live)
    return 0


def _connection(page: Page, live: LiveAirflow) -> None:
    """Takes the pictures of a new connection's form and of the result of its test."""
    form = browser.open_form(page, "Cloudflare")
    browser.fill(form, {"Connection ID": CONN_ID})
    base_url = str(live.account.base_url)
    browser.fill(form, {"Account id": live.account.account_id}, "Extra Fields")
    texts = {"API base URL": base_url, "Port of the API": str(urlsplit(base_url).port)}
    browser.fill(form, texts | {"API token, or Global API Key": TOKEN}, "Standard Fields")
    _take(form, "connection-form")
    browser.save(page, form)
    answer = browser.press_test(page, CONN_ID)
    if not answer["status"]:
        raise RuntimeError(f"The connection of the pictures was refused: {answer['message']}")
    expect(page.get_by_role("row").filter(has_text=CONN_ID)).to_be_visible()
    _take(page, "connection-test")


def _links(page: Page, live: LiveAirflow) -> None:
    """Takes the picture of the details of a task that has landed a day, with its links."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    live.unpause("seen")
    conf = {"conn_id": CONN_ID, "start": (end - timedelta(days=1)).isoformat(), "end": end.isoformat()}
    run_id = live.trigger("seen", conf=conf)
    state = live.await_run("seen", run_id)
    if state != "success":
        raise RuntimeError(f"The run of the pictures ended as {state}: {live.log(live.tasks('seen', run_id)[0])}")
    page.goto(f"/dags/seen/runs/{run_id}/tasks/land/details")
    expect(page.get_by_text("Cloudflare dashboard").first).to_be_visible(timeout=browser.WITHIN_MS)
    _take(page, "task-links", LINKS_HEIGHT)


def _take(place: Page | Locator, name: str, height: int = HEIGHT) -> None:
    """Saves a picture of an element, or of the upper part of a page."""
    path = FOLDER / f"{name}.png"
    if isinstance(place, Locator):
        place.screenshot(path=path, animations="disabled")
    else:
        place.screenshot(path=path, animations="disabled", clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    print(f"Wrote {path.relative_to(PROJECT)}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
