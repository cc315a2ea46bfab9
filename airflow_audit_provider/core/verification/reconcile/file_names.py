"""Time ranges in the keys of a Logpush archive.

Cloudflare docs: a key is ``{prefix}/{DATE}/{start}_{end}_{hash}.log.gz``, with ``{DATE}`` as YYYYMMDD where the
destination asks for it, and both times as ``20180523T154500Z``. They are the times at which records were received, not
those of the events. Prefix, hash and what is around them may be anything.

Invariant: a key that states no time may hold records of any time, so it is always read.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from airflow_audit_provider.core.windows.window import TimeWindow

_RANGE = re.compile(r"(?<!\d)(\d{8}T\d{6}Z)_(\d{8}T\d{6}Z)(?!\d)")
_REPAIR = re.compile(r"_repair-[0-9a-f]{16}\.log\.gz$")
_DAY = re.compile(r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)(?!\d)")
# The clocks of the servers that write events and files may differ.
_CLOCKS_DIFFER = timedelta(minutes=5)
_SECOND = timedelta(seconds=1)


def pushed_range(key: str) -> TimeWindow | None:
    """Returns the range of time that a file's name states, None if it states none."""
    match = _RANGE.search(key.rpartition("/")[2])
    if match is None:
        return None
    try:
        start, end = (datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for text in match.groups())
    except ValueError:
        return None
    # Both times of a file with one instant are equal.
    return TimeWindow(start, max(end, start + _SECOND)) if start <= end else None


def stated_range(key: str) -> TimeWindow | None:
    """Returns the range that a key states: that of the file's name, otherwise the day in its folder, else None."""
    found = pushed_range(key)
    if found is not None:
        return found
    days = _DAY.findall(key.rpartition("/")[0])
    if not days:
        return None
    try:
        start = datetime.strptime("".join(days[-1]), "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return TimeWindow(start, start + timedelta(days=1))


def may_hold(key: str, time_range: TimeWindow, reach: timedelta) -> bool:
    """Returns whether a file can hold events of a range.

    A record is never received before its event, so a file that ends before the range holds none of it. ``reach`` is
    how long after the end of the range records of it are looked for.
    """
    stated = stated_range(key)
    if stated is None:
        return True
    return stated.end + _CLOCKS_DIFFER >= time_range.start and stated.start - _CLOCKS_DIFFER <= time_range.end + reach


def repair_name(start: datetime, end: datetime, sha256: str) -> str:
    """Returns the key of a file with missing rows, in Logpush's own form; its last part shows who wrote it."""
    texts = (instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ") for instant in (start, end))
    return f"{start.astimezone(UTC):%Y%m%d}/{'_'.join(texts)}_repair-{sha256[:16]}.log.gz"


def is_repair_name(key: str) -> bool:
    """Returns whether a repair wrote a file, by its name."""
    return _REPAIR.search(key) is not None
