"""Takes the pictures of the coverage page: the list, a calendar with gaps, a window and the verifications.

The history is generated, because a real one of 18 months would take hours; its newest days have seven states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, FloatRect

from airflow_audit_provider._airflow.coverage_page.sources import Source
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from tests._airflow.coverage_page import histories
from tests._airflow.coverage_page.browser import chromium, open_page
from tests._airflow.coverage_page.site import Site, serve
from tests.adapters.storage.real_stores import S3Server
from tools.small_png import small

# A picture is for a page of the documentation, which shows several.
MOST_BYTES = 80_000
WIDE, NARROW = 1280, 400
# Above what is shown.
MARGIN = 8
BUCKET = "acme-audit-logs"
# The account of the examples in the documentation.
QUERY = audit_query("v1", None, account_id="7c5dae5552338874e5053f2534d2767a")

# The calendar has 19 months; the newest of them show seven states.
HIDE_OLD = "months => [...months.children].slice(0, -{count}).forEach(month => month.remove())"


class Picture(NamedTuple):
    """A picture: its name, the path of the page, the width of the screen and the scheme, and what of it is shown.

    ``first`` and ``last`` are the elements at its upper and lower end, the whole page without them. ``month_count`` is
    how many of the newest months are left in the calendar, 0 for all. ``zoom`` makes a page with much text smaller.
    """

    name: str
    path: str
    width: int = WIDE
    scheme: str = "light"
    first: str = "main"
    last: str = "main"
    month_count: int = 0
    zoom: float = 1.0


def take_coverage(folder: Path, s3: S3Server, temporary: Path, report: Callable[[Path], None]) -> None:
    """Takes every picture of the page into a folder, from histories in the bucket; ``report`` gets each file."""
    histories_of = {"cloudflare": histories.every_state(QUERY), "stitched": histories.stitched()}
    client = s3.client()
    for prefix, objects in histories_of.items():
        for key, content in objects.items():
            client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=content)
    listed = [{"destination": f"s3://store@{BUCKET}/{prefix}"} for prefix in histories_of]
    uri = f"s3://{BUCKET}/cloudflare"
    with serve(temporary, [], more=listed, connections={"store": s3.fields()}) as site, chromium() as browser:
        for picture in pictures(f"d/{Source(uri, uri).id}"):
            path = folder / f"{picture.name}.png"
            _take(browser, site, picture, path)
            report(path)


def pictures(page: str) -> Iterator[Picture]:
    """Yields the pictures of a dataset's page."""
    (window,) = histories.day_windows(6, 1)
    yield Picture("coverage-list", "", last=".card:first-of-type")
    calendar = "[aria-labelledby=calendar-heading]"
    for scheme in ("light", "dark"):
        yield Picture(f"coverage-calendar-wide-{scheme}", page, WIDE, scheme, calendar, calendar, 6)
        yield Picture(f"coverage-calendar-narrow-{scheme}", page, NARROW, scheme, calendar, calendar, 3)
    gaps = "[aria-labelledby=gaps-heading]"
    yield Picture("coverage-gaps", page, first=gaps, last=f"{gaps} tbody tr:nth-child(2)", zoom=0.8)
    name = WindowKeys(window, window.start.date()).name
    yield Picture("coverage-window", f"{page}/w/{name}", last="[aria-labelledby=late-heading]", zoom=0.75)
    yield Picture("coverage-verify", f"{page}/verify", zoom=0.9)


def _take(browser: Browser, site: Site, picture: Picture, path: Path) -> None:
    width = round(picture.width * picture.zoom)
    seen = open_page(browser, site, width=width, scheme=picture.scheme)
    seen.page.goto(picture.path or ".")
    seen.page.evaluate("zoom => { document.documentElement.style.zoom = zoom; }", picture.zoom)
    if picture.month_count:
        seen.page.locator(".months").evaluate(HIDE_OLD.format(count=picture.month_count))
    # The plan of one gap is open, as after a click.
    seen.page.evaluate("document.querySelector('[data-plan]')?.parentElement.setAttribute('open', '')")
    upper, lower = (seen.page.locator(one).first.bounding_box() for one in (picture.first, picture.last))
    assert upper, f"{picture.first} is on the page"
    assert lower, f"{picture.last} is on the page"
    top = max(0, upper["y"] - MARGIN)
    clip = FloatRect(x=0, y=top, width=width, height=lower["y"] + lower["height"] - top)
    seen.page.screenshot(path=path, animations="disabled", full_page=True, clip=clip)
    path.write_bytes(small(path.read_bytes()))
    seen.page.context.close()
    size_bytes = path.stat().st_size
    if seen.wrong or size_bytes > MOST_BYTES:
        raise RuntimeError(f"{path.name} has {size_bytes:,} bytes, at most {MOST_BYTES:,}; errors {seen.wrong}")
