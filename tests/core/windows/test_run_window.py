"""The window of a run: each rule, their order, and the remedy in every error."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pendulum
import pytest

from airflow_audit_provider.core.windows.run_window import (
    Bound,
    RunBounds,
    read_bound,
    resolve_run_window,
    resolve_watermark,
)
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

_HOUR = timedelta(hours=1)
_FIRST_AT = datetime(2026, 11, 1, tzinfo=UTC)
_SECOND_AT = datetime(2026, 11, 2, tzinfo=UTC)
_DAY = TimeWindow(_FIRST_AT, _SECOND_AT)
INTERVAL: dict[str, Any] = {"data_interval_start": _FIRST_AT, "data_interval_end": _SECOND_AT}
ZERO_LENGTH: dict[str, Any] = {"data_interval_start": _SECOND_AT, "data_interval_end": _SECOND_AT}
PARTITION: dict[str, Any] = {"partition_date": datetime(2026, 11, 5, tzinfo=UTC), "partition_key": "2026-11-06"}
EXPLICIT: dict[str, Any] = {"window_start": "2026-11-10", "window_end": "2026-11-11"}
RULES = ["explicit bounds", "partition", "data interval", "window length before a zero-length data interval"]


def resolve(**bounds: Any) -> tuple[str, str]:
    """Returns the rule that applied, and the window as text."""
    resolved = resolve_run_window(RunBounds(**bounds))
    return resolved.rule, str(resolved.window)


@pytest.mark.parametrize(
    ("bounds", "rule", "first_day"),
    [
        (EXPLICIT | PARTITION | INTERVAL, RULES[0], 10),
        (PARTITION | INTERVAL, RULES[1], 5),
        ({"partition_key": "2026-11-06"} | INTERVAL, RULES[1], 6),
        (INTERVAL, RULES[2], 1),
        (INTERVAL | {"window_length": _HOUR}, RULES[2], 1),
        (ZERO_LENGTH | {"window_length": timedelta(days=1)}, RULES[3], 1),
    ],
)
def test_first_rule_with_a_value_applies(bounds: dict[str, Any], rule: str, first_day: int) -> None:
    """Explicit bounds come first, then the partition, then the interval, then the length."""
    assert resolve(**bounds) == (rule, f"[2026-11-{first_day:02}T00:00:00Z, 2026-11-{first_day + 1:02}T00:00:00Z)")


@pytest.mark.parametrize("unset", [None, "", "None", " None ", "  ", "none", "null"])
def test_unset_text_is_ignored(unset: str | None) -> None:
    """A template that renders to an unset value leaves the decision to the next rule."""
    resolved = resolve(window_start=unset, window_end=unset, partition_key=unset, **INTERVAL)
    assert resolved == (RULES[2], str(_DAY))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-01", "2026-11-02"),
        ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00+00:00"),
        (" 2026-11-01T01:00:00+01:00 ", "2026-11-02 00:00:00"),
        (date(2026, 11, 1), date(2026, 11, 2)),
        (_FIRST_AT, pendulum.datetime(2026, 11, 2)),
        ("2026-11-01T00:00:00", _SECOND_AT),
    ],
)
def test_explicit_bounds_come_in_many_forms(start: Any, end: Any) -> None:
    """Texts, dates and datetimes of any type give the same window."""
    assert resolve(window_start=start, window_end=end) == (RULES[0], str(_DAY))


def test_text_without_an_offset_is_local_time() -> None:
    """A bound without offset is read in the run's time zone; one with an offset is not changed."""
    resolved = resolve(window_start="2026-11-01", window_end="2026-11-01T12:00:00Z", timezone="Europe/Berlin")
    assert resolved[1] == "[2026-10-31T23:00:00Z, 2026-11-01T12:00:00Z)"
    resolved = resolve(window_start=date(2026, 7, 1), window_end="2026-07-01 12:00", timezone="Europe/Berlin")
    assert resolved[1] == "[2026-06-30T22:00:00Z, 2026-07-01T10:00:00Z)"


@pytest.mark.parametrize("given", [{"window_start": _FIRST_AT}, {"window_end": _FIRST_AT + _HOUR}])
def test_one_bound_and_a_length_make_a_window(given: dict[str, Any]) -> None:
    """The other bound is one length away."""
    assert resolve(window_length=_HOUR, **given, **INTERVAL) == (
        RULES[0], "[2026-11-01T00:00:00Z, 2026-11-01T01:00:00Z)"
    )  # fmt: skip


