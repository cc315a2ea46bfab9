"""Takes screenshots of Airflow's pages at the end of the demo, where the system has a Chromium.

Everything is opened as a user opens it: by Airflow's menu, by links and by cells of the calendar.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from demo.scenes import DAILY, Cast
from harness import chromium

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, FrameLocator, Page

# Of this height, the page shows the legend, three months of the calendar, and the gaps below it.
WIDTH, HEIGHT, MARGIN = 1280, 960, 16
COVERAGE, LATE_RECORD, TAMPERED, RUNS = "coverage.png", "late-record.png", "tampered-copy.png", "runs.png"


class NoPictureError(Exception):
    """The browser did not show a page. The text states why."""


def take_pictures(cast: Cast) -> list[Path]:
    """Writes every picture and returns their paths, in the order in which to look at them; raises NoPictureError."""
    from playwright.sync_api import Error

    try:
        return _take_all(cast)
    except Error as error:
        raise NoPictureError(f"Chromium did not show a page of Airflow: {error}") from error


def _take_all(cast: Cast) -> list[Path]:
    folder = cast.layout.pictures
    folder.mkdir(exist_ok=True)
    with chromium.browse(cast.instance.base_url, width=WIDTH, height=HEIGHT) as page:
        page.goto("/")
        page.get_by_role("button", name="Browse").click()
        page.get_by_text("Cloudflare audit logs").click()
        frame = page.frame_locator("iframe")
        _open_calendar(frame, (cast.layout.landed / "jsonl").as_uri())
        taken = [_save(page, folder / COVERAGE, _below(frame, "[aria-labelledby=calendar-heading]"))]
        _open_window(frame, cast)
        _scroll_to(frame, "[aria-labelledby=links-heading]")
        taken.append(_save(page, folder / LATE_RECORD))
        _open_calendar(frame, cast.layout.tampered.as_uri())
        _open_window(frame, cast)
        taken.append(_save(page, folder / TAMPERED))
        page.goto(f"/dags/{DAILY}")
        page.get_by_text("Last 10 Dag Runs").wait_for()
        return [*taken, _save(page, folder / RUNS)]


def _open_calendar(frame: FrameLocator, uri: str) -> None:
    """Opens the page of a dataset and scrolls to its calendar, below which are the gaps with their commands."""
    datasets = frame.get_by_role("link", name="Datasets")
    link = frame.get_by_role("link", name=uri, exact=True)
    datasets.or_(link).first.wait_for()
    if datasets.count():
        datasets.click()
    link.click()
    frame.locator("[aria-labelledby=gaps-heading]").wait_for()
    _scroll_to(frame, "[aria-labelledby=calendar-heading]")


def _open_window(frame: FrameLocator, cast: Cast) -> None:
    """Opens the window with the late record by its cell, and scrolls to its generations and the id of that record."""
    frame.locator(f".months .cell[href*='{cast.late_day}']").click()
    frame.locator("#day table a").first.click()
    frame.locator("[aria-labelledby=generations-heading]").wait_for()


def _scroll_to(frame: FrameLocator, selector: str) -> None:
    """Scrolls an element to the upper end of the page."""
    frame.locator(selector).first.evaluate("element => element.scrollIntoView()")


def _below(frame: FrameLocator, selector: str) -> FloatRect:
    """Returns the part of the screen from the upper end of an element on, with the margins beside it."""
    box = frame.locator(selector).bounding_box()
    assert box is not None, "the element was scrolled into view"
    return {
        "x": box["x"] - MARGIN,
        "y": box["y"] - MARGIN,
        "width": box["width"] + 2 * MARGIN,
        "height": HEIGHT - box["y"] + MARGIN,
    }


def _save(page: Page, path: Path, clip: FloatRect | None = None) -> Path:
    # The mouse lies where it clicked last, and a cell there shows its tooltip until the page has noticed the move.
    page.mouse.move(0, 0)
    for frame in page.frames:
        frame.locator("#tip").wait_for(state="hidden")
    page.screenshot(path=path, animations="disabled", clip=clip)
    return path
