"""Windows are half-open ranges in UTC, made of any type of aware datetime."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.windows.window import (
    SECOND_NS,
    TimeWindow,
    format_instant,
    format_ns,
    format_second,
    from_seconds,
    second_of,
    to_ns,
)
from airflow_audit_provider.exceptions import ConfigurationError
from tests.hypothesis_profiles import examples

_START_AT = datetime(2026, 11, 1, tzinfo=UTC)
_DAY = TimeWindow(_START_AT, _START_AT + timedelta(days=1))


@pytest.mark.parametrize(
    ("instant_ns", "is_inside"),
    [
        (_DAY.start_ns - 1, False),
        (_DAY.start_ns, True),
        (_DAY.start_ns + 1, True),
        (_DAY.end_ns - 1, True),
        (_DAY.end_ns, False),
        (_DAY.end_ns + 1, False),
    ],
)
def test_the_start_is_inside_and_the_end_is_not(instant_ns: int, is_inside: bool) -> None:
    """A window contains its start and not its end, to the nanosecond."""
    assert _DAY.contains(instant_ns) is is_inside


@pytest.mark.parametrize("name", ["start", "end"])
def test_naive_bound_is_an_error_with_a_fix(name: str) -> None:
    """A bound without a time zone is an error that shows the bound with one."""
    bounds = {"start": _START_AT, "end": _START_AT + timedelta(days=1)}
    bounds[name] = bounds[name].replace(tzinfo=None)
    with pytest.raises(ConfigurationError, match=rf"window's {name} .* has no time zone.*Z\.$"):
        TimeWindow(**bounds)


@pytest.mark.parametrize("length", [timedelta(0), timedelta(microseconds=-1)])
def test_window_that_does_not_end_after_its_start_is_an_error(length: timedelta) -> None:
    """A window must end after its start."""
    with pytest.raises(ConfigurationError, match="half-open"):
        TimeWindow(_START_AT, _START_AT + length)


def test_the_shortest_window_is_a_microsecond() -> None:
    """The shortest window has the nanoseconds of one microsecond."""
    window = TimeWindow(_START_AT, _START_AT + timedelta(microseconds=1))
    assert window.end_ns - window.start_ns == 1000


def test_every_type_of_aware_datetime_gives_the_same_window() -> None:
    """Windows from pendulum, from another offset and from UTC are equal and have plain UTC datetimes."""
    berlin = timezone(timedelta(hours=1))
    windows = [
        _DAY,
        TimeWindow(_DAY.start.astimezone(berlin), _DAY.end.astimezone(berlin)),
        TimeWindow(pendulum.datetime(2026, 11, 1), pendulum.datetime(2026, 11, 2)),
        TimeWindow(pendulum.instance(_DAY.start).in_timezone("Asia/Tokyo"), _DAY.end),
    ]
    assert len(set(windows)) == 1
    assert {type(window.start) for window in windows} == {datetime}
    assert {window.end.tzinfo for window in windows} == {UTC}


def test_the_repeated_hour_of_autumn_keeps_its_two_instants() -> None:
    """Half past two happens twice when clocks are set back, and both instants stay different."""
    zone = pendulum.timezone("Europe/Berlin")
    first, second = (datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=fold) for fold in (0, 1))
    assert TimeWindow(first, second).length == timedelta(hours=1)


def test_window_has_length_text_and_settled_time() -> None:
    """A window has these plain facts."""
    assert _DAY.length == timedelta(days=1)
    assert str(_DAY) == "[2026-11-01T00:00:00Z, 2026-11-02T00:00:00Z)"
    assert _DAY.settled_at(timedelta(minutes=5)) == datetime(2026, 11, 2, 0, 5, tzinfo=UTC)
    assert [_DAY.share_before(ns) for ns in (_DAY.start_ns, _DAY.end_ns)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (_START_AT, "2026-11-01T00:00:00Z"),
        (_START_AT + timedelta(microseconds=5), "2026-11-01T00:00:00.000005Z"),
        (datetime(2026, 11, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-11-01T00:00:00Z"),
    ],
)
def test_an_instant_is_written_in_utc_with_a_z(instant: datetime, text: str) -> None:
    """Text is RFC 3339 in UTC, with a fraction only if there is one."""
    assert format_instant(instant) == text


@examples(100)
@given(
    start=st.integers(-2_208_988_800, 4_102_444_800).map(from_seconds),
    lengths=st.tuples(*[st.timedeltas(timedelta(microseconds=1), timedelta(days=400))] * 2),
    offset_ns=st.integers(-(10**15), 10**15),
)
def test_adjacent_windows_share_and_omit_no_instant(
    start: datetime, lengths: tuple[timedelta, timedelta], offset_ns: int
) -> None:
    """An instant near a boundary is in exactly as many of two adjacent windows as in their union."""
    border = start + lengths[0]
    left, right = TimeWindow(start, border), TimeWindow(border, border + lengths[1])
    instant_ns = left.end_ns + offset_ns
    both = TimeWindow(left.start, right.end)
    assert left.contains(instant_ns) + right.contains(instant_ns) == both.contains(instant_ns)


@examples(50)
@given(st.integers(-(10**10), 10**11))
def test_seconds_are_exact_in_both_directions(seconds: int) -> None:
    """Whole seconds are converted to a datetime and back without a change."""
    assert to_ns(from_seconds(seconds)) == seconds * SECOND_NS


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (from_seconds(10), from_seconds(20), (10, 20)),
        (from_seconds(10) + timedelta(microseconds=1), from_seconds(20) + timedelta(microseconds=1), (10, 21)),
        (from_seconds(-10) + timedelta(microseconds=1), from_seconds(-5) + timedelta(microseconds=1), (-10, -4)),
    ],
)
def test_whole_seconds_contain_the_window(start: datetime, end: datetime, expected: tuple[int, int]) -> None:
    """The first second is rounded down and the end up, before 1970 too."""
    assert TimeWindow(start, end).whole_seconds() == expected


@pytest.mark.parametrize(("instant_ns", "second"), [(1_999_999_999, 1), (2_000_000_000, 2), (-1, -1)])
def test_second_of_an_instant_is_the_second_that_contains_it(instant_ns: int, second: int) -> None:
    """A fraction is cut towards the past, before 1970 too."""
    assert second_of(instant_ns) == second


def test_format_second_is_the_text_of_the_same_instant() -> None:
    """A whole second has no fraction in its text."""
    assert format_second(1_700_000_000) == "2023-11-14T22:13:20Z" == format_instant(from_seconds(1_700_000_000))


@pytest.mark.parametrize(
    ("digits", "text"), [(9, "1970-01-01T00:00:01.023456789Z"), (6, "1970-01-01T00:00:01.023456Z")]
)
def test_format_ns_has_a_fixed_number_of_digits(digits: int, text: str) -> None:
    """Leading zeros are kept and finer digits are cut."""
    assert format_ns(1_023_456_789, digits) == text