def test_length_is_ignored_with_both_bounds() -> None:
    """With two bounds a length changes nothing."""
    assert resolve(window_length=_HOUR, **EXPLICIT)[1] == "[2026-11-10T00:00:00Z, 2026-11-11T00:00:00Z)"


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({}, "has no window.*CronDataIntervalTimetable.*window_start and window_end"),
        ({"window_length": _HOUR}, "has no window.*Trigger the run with a logical date, or give window_start"),
        ({"data_interval_start": _FIRST_AT}, "has no window"),
        ({"data_interval_end": _FIRST_AT, "window_length": _HOUR}, "has no window.*with a logical date"),
        (ZERO_LENGTH, 'no length.*@daily.*CronTriggerTimetable.*empty day.*set window_length on the operator'),
        ({"window_start": "2026-11-01"} | INTERVAL, "Only window_start is given. Give the other bound"),
        ({"window_end": "2026-11-01"} | INTERVAL, "Only window_end is given. Give the other bound"),
        ({"window_start": "soon", "window_end": "later"}, "window_start 'soon' is not a date or a time.*RFC 3339"),
        ({"window_start": "2026-11-01", "window_end": "P1D"}, "window_end 'P1D' is not a date or a time.*RFC 3339"),
        ({"window_start": 20261101, "window_end": "2026-11-02"}, "window_start is 20261101. Give a datetime"),
        ({"window_start": "2026-02-30", "window_end": "2026-03-01"}, "'2026-02-30' is not a date"),
        ({"window_start": "2026-11-02", "window_end": "2026-11-01"}, "not after its start"),
        ({"window_start": "2026-11-02", "window_end": "2026-11-02"}, "half-open"),
        ({"window_start": datetime(2026, 11, 1), "window_end": _SECOND_AT}, "has no time zone"),  # noqa: DTZ001  # no zone on purpose
        ({"data_interval_start": _SECOND_AT, "data_interval_end": _FIRST_AT}, "not after its start"),
        ({"partition_key": "06.11.2026"}, "does not have the format '%Y-%m-%d'.*Use keys of that format"),
        ({"timezone": "Europe/Atlantis"} | INTERVAL, "no time zone 'Europe/Atlantis'.*IANA"),
        ({"timezone": ""} | INTERVAL, "no time zone ''"),
        ({"window_length": timedelta(0)} | INTERVAL, "longer than zero"),
        ({"window_length": -_HOUR} | INTERVAL, "longer than zero"),
    ],
)  # fmt: skip
def test_run_without_a_window_is_an_error_with_a_fix(bounds: dict[str, Any], words: str) -> None:
    """No window is guessed, and each error ends in what to do."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        resolve(**bounds)
    assert str(caught.value).endswith((".", ")."))


# Airflow gives a run with a logical date this data interval: CronDataIntervalTimetable the former, others the latter.
_WITH_LOGICAL_DATE, _WITH_LOGICAL_DATE_ZERO_LENGTH = INTERVAL, ZERO_LENGTH
_BOTH_BOUNDS = {"window_start": "2026-11-01", "window_end": "2026-11-02"}


@pytest.mark.parametrize(
    ("bounds", "remedies"),
    [
        ({}, [_WITH_LOGICAL_DATE, _WITH_LOGICAL_DATE_ZERO_LENGTH | {"window_length": _HOUR}, _BOTH_BOUNDS]),
        ({"window_length": _HOUR}, [_WITH_LOGICAL_DATE, _WITH_LOGICAL_DATE_ZERO_LENGTH, _BOTH_BOUNDS]),
        (ZERO_LENGTH, [INTERVAL, {"window_length": _HOUR}, _BOTH_BOUNDS]),
        ({"window_start": "2026-11-01"}, [{"window_end": "2026-11-02"}, {"window_length": _HOUR}]),
        ({"partition_key": "06.11.2026"}, [
            {"partition_key": "2026-11-06"}, {"partition_key_format": "%d.%m.%Y"}, _BOTH_BOUNDS,
        ]),
        ({"partition_date": datetime(2026, 11, 1, 23, tzinfo=UTC)}, [
            {"timezone": "Europe/Berlin"} | {"partition_date": datetime(2026, 11, 1, 23, tzinfo=UTC)},
            {"window_length": _HOUR},
        ]),
    ],
)  # fmt: skip
def test_each_remedy_gives_the_run_a_window(bounds: dict[str, Any], remedies: list[dict[str, Any]]) -> None:
    """A run without a window fails, and with any one remedy that its message names it has a window."""
    with pytest.raises(ConfigurationError):
        resolve(**bounds)
    for remedy in remedies:
        assert resolve(**{**bounds, **remedy})[0] in RULES


def test_a_length_is_not_advised_to_a_run_that_has_one() -> None:
    """The error of an operator that has a ``window_length`` does not advise to set it."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(window_length=_HOUR)
    assert "window_length" not in caught.value.message
    assert "logical date" in caught.value.message


