"""A report in a real browser: it runs and fetches nothing, is readable in each scheme, and prints as PDF."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from airflow_audit_provider.cli.__main__ import main
from tests._airflow.coverage_page import histories
from tests._airflow.coverage_page.browser import chromium
from tests._airflow.coverage_page.site import write
from tools.servers import axe_script

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of a history with each state, and of one with hostile texts."""
    found = tmp_path_factory.mktemp("reports")
    for name, objects in (("states", histories.every_state()), ("hostile", histories.hostile())):
        write(found / name, objects.items())
        assert main(["report", str(found / name), "--out", str(found / f"{name}.html")]) == 1
    return found


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """The browser."""
    with chromium() as started:
        yield started


def opened(browser: Browser, path: Path, *, width: int = 1280, scheme: str = "light") -> tuple[Page, list[str]]:
    """Opens a report; returns its page, and what it did beside showing itself."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page, wrong = context.new_page(), list[str]()
    page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda asked: wrong.append(asked.url) if asked.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page, wrong


def test_report_of_hostile_manifests_runs_and_fetches_nothing(folder: Path, chrome: Browser) -> None:
    """HTML is text in the browser, and no policy of the report is violated."""
    page, wrong = opened(chrome, folder / "hostile.html")
    assert "<script>alert(2)</script>{{ 7*7 }}" in page.locator("main").inner_text()
    assert page.locator("img, script, a, form, iframe").count() == 0
    assert not wrong


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (400, "light"),
        (1280, "dark"),
        pytest.param(1280, "light", marks=pytest.mark.nightly),
        pytest.param(400, "dark", marks=pytest.mark.nightly),
    ],
)
def test_report_is_readable_in_each_scheme_and_width(folder: Path, chrome: Browser, width: int, scheme: str) -> None:
    """The style is used, only tables scroll sideways, and axe finds no violation."""
    page, wrong = opened(chrome, folder / "states.html", width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    lightness = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert lightness == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 28)")
    page.evaluate(axe_script().read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [(one["id"], [node["html"] for node in one["nodes"][:3]]) for one in found["violations"]] == []
    assert not wrong


def test_pdf_is_printed_by_the_browser_of_the_machine(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that ends in .pdf gives a PDF of several pages; without a browser the error says what to do."""
    arguments = ["report", str(folder / "states"), "--out", str(tmp_path / "report.pdf")]
    assert main(arguments) == 1
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) > 1
    monkeypatch.setenv("PATH", str(tmp_path))
    capsys.readouterr()
    assert main(arguments) == 2
    assert "Install chromium, or write a file that ends in .html" in capsys.readouterr().err
    assert (tmp_path / "report.pdf").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["report.pdf"]


def test_browser_that_prints_nothing_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A browser that fails leaves no file, and the error has its exit status, its words and the remedy."""
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho no display >&2\nexit 21\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert main(["report", str(folder / "states"), "--out", str(tmp_path / "report.pdf")]) == 2
    said = capsys.readouterr().err
    assert "exit status 21: no display" in said
    assert "Write a file that ends in .html" in said
    assert not (tmp_path / "report.pdf").exists()
