"""Takes the pictures that the documentation shows, of Airflow's pages and of the coverage page: ``make screenshots``.

Starts the Airflow of the test environment with a fake Cloudflare and a bucket of a local S3 server, works its pages in
a browser as a person does, and writes one PNG for each page into ``docs/pictures``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote, urlsplit

from playwright.sync_api import FloatRect, Locator, Page, expect

from airflow_audit_provider.testing.settings import TOKEN
from harness import chromium
from harness.cloudflare_account import CloudflareAccount
from tests.adapters.storage.real_stores import REGION, S3Server, moto
from tests.live import browser
from tests.live.airflow_home import Home
from tests.live.coverage_pictures import BUCKET, take_coverage
from tests.live.live_airflow import FAKE_OPTIONS, LiveAirflow, start_airflow
from tests.live.shared_airflow import settings
from tests.live.versions.versions import PROJECT
from tools.small_png import small

FOLDER = PROJECT / "docs" / "pictures"
DAG_FILES = [PROJECT / "tests" / "live" / "dags" / "telemetry.py", PROJECT / "dags" / "cloudflare_audit_duckdb.py"]
CONN_ID, WRONG_CONN_ID = "cloudflare_audit", "cloudflare_wrong_token"
WIDTH, HEIGHT = 1000, 760
# The form scrolls if the screen is lower, and its picture would be cut.
FORM_HEIGHT = 1100
WHOLE = FloatRect(x=0, y=0, width=WIDTH, height=HEIGHT)
# Logs have long lines; the screen is a usual one.
LOG_WIDTH = 1440
LOG_CLIP = FloatRect(x=370, y=314, width=1050, height=196)
# The answers of the DuckDB example are more lines.
ANSWERS_CLIP = FloatRect(x=370, y=314, width=1050, height=360)
# A log that is longer than the screen is shown from its end.
LOG_HEIGHT = 1000
LINKS_CLIP = FloatRect(x=370, y=60, width=1050, height=360)
# Below the message, Airflow lists the frames of the error, which name folders of the machine.
FRAMES = 'File "'
LINKS = ("Coverage", "Manifest", "Cloudflare dashboard")


def main() -> int:
    """Takes every picture."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as temporary, moto(Path(temporary)) as s3:
        folder = Path(temporary)
        s3.make_bucket(BUCKET)
        take_coverage(FOLDER, s3, folder, _report)
        home = Home(folder / "home", Path(sys.prefix))

        def in_bucket(home: Home, account: CloudflareAccount) -> Mapping[str, str]:
            return {**settings(home, account), **_bucket_settings(home, s3)}

        number = version("apache-airflow")
        started = start_airflow(home, number, dags=DAG_FILES, fake_options=FAKE_OPTIONS, settings=in_bucket)
        with started as live, chromium.browse(live.instance.base_url) as page:
            page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            _connection(page, live)
            _links(page, live)
            _answers(page, live)
            # Last, because Airflow keeps lines wrapped.
            _log_of_wrong_token(page, live)
    return 0


def _bucket_settings(home: Home, s3: S3Server) -> dict[str, str]:
    """Returns the variables by which the DAGs land in the bucket, so that pictures show a usual destination."""
    return {
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_ACCESS_KEY_ID": s3.key_id,
        "AWS_SECRET_ACCESS_KEY": s3.key,
        "AWS_DEFAULT_REGION": REGION,
        "AUDIT_LANDED": f"s3://{BUCKET}",
        "AUDIT_DUCKDB_DESTINATION": f"s3://{BUCKET}/warehouse",
        "AUDIT_DUCKDB": str(home.root / "audit.duckdb"),
    }


def _connection(page: Page, live: LiveAirflow) -> None:
    """Takes the pictures of a new connection's form, as for Cloudflare itself, and of the result of its test."""
    page.set_viewport_size({"width": WIDTH, "height": FORM_HEIGHT})
    form = browser.open_form(page, "Cloudflare")
    browser.fill(form, {"Connection ID": CONN_ID})
    browser.fill(form, {"API token, or Global API Key": TOKEN, "Port of the API": "443"}, "Standard Fields")
    _take(form, "connection-form-credentials")
    browser.fill(form, {"Account id": live.account.account_id}, "Scope")
    _take(form, "connection-form")
    base_url = str(live.account.base_url)
    texts = {"API base URL": base_url, "Port of the API": str(urlsplit(base_url).port)}
    browser.fill(form, texts, "Standard Fields")
    browser.save(page, form)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    answer = browser.press_test(page, CONN_ID)
    if not answer["status"]:
        raise RuntimeError(f"The connection of the pictures was refused: {answer['message']}")
    expect(page.get_by_role("row").filter(has_text=CONN_ID)).to_be_visible()
    _take(page, "connection-test")


