"""Time windows as half-open ranges of UTC, and instants as exact integers.

Instants inside the core are integers, nanoseconds since 1970-01-01T00:00:00Z: RFC 3339 allows any number of fraction
digits, and a rounded instant can cross the end of a window.

Invariant: a window is half-open, ``start <= t < end``, so adjacent windows neither share nor miss an instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from airflow_audit_provider.exceptions import ConfigurationError

SECOND_NS = 1_000_000_000
_EPOCH_AT = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
# Bounds of an open range: one day inside the range of datetime, so that time zone conversions cannot overflow.
EARLIEST_AT = datetime(1, 1, 2, tzinfo=UTC)
LATEST_AT = datetime(9999, 12, 30, tzinfo=UTC)


def to_ns(instant: datetime) -> int:
    """Returns an aware datetime, also pendulum's, as exact nanoseconds since the epoch."""
    if type(instant) is not datetime:
        # The difference of pendulum's datetimes is an interval that no timedelta divides.
        instant = _as_plain_utc(instant)
    return (instant - _EPOCH_AT) // _MICROSECOND * 1000


def from_seconds(seconds: int) -> datetime:
    """Returns whole seconds since the epoch as an aware UTC datetime."""
    return _EPOCH_AT + timedelta(seconds=seconds)


def second_of(instant_ns: int) -> int:
    """Returns the whole second since the epoch that contains an instant given in nanoseconds."""
    return instant_ns // SECOND_NS


def format_instant(instant: datetime) -> str:
    """Returns RFC 3339 text in UTC with a ``Z``; the fraction is omitted when it is zero."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def count_of(number: int, noun: str) -> str:
    """Returns a number with its noun, e.g. ``1 part`` or ``2,229 records``; the plural ends in ``s``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def format_length(seconds: float) -> str:
    """Returns a length in its two greatest units, such as ``1 d 3 h``."""
    rest, texts = round(seconds), []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            texts.append(f"{count} {unit}")
        elif texts:
            break
    return " ".join(texts[:2]) or "0 s"


@lru_cache(maxsize=256)
def format_second(second: int) -> str:
    """Returns a whole second since the epoch as RFC 3339 text, e.g. ``2026-11-01T00:00:00Z``.

    Cached because consecutive records usually share their second.
    """
    return format_instant(from_seconds(second))


def format_ns(instant_ns: int, digits: int = 9) -> str:
    """Returns an instant as RFC 3339 text with exactly ``digits`` (1 to 9) fraction digits; finer digits are cut.

    The fixed width makes the texts sort in time order.
    """
    seconds, fraction = divmod(instant_ns, SECOND_NS)
    minute, second = divmod(seconds, 60)
    template, unit = _FRACTIONS[digits]
    return template % (_minute_text(minute), second, fraction // unit)


@lru_cache(maxsize=4096)
def _minute_text(minute: int) -> str:
    """Returns a minute since the epoch as the start of RFC 3339 text; cached, because records of a page share it."""
    return format_instant(from_seconds(minute * 60))[: len("2026-11-01T00:00:")]


# By the number of fraction digits: the text, and the nanoseconds of the last digit.
_FRACTIONS = {digits: (f"%s%02d.%0{digits}dZ", 10 ** (9 - digits)) for digits in range(1, 10)}


@dataclass(frozen=True, slots=True, order=True)
class TimeWindow:
    """A half-open range of UTC, ``[start, end)``, never empty.

    Both bounds must be timezone-aware; they are converted to UTC. Raises ``ConfigurationError`` for a naive bound and
    for ``end <= start``.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        # There may be thousands of windows, and nearly all of them have such bounds.
        if not (_is_plain_utc(self.start) and _is_plain_utc(self.end)):
            self._convert_bounds()
        if self.end <= self.start:
            raise ConfigurationError(
                f"The window ends at {format_instant(self.end)}, not after its start {format_instant(self.start)}. "
                "Give an end that is later than the start; the window is half-open, [start, end)."
            )

    def _convert_bounds(self) -> None:
        for name in ("start", "end"):
            instant = getattr(self, name)
            if instant.tzinfo is None:
                raise ConfigurationError(
                    f"The window's {name} {instant.isoformat()} has no time zone. "
                    f"Give it one, for example {instant.isoformat()}Z."
                )
            object.__setattr__(self, name, _as_plain_utc(instant))

    @property
    def start_ns(self) -> int:
        """The first instant inside, in nanoseconds."""
        return to_ns(self.start)

    @property
    def end_ns(self) -> int:
        """The first instant after the window, in nanoseconds."""
        return to_ns(self.end)

    def whole_seconds(self) -> tuple[int, int]:
        """Returns the smallest range of whole seconds ``[first, end)`` since the epoch that contains the window."""
        return self.start_ns // SECOND_NS, -(-self.end_ns // SECOND_NS)

    @property
    def length(self) -> timedelta:
        """Duration of the window."""
        return self.end - self.start

    def contains(self, instant_ns: int) -> bool:
        """Returns whether an instant lies in ``[start, end)``."""
        return self.start_ns <= instant_ns < self.end_ns

    def overlaps(self, other: TimeWindow) -> bool:
        """Returns whether two windows share an instant."""
        return self.start < other.end and other.start < self.end

    def share_before(self, instant_ns: int) -> float:
        """Returns the share of the window, 0.0 to 1.0, that lies before an instant inside it."""
        return (instant_ns - self.start_ns) / (self.end_ns - self.start_ns)

    def settled_at(self, settle_delay: timedelta) -> datetime:
        """Returns the first instant at which the window may be read: its end plus the settle delay."""
        return self.end + settle_delay

    def __str__(self) -> str:
        return f"[{format_instant(self.start)}, {format_instant(self.end)})"


def _is_plain_utc(instant: datetime) -> bool:
    return type(instant) is datetime and instant.tzinfo is UTC


def _as_plain_utc(instant: datetime) -> datetime:
    """Converts any aware datetime, also pendulum's, to a standard one in UTC, so that equal windows compare equal."""
    if _is_plain_utc(instant):
        return instant
    utc = instant.astimezone(UTC)
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, tzinfo=UTC)
