"""Tests of the campaign: a small part of it in every run, all of it in the nightly one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.__main__ import described
from tests.campaign.campaign import (
    MOST_LOUD_SHARE,
    Campaign,
    Cell,
    has_one_second,
    is_failure,
    run_campaign,
    run_cell,
)
from tests.campaign.http_host import HttpHost, running_host
from tests.campaign.lies import HONEST, LIES
from tests.campaign.page import PAGE, figures_on_page, with_figures
from tests.campaign.windows import DEFAULT_SEED, MODES, Outcome, Result, WindowName, run_window

pytestmark = pytest.mark.integration

KEPT = [
    line.split()
    for line in Path(__file__).with_name("kept_windows.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
REPLICAS = ("lagging-replica", "random-replica", "replica-catches-up")
# Cells of the page that every run checks; each takes about a second.
CHECKED_CELLS = (
    Cell("first-answer-empty", "v1", "plain"),
    Cell("missing-row", "v2", "plain"),
    Cell("duplicates", "v1", "plain"),
    Cell("one-sided-row", "v2", "recount"),
)


@pytest.fixture(scope="module")
def host() -> Iterator[HttpHost]:
    """The HTTP server of all windows."""
    with running_host() as running:
        yield running


def check(result: Result) -> None:
    """Asserts that a result may be; the message has the command that repeats it."""
    assert not is_failure(result), "\n".join(described(result, DEFAULT_SEED))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_window_of_the_honest_server_lands_exactly(version: str, host: HttpHost) -> None:
    """No window of the honest server differs, whatever it may do within the documentation."""
    for number in range(12):
        check(run_window(WindowName(HONEST, version, number, "plain"), host))


@pytest.mark.parametrize("lie", LIES)
def test_lie_neither_hangs_a_pull_nor_breaks_it(lie: str, host: HttpHost) -> None:
    """A window of each lie ends, exactly or with an error of the provider."""
    for version in LIES[lie].versions:
        check(run_window(WindowName(lie, version, 0, "plain"), host))


@pytest.mark.parametrize(("seed", "window", "outcome"), KEPT, ids=[f"{seed} {window}" for seed, window, _ in KEPT])
def test_kept_window_ends_as_it_has_to(seed: str, window: str, outcome: str, host: HttpHost) -> None:
    """A window that once showed a fault stays right."""
    result = run_window(WindowName.parse(window), host, int(seed))
    assert result.outcome == outcome, "\n".join(described(result, int(seed)))


@pytest.mark.parametrize("cell", CHECKED_CELLS, ids=["/".join(cell) for cell in CHECKED_CELLS])
def test_page_has_the_figures_of_the_campaign(cell: Cell, host: HttpHost) -> None:
    """A cell of the table is what its windows give today."""
    campaign = Campaign()
    run_cell(campaign, cell, host, check)
    assert figures_on_page(PAGE.read_text(encoding="utf-8"))[cell] == str(campaign.tallies[cell])


def test_page_has_a_row_for_every_lie() -> None:
    """No lie is left out of the table."""
    figures = figures_on_page(PAGE.read_text(encoding="utf-8"))
    wanted = {Cell(lie, version, mode) for lie, kind in LIES.items() for version in kind.versions for mode in MODES}
    assert figures.keys() == wanted


def test_sentence_about_replicas_states_the_sums_of_the_table() -> None:
    """The text below the table counts the windows with the outcome *different* as the table does."""
    page = PAGE.read_text(encoding="utf-8")
    figures = {cell: cell_text for cell, cell_text in figures_on_page(page).items() if cell.lie in REPLICAS}
    sums = {
        mode: sum(int(text.split(" / ")[2].split()[0]) for cell, text in figures.items() if cell.mode == mode)
        for mode in MODES
    }
    stated = re.search(
        r"missing in (\d+) of 54 windows without verification, in (\d+) with `edges`, and in (\d+) with `recount`",
        " ".join(page.split()),
    )
    assert stated is not None
    assert {"plain": int(stated[1]), "edges": int(stated[2]), "recount": int(stated[3])} == sums


def test_silent_difference_on_the_honest_server_is_a_failure() -> None:
    """A result that must not be fails the campaign, and its report names the command that repeats it."""
    name = WindowName(HONEST, "v1", 3, "plain")
    result = Result(name, Outcome.SILENT, "", None, 1, 1, took_effect=False, was_killed=False)
    campaign = Campaign()
    campaign.add(result)
    assert (campaign.is_passed, campaign.failures) == (False, [result])
    assert "python -m tests.campaign --seed 14 honest/v1/3/plain" in "\n".join(described(result, 14))


def test_unjustified_error_on_the_honest_server_is_a_failure() -> None:
    """An error on the honest server passes only in a window where nothing better is possible."""
    error = "SourceProtocolError: the end lies within one crowded second, and the API returned no cursor."
    alone = next(number for number in range(500) if has_one_second(WindowName(HONEST, "v2", number, "plain")))
    names = (WindowName(HONEST, "v2", alone, "plain"), WindowName(HONEST, "v2", alone + 1, "plain"))
    for name, text, is_wrong in ((names[0], error, False), (names[1], error, True), (names[0], "new", True)):
        result = Result(name, Outcome.LOUD, text, None, 1, 1, took_effect=False, was_killed=False)
        assert is_failure(result) is is_wrong


@pytest.mark.nightly
def test_whole_campaign_passes_and_is_what_the_page_says(host: HttpHost) -> None:
    """2,000 windows and more: nothing silent on the honest server, few errors, and the figures of the page."""
    campaign = run_campaign(host, lambda result: None)
    failures = [line for result in campaign.failures for line in described(result, campaign.seed)]
    assert not failures, "\n".join(failures)
    assert campaign.window_count >= 2000
    assert campaign.honest_share(Outcome.LOUD) <= MOST_LOUD_SHARE
    page = PAGE.read_text(encoding="utf-8")
    assert with_figures(page, campaign) == page, "Run: python -m tests.campaign --write"
