"""Takes the pictures of the coverage page: the list, a calendar with gaps, a window and the verifications.

The history is generated, because a real one of 18 months would take hours; its newest days have eight states.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser

from airflow_audit_provider.core.archive.object_keys import WindowKeys
from tests._airflow.coverage_page import histories
from tests._airflow.coverage_page.browser import chromium, open_page
from tests._airflow.coverage_page.site import Site, page_of, serve, write

# A picture is for a page of the documentation, which shows several.
MOST_BYTES = 80_000
WIDE, NARROW = 1280, 400


# The calendar has 19 months; the newest of them show eight states.
HIDE_OLD = "months => [...months.children].slice(0, -{count}).forEach(month => month.remove())"


class Picture(NamedTuple):
    """A picture: its name, the path of the page, the size of the screen and the scheme, and where it begins.

    ``month_count`` is how many of the newest months are left in the calendar, 0 for all.
    """

    name: str
    path: str
    width: int = WIDE
    height: int = 580
    scheme: str = "light"
    anchor: str = ""
    month_count: int = 0


def take_coverage(folder: Path, report: Callable[[Path], None]) -> None:
    """Takes every picture of the page into a folder; ``report`` gets each file."""
    with tempfile.TemporaryDirectory(prefix="audit-") as temporary:
        root = Path(temporary)
        landed = write(root / "cloudflare", histories.every_state().items())
        other = write(root / "stitched", histories.stitched().items())
        (root / "home").mkdir()
        with serve(root / "home", [landed, other]) as site, chromium() as browser:
            for picture in pictures(page_of(landed)):
                path = folder / f"{picture.name}.png"
                _take(browser, site, picture, path)
                report(path)


def pictures(page: str) -> Iterator[Picture]:
    """Yields the pictures of a dataset's page."""
    (window,) = histories.day_windows(6, 1)
    yield Picture("coverage-list", "")
    for scheme in ("light", "dark"):
        wide, narrow = f"coverage-calendar-wide-{scheme}", f"coverage-calendar-narrow-{scheme}"
        yield Picture(wide, page, WIDE, 330, scheme, "#calendar-heading", 6)
        yield Picture(narrow, page, NARROW, 720, scheme, "#calendar-heading", 4)
    yield Picture("coverage-gaps", page, anchor="#gaps-heading", height=400)
    yield Picture("coverage-window", f"{page}/w/{WindowKeys(window, window.start.date()).name}", height=440)
    yield Picture("coverage-verify", f"{page}/verify", height=420)


def _take(browser: Browser, site: Site, picture: Picture, path: Path) -> None:
    seen = open_page(browser, site, width=picture.width, scheme=picture.scheme)
    seen.page.set_viewport_size({"width": picture.width, "height": picture.height})
    seen.page.goto(picture.path or ".")
    if picture.month_count:
        seen.page.locator(".months").evaluate(HIDE_OLD.format(count=picture.month_count))
    # The plan of one gap is open, as after a click.
    seen.page.evaluate("document.querySelector('[data-plan]')?.parentElement.setAttribute('open', '')")
    if picture.anchor:
        seen.page.locator(picture.anchor).evaluate("element => element.scrollIntoView()")
    seen.page.screenshot(path=path, animations="disabled")
    seen.page.context.close()
    size_bytes = path.stat().st_size
    if seen.wrong or size_bytes > MOST_BYTES:
        raise RuntimeError(f"{path.name} has {size_bytes:,} bytes, at most {MOST_BYTES:,}; errors {seen.wrong}")
