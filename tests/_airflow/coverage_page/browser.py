"""Opens the coverage page in the system's Chromium as a user with a session.

Invariant: each page records what it must not do: dialogs, errors of a script, and requests to another host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, sync_playwright

from harness.chromium import OPTIONS, browser_path
from tests._airflow.coverage_page.site import Site


@dataclass
class Seen:
    """A page, and what it did that it must not do."""

    page: Page
    host: str
    wrong: list[str] = field(default_factory=list)

    def dialog(self, dialog: Dialog) -> None:
        """Notes a dialog and closes it."""
        self.wrong.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def console(self, said: ConsoleMessage) -> None:
        """Notes an error; browsers ask each host for an icon, which this one does not have."""
        if said.type == "error" and not said.location["url"].endswith("/favicon.ico"):
            self.wrong.append(said.text)

    def request(self, asked: Request) -> None:
        """Notes a request to another host."""
        if urlsplit(asked.url).netloc != self.host:
            self.wrong.append(asked.url)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Starts the browser."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path(), headless=True, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Browser, site: Site, *, width: int = 1280, scheme: str = "light", role: str = "viewer") -> Seen:
    """Opens an empty page with the session of a role."""
    context = browser.new_context(
        base_url=site.address,
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    context.add_cookies([{"name": "_token", "value": site.tokens[role], "url": site.address}])
    context.set_default_timeout(120_000)
    seen = Seen(context.new_page(), urlsplit(site.address).netloc)
    # A dialog without a listener would be dismissed unseen.
    seen.page.on("dialog", seen.dialog)
    seen.page.on("pageerror", lambda error: seen.wrong.append(f"error {error}"))
    seen.page.on("console", seen.console)
    seen.page.on("request", seen.request)
    return seen
