"""Event times: RFC 3339 text becomes nanoseconds, with any fraction and any offset, never rounded up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import ApiVersion, is_undated, parse_event_time, read_records
from airflow_audit_provider.core.windows.window import to_ns
from tests.hypothesis_profiles import examples

_NOON_AT = datetime(2024, 3, 15, 12, 0, 0, tzinfo=UTC)
_NOON = to_ns(_NOON_AT)

READABLE = {
    "2024-03-15T12:00:00Z": 0,
    "2024-03-15t12:00:00z": 0,
    "2024-03-15 12:00:00Z": 0,
    "2024-03-15T12:00:00+00:00": 0,
    "2024-03-15T12:00:00-00:00": 0,
    "2024-03-15T14:00:00+02:00": 0,
    "2024-03-15T14:00:00+0200": 0,
    "2024-03-15T06:30:00-05:30": 0,
    "2024-03-16T02:00:00.25+14:00": 250_000_000,
    "2024-03-15T12:00:00.0Z": 0,
    "2024-03-15T12:00:00,5Z": 500_000_000,
    "2024-03-15T12:00:00.5z": 500_000_000,
    "2024-03-15T12:00:00.87573Z": 875_730_000,
    "2024-03-15T12:00:00.87573+00:00": 875_730_000,
    "2024-03-15T12:00:00.123456789Z": 123_456_789,
    "2024-03-15T12:00:00.123456789+00:00": 123_456_789,
    "2024-03-15T12:00:00.000000001Z": 1,
    "2024-03-15T12:00:00.9999999999Z": 999_999_999,
    "2024-03-15T12:00:00.99999999999999999999Z": 999_999_999,
    "2024-03-15T12:00:00.99999999999999999999-00:00": 999_999_999,
    "2024-03-15T11:59:60Z": -1_000_000_000,
    "2024-03-15T11:59:60.5Z": -500_000_000,
    "2024-03-15T13:59:60.5+02:00": -500_000_000,
}


@pytest.mark.parametrize(("text", "offset_ns"), READABLE.items())
def test_every_spelling_of_an_instant_is_exact(text: str, offset_ns: int) -> None:
    """An instant is read to the nanosecond; finer digits are cut."""
    assert parse_event_time(text) == _NOON + offset_ns


BEYOND = ["9999-12-31T23:59:59-00:01", "9999-12-31T23:59:59.9-00:01", "0001-01-01T00:00:00.9+00:01"]


@pytest.mark.parametrize(
    "text",
    [
        "", "Z", "now", "2024-03-15", "2024-03-15T12:00:00", "2024-03-15T12:00Z", "2024-03-15T12:00:00.Z",
        "2024-03-15T12:00:00.+00:00", "2024-03-15T12:00:00.5", "2024-02-30T12:00:00Z", "2024-13-01T12:00:00Z",
        "2024-03-15T25:00:00Z", "2024-03-15T12:60:00Z", "2024-03-15T12:00:61Z", "0000-01-01T00:00:00Z",
        " 2024-03-15T12:00:00Z", "2024-03-15T12:00:00Z\n", "2024-03-15T12:00:00.5Z\n", "2024-03-15T12:00:00.1 2Z",
        "2024-03-15T12:00:00+2:00", "2024-03-15T12:00:00+02", "2024-03-15T12:00:00.٣Z", "٢024-03-15T12:00:00Z",
        "2024-03-15T12:00:00.²Z", "20240315T120000Z", "2024-W11-5T12:00:00Z", "2024-075T12:00:00.000Z",
        "1710504000", "2024-03-15T12:00:00.-5Z", "2024-03-15X12:00:00Z", "2024-03-15T12.00.00Z",
        "2024-03-15T12:00:00x5Z", "2024-03-15T12:00:00-5Z", *BEYOND,
    ],
)  # fmt: skip
def test_invalid_time_is_a_value_error(text: str) -> None:
    """Text that is not an RFC 3339 instant raises ``ValueError``."""
    with pytest.raises(ValueError, match=r"."):
        parse_event_time(text)


_INSTANTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29))  # noqa: DTZ001  # the property adds a drawn zone to each
_ZONES = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@examples(150)
@given(instant=_INSTANTS, zone=st.one_of(st.just(UTC), _ZONES), zulu=st.booleans())
def test_microseconds_agree_with_the_standard_library(instant: datetime, zone: timezone, zulu: bool) -> None:
    """With up to six digits, every date and offset gives the same instant as ``datetime``."""
    aware = instant.replace(tzinfo=UTC if zulu else zone)
    text = aware.isoformat()
    assert parse_event_time(text.replace("+00:00", "Z") if zulu else text) == to_ns(aware)


@examples(150)
@given(instant=_INSTANTS, zone=_ZONES, digits=st.sampled_from(["", ".0", ".3", ".31", ".000001"]))
def test_times_of_a_page_equal_the_times_of_its_records(instant: datetime, zone: timezone, digits: str) -> None:
    """The times of a page, parsed in one call, equal those parsed one by one, with any offset and in any year."""
    naive = instant.replace(microsecond=0).isoformat() + digits
    texts = [f"{naive}Z", f"{naive}{instant.replace(tzinfo=zone).isoformat()[-6:]}"]
    for page in (texts, texts[:1], texts[1:]):
        raws = [msgspec.Raw(msgspec.json.encode({"id": text, "when": text})) for text in page]
        read = [(record.id, record.event_ns) for record in read_records(ApiVersion.V1, raws)]
        assert read == [(text, parse_event_time(text)) for text in page]


@pytest.mark.parametrize("text", BEYOND)
def test_time_beyond_the_calendar_is_no_time_of_its_own(text: str) -> None:
    """A record whose offset puts it after year 9999 or before year 1 has no time of its own."""
    (record,) = read_records(ApiVersion.V1, [msgspec.Raw(msgspec.json.encode({"id": "a", "when": text}))])
    assert is_undated(record)


@examples(100)
@given(fraction=st.text("0123456789", min_size=1, max_size=30), ending=st.sampled_from(["Z", "z", "+00:00", "-00:00"]))
def test_fraction_is_never_rounded_up(fraction: str, ending: str) -> None:
    """The instant is the largest whole nanosecond that is not after the text."""
    got = parse_event_time(f"2024-03-15T12:00:00.{fraction}{ending}") - _NOON
    assert got == int(fraction) * 1_000_000_000 // 10 ** len(fraction)


@examples(100)
@given(st.text(max_size=40))
def test_any_text_is_an_instant_or_a_value_error(text: str) -> None:
    """The parser raises only ``ValueError``, for any text."""
    try:
        assert isinstance(parse_event_time(text), int)
    except ValueError:
        return
