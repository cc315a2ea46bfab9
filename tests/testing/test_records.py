"""Tests that generated records are deterministic and realistic, and include boundary cases."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from statistics import mean
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.testing.dataset import Dataset, row_of
from airflow_audit_provider.testing.instants import day_number, day_start
from airflow_audit_provider.testing.records import Feed, Row
from airflow_audit_provider.testing.settings import ACCOUNT_ID, ORGANIZATION_ID, Settings

MONDAY = day_number(date(2026, 10, 26))
FEEDS = [
    Feed("v1", f"accounts/{ACCOUNT_ID}"),
    Feed("v1", "user"),
    Feed("v2", f"accounts/{ACCOUNT_ID}"),
    Feed("v2", f"organizations/{ORGANIZATION_ID}"),
]
ALL_FEEDS = pytest.mark.parametrize("feed", FEEDS, ids=str)
DIGEST_OF_A_DAY = """
import hashlib
from airflow_audit_provider.testing.dataset import Dataset
from airflow_audit_provider.testing.records import Feed
from airflow_audit_provider.testing.settings import Settings
rows = Dataset(Settings(seed=7)).rows(Feed("{0.version}", "{0.scope}"), {1})
print(hashlib.sha256(b"".join(row.raw for row in rows)).hexdigest())
"""


def _rows(feed: Feed, day: int = MONDAY, **settings: Any) -> tuple[Row, ...]:
    return Dataset(Settings(**settings)).rows(feed, day)


@ALL_FEEDS
def test_row_has_time_and_id_of_its_json(feed: Feed) -> None:
    """A row's time and id are those of its JSON; rows are sorted, unique and of their day."""
    rows = _rows(feed)
    assert [row_of(row.raw) for row in rows] == list(rows)
    assert list(rows) == sorted(rows)
    assert len({row.id for row in rows}) == len(rows) > 500
    assert all(day_start(MONDAY) <= row.time_ns < day_start(MONDAY + 1) for row in rows)
    assert 600 < mean(len(row.raw) for row in rows) < 1100


@pytest.mark.integration
def test_another_interpreter_makes_the_same_bytes() -> None:
    """Another interpreter with another hash seed generates the same bytes."""
    script = DIGEST_OF_A_DAY.format(FEEDS[0], MONDAY)
    here = {
        subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                       capture_output=True, text=True, check=True).stdout
        for seed in ("0", "4711")
    }  # fmt: skip
    assert len(here) == 1
    assert len(here.pop()) == 65


def test_seeds_feeds_and_days_differ() -> None:
    """Another seed, version, scope or day is another set of ids."""
    sets = [{row.id for row in _rows(feed)} for feed in FEEDS]
    sets += [{row.id for row in _rows(FEEDS[0], seed=2)}, {row.id for row in _rows(FEEDS[0], MONDAY + 1)}]
    assert len(set().union(*sets)) == sum(map(len, sets))


@ALL_FEEDS
def test_edges_and_ties(feed: Feed) -> None:
    """Each day has records at its midnight, a millisecond either side of it, and several ties."""
    rows = _rows(feed)
    start = day_start(MONDAY)
    times = [row.time_ns for row in rows]
    assert {start, start + 1_000_000, start + 86_399_999_000_000} <= set(times)
    assert max(Counter(times).values()) > 1
    assert sum(count > 1 for count in Counter(time // 10**9 for time in times).values()) > 50


def test_version_1_records_have_realistic_irregularities() -> None:
    """Fractions of none, 3, 5 and 6 digits, empty interfaces, missing fields, unknown ones, text of all kinds."""
    rows = _rows(FEEDS[0])
    records = [msgspec.json.decode(row.raw) for row in rows]
    assert {len(record["when"].removesuffix("Z").partition(".")[2]) for record in records} == {0, 3, 5, 6}
    assert {record["interface"] for record in records} == {"UI", "API", ""}
    assert {"null", ""} <= {record["newValue"] for record in records}
    assert {"user", "system"} <= {record["actor"]["type"] for record in records}
    assert any("owner" not in record for record in records)
    assert any("x_future" in record for record in records)
    assert any("result" not in record["action"] for record in records)
    assert any("info" in record["action"] for record in records)
    assert any("email" not in record["actor"] for record in records)
    assert any("newValueJson" in record for record in records)
    assert any(not row.raw.isascii() for row in rows)
    assert any(b"\\u00fc" in row.raw for row in rows)


def test_version_2_records_have_every_documented_part() -> None:
    """Every part of the documented record occurs, and resource.scope is a string here and an object there."""
    records = [msgspec.json.decode(row.raw) for row in _rows(FEEDS[2])]
    assert {"id", "account", "action", "actor", "raw", "resource"} <= set(records[0])
    assert any("zone" in record for record in records)
    assert any("zone" not in record for record in records)
    assert {type(record["resource"]["scope"]) for record in records} == {str, dict}
    assert any("token_name" in record["actor"] for record in records)
    assert {record["action"]["result"] for record in records} == {"success", "failure"}
    of_organization = msgspec.json.decode(_rows(FEEDS[3])[0].raw)
    assert "organization" in of_organization
    assert not {"account", "zone"} & set(of_organization)


def test_days_have_a_daily_and_weekly_pattern() -> None:
    """Weekends have few records, office hours many, and the mean is as configured."""
    dataset = Dataset(Settings())
    counts = {day: dataset.count(FEEDS[0], day) for day in range(MONDAY, MONDAY + 56 * 7)}
    sundays = [count for day, count in counts.items() if (day - MONDAY) % 7 == 6]
    mondays = [count for day, count in counts.items() if (day - MONDAY) % 7 == 0]
    assert sundays.count(0) == 7
    assert 0 < max(sundays) < mean(mondays)
    assert 1200 < mean(counts.values()) < 1800
    hours = Counter(row.time_ns // 3_600_000_000_000 % 24 for row in _rows(FEEDS[0]))
    assert hours[10] > 3 * hours[23]


@pytest.mark.integration
def test_count_of_a_day_generates_no_records() -> None:
    """Returns the number of rows of a day without generating them."""
    dataset = Dataset(Settings())
    for day in range(MONDAY, MONDAY + 8):
        assert dataset.count(FEEDS[2], day) == len(dataset.rows(FEEDS[2], day))
    even = Dataset(Settings(records_per_day=123, even_days=True))
    assert {len(even.rows(FEEDS[0], day)) for day in range(MONDAY, MONDAY + 8)} == {123}


def test_memory_is_bounded() -> None:
    """Drops days beyond the memory limit and generates them again unchanged."""
    dataset = Dataset(Settings(records_per_day=50, even_days=True, cache_bytes=100_000))
    first = dataset.rows(FEEDS[0], MONDAY)
    for day in range(MONDAY, MONDAY + 20):
        dataset.rows(FEEDS[0], day)
    assert len(dataset._days) < 5
    again = dataset.rows(FEEDS[0], MONDAY)
    assert again == first
    assert again is not first


@pytest.mark.integration
def test_version_2_may_start_late() -> None:
    """Before version 2's first day it holds nothing, and version 1 does."""
    dataset = Dataset(Settings(v2_starts_on=date(2026, 10, 26)))
    assert dataset.rows(FEEDS[2], MONDAY - 1) == () != dataset.rows(FEEDS[2], MONDAY)
    assert dataset.rows(FEEDS[0], MONDAY - 3)


def test_dates_and_numbers_agree() -> None:
    """A day's number counts from 1970."""
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=MONDAY) == datetime(2026, 10, 26, tzinfo=UTC)
