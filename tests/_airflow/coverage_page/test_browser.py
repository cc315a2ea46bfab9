"""The page in a real browser: colours, keys, hostile texts, small screens, and what is wrong with a destination."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from airflow_audit_provider.core.archive.object_keys import WindowKeys
from tests._airflow.coverage_page import histories
from tests._airflow.coverage_page.browser import chromium, open_page
from tests._airflow.coverage_page.site import Site, page_of, serve, write
from tools.servers import axe_script

pytestmark = pytest.mark.integration
STATES = (
    "damaged",
    "missing",
    "lost",
    "foreign",
    "late.unverified",
    "committed.unverified",
    "empty.unverified",
    "pending",
)
VERIFIED = ".committed:not(.unverified)"
LOOK = "element => { const look = getComputedStyle(element); return [look.backgroundColor, look.backgroundImage]; }"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all destinations."""
    folder = tmp_path_factory.mktemp("landed")
    write(folder / "states", histories.every_state().items())
    write(folder / "hostile", histories.hostile().items())
    write(folder / "stitched", histories.stitched().items())
    write(folder / "damaged", histories.damaged(10_000).items())
    (folder / "file").write_text("no folder")
    return folder


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page of all destinations."""
    folders = [root / name for name in ("states", "hostile", "damaged", "file", "stitched")]
    with serve(tmp_path_factory.mktemp("home"), folders) as served:
        yield served


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """The browser."""
    with chromium() as started:
        yield started


def test_each_state_has_colour_and_pattern_of_its_own(site: Site, root: Path, chrome: Browser) -> None:
    """No two states look alike, and no two of the same colour differ in nothing but the volume."""
    seen = open_page(chrome, site)
    seen.page.goto(page_of(root / "states"))
    kinds = [*(f".{state}" for state in STATES), VERIFIED]
    looks = [tuple(seen.page.locator(f".cell{kind}").first.evaluate(LOOK)) for kind in kinds]
    assert len(set(looks)) == len(kinds)
    # The dot of the ones that are not verified lies on the pattern of their state, if it has one.
    assert [kind for kind, (_, patterns) in zip(kinds, looks, strict=True) if patterns.startswith("radial")] == [
        kind for kind in kinds if kind.endswith(".unverified")
    ]
    assert len({pattern for _, pattern in looks}) >= len(kinds) - 1
    assert not seen.wrong


def test_calendar_with_keyboard_shows_figures_and_hours(site: Site, root: Path, chrome: Browser) -> None:
    """Tab reaches the calendar once, arrows move by days and weeks, and Enter opens the hours of the day."""
    seen = open_page(chrome, site)
    page = seen.page
    page.goto(page_of(root / "states"))
    cells = page.locator(".months .cell")
    assert page.locator(".months .cell[tabindex='0']").count() == 1
    cells.last.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    day = (histories.today() - 6 * histories.DAY).date()
    expect(page.locator("#tip")).to_have_text(cells.nth(cells.count() - 7).get_attribute("aria-label") or "")
    expect(page.locator("#tip")).to_contain_text(f"{day}: extended by late records, not verified. 1 window")
    page.keyboard.press("Enter")
    expect(page.locator("#day h2")).to_have_text(str(day))
    assert page.locator("#day .hours .cell").count() == 24
    assert not seen.wrong


@pytest.mark.parametrize(
    ("path", "least"),
    [("", 1), ("{page}", 1), ("{page}?day={day}", 1), ("{page}/w/{name}", 7), ("{page}/verify", 0)],
)
def test_page_of_hostile_manifests_runs_nothing_and_shows_texts(
    site: Site, root: Path, chrome: Browser, path: str, least: int
) -> None:
    """HTML is text, and a mark that turns text around is an escape."""
    seen = open_page(chrome, site)
    (window,) = histories.day_windows(3, 1)
    day, name = window.start.date(), WindowKeys(window, window.start.date()).name
    seen.page.goto(path.format(page=page_of(root / "hostile"), day=day, name=name) or ".")
    count = seen.page.locator("main").inner_text().count("<script>alert(2)</script>{{ 7*7 }}")
    assert count >= least
    assert "\u202e" not in seen.page.content()
    assert seen.page.locator("main img, main script").count() == 0
    assert not seen.wrong


def test_window_page_is_reached_from_day_and_shows_generations(site: Site, root: Path, chrome: Browser) -> None:
    """A day leads to its window, which names the late record and both generations."""
    seen = open_page(chrome, site)
    day = (histories.today() - 6 * histories.DAY).date()
    seen.page.goto(f"{page_of(root / 'states')}?day={day}")
    seen.page.locator("#day table a").click()
    expect(seen.page.locator("h1")).to_have_text(str(day))
    expect(seen.page.locator(".timeline li")).to_have_count(2)
    expect(seen.page.locator(".ids")).to_have_text("late-1")
    seen.page.get_by_role("link", name="see the verifications").click()
    expect(seen.page.locator("h1")).to_have_text("Verifications and seals")
    assert not seen.wrong


def test_copy_button_copies_command_of_its_gap(site: Site, root: Path, chrome: Browser) -> None:
    """The command that is copied backfills the days of the gap."""
    seen = open_page(chrome, site)
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.goto(page_of(root / "states"))
    first, last = ((histories.today() - ago * histories.DAY).date() for ago in (22, 20))
    row = seen.page.get_by_role("row").filter(has_text=f"--from-date {first} --to-date {last}")
    # A viewer may not start anything.
    assert seen.page.get_by_role("button", name="Start").count() == 0
    row.get_by_role("button").click()
    expect(row.get_by_role("button")).to_have_text("Copied")
    assert seen.page.evaluate("navigator.clipboard.readText()") == row.locator("code").inner_text()
    assert not seen.wrong


def test_backfill_that_airflow_refuses_shows_its_answer(site: Site, root: Path, chrome: Browser) -> None:
    """The plan is shown, nothing can be started before Airflow has said what it would do, and axe finds nothing."""
    seen = open_page(chrome, site, role="operator")
    seen.page.goto(page_of(root / "states"))
    seen.page.get_by_role("button", name="Start the backfill of the gap from").last.click()
    expect(seen.page.locator("#plan-needs li").first).to_have_text(re.compile("It fetches 1 window of 1 day"))
    expect(seen.page.locator("#plan-needs")).to_contain_text("The first window can be read until")
    # This server has no API of Airflow.
    expect(seen.page.locator("#plan-words")).to_contain_text("Airflow refuses it (status 404): Not Found")
    expect(seen.page.locator("#plan-start")).to_be_hidden()
    seen.page.evaluate(axe_script().read_text())
    assert seen.page.evaluate("axe.run(document).then(found => found.violations.map(one => one.id))") == []
    seen.page.get_by_role("button", name="Close").click()
    expect(seen.page.locator("#plan")).to_be_hidden()


def test_plan_that_is_answered_late_does_not_replace_that_of_another_gap(
    site: Site, root: Path, chrome: Browser
) -> None:
    """The dialog shows the runs of the gap that its button would fill, whichever answer of Airflow comes last."""
    seen, held = open_page(chrome, site, role="operator"), list[Route]()

    def answer(route: Route) -> None:
        held.append(route)
        if len(held) == 2:
            route.fulfill(json={"backfills": [{"logical_date": "of the second gap"}]})

    page = seen.page
    page.route("**/api/v2/backfills/dry_run", answer)
    page.goto(page_of(root / "states"))
    buttons = page.get_by_role("button", name="Start the backfill of the gap from")
    buttons.first.click()
    page.get_by_role("button", name="Close").click()
    buttons.last.click()
    expect(page.locator("#plan-runs")).to_have_text("of the second gap")
    with page.expect_response("**/dry_run"):
        held[0].fulfill(json={"backfills": [{"logical_date": "of the first gap"}]})
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    expect(page.locator("#plan-runs")).to_have_text("of the second gap")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_page_fits_width_of_screen(site: Site, root: Path, chrome: Browser, width: int, scheme: str) -> None:
    """Only tables scroll sideways, and the background follows the scheme."""
    seen = open_page(chrome, site, width=width, scheme=scheme)
    seen.page.goto(f"{page_of(root / 'states')}?day={(histories.today() - 6 * histories.DAY).date()}")
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    lightness = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert lightness == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 28)")
    assert not seen.wrong


def test_list_with_destination_that_is_no_folder_shows_the_others(site: Site, root: Path, chrome: Browser) -> None:
    """One destination that cannot be read does not hide the others."""
    seen = open_page(chrome, site)
    seen.page.goto(".")
    assert seen.page.locator(".card").count() == 5
    expect(seen.page.get_by_text("10,000", exact=True)).to_be_visible()
    assert not seen.wrong


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 400),
        ("dark", 1280),
        pytest.param("light", 1280, marks=pytest.mark.nightly),
        pytest.param("dark", 400, marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize(
    "path", ["", "{page}?day={day}", "{page}/w/{name}", "{page}/verify", "{stitched}", "d/unknown"]
)
def test_page_has_no_violation_that_axe_finds(
    site: Site, root: Path, chrome: Browser, path: str, scheme: str, width: int
) -> None:
    """Names, roles, contrast and structure are as people with a screen reader or weak eyes need them."""
    (window,) = histories.day_windows(6, 1)
    name = WindowKeys(window, window.start.date()).name
    seen = open_page(chrome, site, width=width, scheme=scheme)
    pages = {"page": page_of(root / "states"), "stitched": page_of(root / "stitched")}
    seen.page.goto(path.format(**pages, day=window.start.date(), name=name) or ".")
    seen.page.evaluate(axe_script().read_text())
    found = seen.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 10
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    assert [(one["id"], [node["html"] for node in one["nodes"][:3]]) for one in found["violations"]] == []
