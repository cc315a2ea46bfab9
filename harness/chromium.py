"""Finds the system's Chromium, and opens pages of an Airflow in it.

Invariant: the browser ends with the `with` block, and every wait on its pages has a deadline.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

WITHIN_MS = 120_000
NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def find_browser() -> str | None:
    """Returns the path of the system's Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def browser_path() -> str:
    """Returns the path of the system's Chromium; raises FileNotFoundError."""
    found = find_browser()
    if found is None:
        raise FileNotFoundError("There is no browser on the PATH. tools/system-packages installs one.")
    return found


@contextmanager
def browse(base_url: str, *, width: int = 1400, height: int = 2000) -> Iterator[Page]:
    """Opens a page of Airflow in the system's Chromium, with the session of a user; raises FileNotFoundError."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path(), headless=True, args=OPTIONS)
        try:
            page = browser.new_page(base_url=base_url, viewport={"width": width, "height": height})
            page.set_default_timeout(WITHIN_MS)
            # Airflow 3.1 asks for a login although everybody is an administrator; this is where its page leads.
            page.goto("/auth/token/login")
            yield page
        finally:
            browser.close()
