"""How many rows are asked for before a border inside the log."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.fitting import Fitting
from airflow_audit_provider.core.ledger import Ledger
from tests.core.walking import T0, row, window

SLICE, LOG = window(0, 100), window(0, 1000)


def read_up_to(second: int, count: int) -> Ledger:
    """Return the ledger of a walk that has seen so many records up to a second after the slice's start."""
    ledger = Ledger(1)
    ledger.absorb([row(second * number / count, f"r{number}") for number in range(1, count + 1)])
    ledger.furthest = T0 + second
    return ledger


def test_the_first_page_is_full() -> None:
    """Before a row is seen, a full page is asked for."""
    assert Fitting(1000, SLICE, LOG).row_count(Ledger(1), None) == 1000


def test_the_last_page_is_as_large_as_the_rest_by_the_density_so_far() -> None:
    """Where 600 records are expected, 600 and a tenth, three deviations and three seconds' worth are asked for."""
    ledger = read_up_to(40, 400)
    assert Fitting(1000, SLICE, LOG).row_count(ledger, None) == int(660 + 3 * 600**0.5 + 30) + 1


def test_a_page_in_the_middle_is_full() -> None:
    """Where more than a page is expected, a full page is asked for."""
    assert Fitting(1000, SLICE, LOG).row_count(read_up_to(10, 1000), None) == 1000


@pytest.mark.parametrize(("page_size", "least"), [(1000, 250), (10, 3), (1, 1)])
def test_no_page_is_smaller_than_a_quarter(page_size: int, least: int) -> None:
    """A page that is to hold next to nothing is a quarter of a full one, because the density is a guess."""
    assert Fitting(page_size, SLICE, LOG).row_count(read_up_to(99, 1), None) == least


@pytest.mark.parametrize("second", [0, 100, 101])
def test_a_walk_at_an_edge_asks_for_full_pages(second: int) -> None:
    """Where no density can be told, or the border is reached, a full page is asked for."""
    assert Fitting(1000, SLICE, LOG).row_count(read_up_to(second, 3), None) == 1000


def test_the_logs_end_is_asked_for_with_full_pages() -> None:
    """Where nothing lies behind the window, no row is asked for in vain."""
    assert Fitting(1000, SLICE, SLICE).row_count(read_up_to(99, 100), None) == 1000


def test_a_cursor_is_followed_in_pages_of_one_size() -> None:
    """With a cursor a full page is asked for."""
    assert Fitting(1000, SLICE, LOG).row_count(read_up_to(99, 100), "next") == 1000