def _links(page: Page, live: LiveAirflow) -> None:
    """Takes the pictures of a task that has landed a day: its log, and its details with the links."""
    run_id = _land(live, CONN_ID, "success")
    _take_log(page, f"/dags/seen/runs/{run_id}/tasks/land", "Committed ", "task-log")
    page.set_viewport_size({"width": LOG_WIDTH, "height": HEIGHT})
    page.goto(f"/dags/seen/runs/{run_id}/tasks/land/details")
    for name in LINKS:
        expect(page.get_by_text(name).first).to_be_visible(timeout=chromium.WITHIN_MS)
    _take(page, "task-links", LINKS_CLIP)


def _log_of_wrong_token(page: Page, live: LiveAirflow) -> None:
    """Takes the picture of the log of a task whose token is not valid."""
    wrong = {"connection_id": WRONG_CONN_ID, "conn_type": "cloudflare", "host": str(live.account.base_url)}
    wrong |= {"password": "not-a-token-anybody-knows-0123456789abcdef"}
    wrong |= {"extra": f'{{"account_id": "{live.account.account_id}"}}'}
    live.ask("connections", method="POST", body=wrong)
    run_id = _land(live, WRONG_CONN_ID, "failed")
    _take_log(page, f"/dags/seen/runs/{run_id}/tasks/land", "Invalid access token", "task-error")


def _answers(page: Page, live: LiveAirflow) -> None:
    """Takes the picture of the answers that the DuckDB example logs about yesterday."""
    live.unpause("cloudflare_audit_duckdb")
    (run,) = live.await_runs("cloudflare_audit_duckdb")
    path = f"/dags/cloudflare_audit_duckdb/runs/{quote(run['dag_run_id'])}/tasks/ask"
    _take_log(page, path, "Which actions failed?", "task-answers", ANSWERS_CLIP)


def _land(live: LiveAirflow, conn_id: str, expected_state: str) -> str:
    """Lands a day with a connection; returns the run's id."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    live.unpause("seen")
    conf = {"conn_id": conn_id, "start": (end - timedelta(days=1)).isoformat(), "end": end.isoformat()}
    run_id = live.trigger("seen", conf=conf)
    state = live.await_run("seen", run_id)
    if state != expected_state:
        raise RuntimeError(f"The run of the pictures ended as {state}: {live.log(live.tasks('seen', run_id)[0])}")
    return run_id


def _take_log(page: Page, task: str, text: str, name: str, clip: FloatRect = LOG_CLIP) -> None:
    """Takes the picture of the log of a task, which has a text, on a screen of a usual width."""
    page.set_viewport_size({"width": LOG_WIDTH, "height": LOG_HEIGHT})
    page.goto(task)
    expect(page.get_by_text(text).first).to_be_visible(timeout=chromium.WITHIN_MS)
    if name == "task-error":
        # Long lines are wrapped, as after the key for it, so that the whole sentence is in the picture.
        page.keyboard.press("w")
        frame = page.get_by_text(FRAMES).first.bounding_box()
        clip = clip if frame is None else FloatRect({**clip, "height": frame["y"] - clip["y"]})
    _take(page, name, clip)


def _take(place: Page | Locator, name: str, clip: FloatRect = WHOLE) -> None:
    """Saves a picture of an element, or of a part of a page."""
    path = FOLDER / f"{name}.png"
    if isinstance(place, Locator):
        place.screenshot(path=path, animations="disabled")
    else:
        place.screenshot(path=path, animations="disabled", clip=clip)
    path.write_bytes(small(path.read_bytes()))
    _report(path)


def _report(path: Path) -> None:
    print(f"Wrote {path.relative_to(PROJECT)}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