@pytest.mark.parametrize(
    ("key", "key_format", "window"),
    [
        ("2026-11-06", "%Y-%m-%d", "[2026-11-06T00:00:00Z, 2026-11-07T00:00:00Z)"),
        (" 2026-11-06 ", "%Y-%m-%d", "[2026-11-06T00:00:00Z, 2026-11-07T00:00:00Z)"),
        ("20261106", "%Y%m%d", "[2026-11-06T00:00:00Z, 2026-11-07T00:00:00Z)"),
        ("2026-11-06T01:00:00+0100", "%Y-%m-%dT%H:%M:%S%z", "[2026-11-06T00:00:00Z, 2026-11-07T00:00:00Z)"),
        ("day 6 of 11/26", "day %d of %m/%y", "[2026-11-06T00:00:00Z, 2026-11-07T00:00:00Z)"),
    ],
)
def test_a_partition_key_is_read_by_its_format(key: str, key_format: str, window: str) -> None:
    """A key alone is a day, in the run's time zone unless it has its own."""
    assert resolve(partition_key=key, partition_key_format=key_format) == (RULES[1], window)


def test_partition_with_a_length_starts_at_its_date() -> None:
    """With a length a partition starts at its date and is that long."""
    assert resolve(**PARTITION, window_length=_HOUR)[1] == "[2026-11-05T00:00:00Z, 2026-11-05T01:00:00Z)"


@pytest.mark.parametrize(
    ("length", "end", "window"),
    [
        (timedelta(days=1), "2026-11-02T00:00", "[2026-11-01T00:00:00Z, 2026-11-02T00:00:00Z)"),
        (timedelta(days=1), "2026-11-02T06:30", "[2026-11-01T00:00:00Z, 2026-11-02T00:00:00Z)"),
        (timedelta(days=1), "2026-11-02T23:59:59.999999", "[2026-11-01T00:00:00Z, 2026-11-02T00:00:00Z)"),
        (timedelta(days=2), "2026-11-03T00:00", "[2026-11-01T00:00:00Z, 2026-11-03T00:00:00Z)"),
    ],
)
def test_zero_length_interval_gives_the_days_before_its_midnight(length: timedelta, end: str, window: str) -> None:
    """Whole days end at the last midnight, so that late runs have the same window as punctual ones."""
    end_at = pendulum.parse(end)
    resolved = resolve(window_length=length, data_interval_start=end_at, data_interval_end=end_at)
    assert resolved == (RULES[3], window)


def test_any_type_of_datetime_gives_the_same_window() -> None:
    """Airflow's pendulum instants and plain datetimes give equal windows."""
    plain = resolve_run_window(RunBounds(**INTERVAL))
    pendular = resolve_run_window(
        RunBounds(
            data_interval_start=pendulum.datetime(2026, 11, 1, 1, tz="Europe/Berlin"),
            data_interval_end=pendulum.instance(_SECOND_AT),
        )
    )
    assert plain == pendular
    assert type(pendular.window.start) is datetime


@pytest.mark.parametrize(
    ("timezone", "partition_date"),
    [("UTC", date(2026, 11, 1)), ("Asia/Tokyo", date(2026, 11, 1)), ("America/New_York", date(2026, 10, 31))],
)
def test_partition_date_is_the_local_date(timezone: str, partition_date: date) -> None:
    """The partition date is the date of the window's start in the run's time zone."""
    assert resolve_run_window(RunBounds(timezone=timezone, **INTERVAL)).partition_date == partition_date


def test_watermark_is_given_or_the_start_of_the_interval() -> None:
    """``since`` comes first, then the run's interval; without either the error names the remedy."""
    assert resolve_watermark("2026-11-01", _SECOND_AT, "UTC") == _FIRST_AT
    assert resolve_watermark("2026-11-01T01:00", None, "Europe/Berlin") == _FIRST_AT
    assert resolve_watermark("", _SECOND_AT, "UTC") == _SECOND_AT
    with pytest.raises(ConfigurationError, match="Set the argument since"):
        resolve_watermark(None, None, "UTC")
    with pytest.raises(ConfigurationError, match="since 'x' is not a date"):
        resolve_watermark("x", _SECOND_AT, "UTC")


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (None, None),
        ("", None),
        ("None", None),
        ("2026-11-01", _FIRST_AT),
        ("2026-11-01T01:00:00+01:00", _FIRST_AT),
        (date(2026, 11, 1), _FIRST_AT),
        (pendulum.datetime(2026, 11, 1, 1, tz="Europe/Berlin"), _FIRST_AT),
    ],
)
def test_a_bound_of_a_range_is_in_utc(bound: Bound, expected: datetime | None) -> None:
    """Dates and texts without offset are in UTC, other zones are converted, and an unset bound stays unset."""
    found = read_bound("start", bound)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("bound", ["soon", _FIRST_AT.replace(tzinfo=None)])
def test_invalid_bound_is_an_error_with_its_name(bound: Bound) -> None:
    """A text that is no instant and a time without a zone are errors with the argument's name."""
    with pytest.raises(ConfigurationError, match=r"^start ") as caught:
        read_bound("start", bound)
    assert str(caught.value).endswith(".")
