"""Records of verifications that passed: which generation of each window was verified, and when.

``verify`` leaves one in the destination, and ``coverage`` shows what they state.

Invariant: a record is a note and no proof. Nothing in a verification depends on one, because write access to the
destination is enough to forge one.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from airflow_audit_provider.core.archive.manifest import canonical_json, is_canonical
from airflow_audit_provider.core.archive.object_keys import ManifestKey, WindowKeys, pass_record_key, read_manifest_key
from airflow_audit_provider.core.windows.window import TimeWindow, count_of, format_instant
from airflow_audit_provider.exceptions import ConfigurationError


class PassRecord(msgspec.Struct, frozen=True):
    """A verification without severe findings.

    ``ranges`` are the verified windows, adjacent ones joined. Their newest generation was the first one, except those
    in ``later_generations``, by the window's name as in its keys.
    """

    verified_at: Annotated[datetime, msgspec.Meta(tz=True)]
    ranges: tuple[TimeWindow, ...]
    later_generations: dict[str, int]
    window_count: int
    record_count: int
    newest_seal_sha256: str | None

    def to_bytes(self) -> bytes:
        """Returns the record's canonical bytes, see :func:`canonical_json`."""
        return canonical_json(self)

    @property
    def key(self) -> str:
        """The key of the record's object; it holds the digest of the bytes, so that damage is noticed."""
        return pass_record_key(self.verified_at, hashlib.sha256(self.to_bytes()).hexdigest())

    def covers(self, newest: ManifestKey) -> bool:
        """Returns whether the newest generation of a window is the one that was verified."""
        window = newest.window
        is_inside = any(one.start <= window.start and window.end <= one.end for one in self.ranges)
        return is_inside and self.later_generations.get(_name(newest), 1) == newest.generation


class VerifiedSpan(msgspec.Struct, frozen=True):
    """Adjacent windows that the same verification passed last; ``verified_at`` is None if none did as they are now."""

    start: datetime
    end: datetime
    verified_at: datetime | None
    window_count: int


class Verified(msgspec.Struct, frozen=True):
    """When the windows of a range last passed a verification, according to the records in the destination.

    A window that got late records or was replaced since then counts as not verified. ``unreadable_count`` is how many
    records are damaged.
    """

    last_passed_at: datetime | None
    spans: tuple[VerifiedSpan, ...]
    verified_count: int
    not_verified_count: int
    unreadable_count: int


def pass_record(
    verified_at: datetime, manifest_keys: Iterable[str], record_count: int, newest_seal_sha256: str | None
) -> PassRecord:
    """Returns the record of a verification; ``manifest_keys`` are the newest of each window that it verified."""
    named = sorted(key for key in map(read_manifest_key, manifest_keys) if key is not None)
    ranges: list[TimeWindow] = []
    for window in (key.window for key in named):
        if ranges and ranges[-1].end == window.start:
            ranges[-1] = TimeWindow(ranges[-1].start, window.end)
        else:
            ranges.append(window)
    later = {_name(key): key.generation for key in named if key.generation > 1}
    return PassRecord(verified_at, tuple(ranges), later, len(named), record_count, newest_seal_sha256)


def read_pass_record(key: str, content: bytes) -> PassRecord | None:
    """Decodes a record; returns None if its bytes are damaged or of another version."""
    try:
        record = msgspec.json.decode(content, type=PassRecord)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError, ConfigurationError):
        return None
    return record if is_canonical(record, content) and record.key == key else None


def verified_by(windows: Mapping[TimeWindow, str], records: Iterable[PassRecord | None]) -> Verified:
    """Returns when each window last passed a verification.

    ``windows`` maps each window to the key of its newest manifest. ``records`` are the newest first, None for one that
    is damaged; they are read only until every window is found.
    """
    ordered = sorted(windows)
    starts = [window.start for window in ordered]
    verified_at: dict[TimeWindow, datetime] = {}
    last_passed_at, unreadable_count = None, 0
    for record in records:
        if record is None:
            unreadable_count += 1
            continue
        last_passed_at = last_passed_at or record.verified_at
        for verified in record.ranges:
            # The windows that start in the range, so that many records of a day each do not compare all windows.
            inside = ordered[bisect_left(starts, verified.start) : bisect_left(starts, verified.end)]
            for window in inside:
                newest = None if window in verified_at else read_manifest_key(windows[window])
                if newest is not None and record.covers(newest):
                    verified_at[window] = record.verified_at
        if len(verified_at) == len(windows):
            break
    spans = tuple(_spans(windows, verified_at))
    return Verified(last_passed_at, spans, len(verified_at), len(windows) - len(verified_at), unreadable_count)


def verified_line(verified: Verified) -> str:
    """Returns a line of text that says when ``verify`` last passed, and for how many windows."""
    unreadable = count_of(verified.unreadable_count, "damaged record")
    damaged = f"; {unreadable} of verifications" if verified.unreadable_count else ""
    if verified.last_passed_at is None:
        return f"no passed verification is recorded{damaged}\n"
    count = verified.verified_count + verified.not_verified_count
    return (
        f"verify last passed {format_instant(verified.last_passed_at)}; the newest generation of "
        f"{verified.verified_count} of {count_of(count, 'window')} has a record in _verified/{damaged}\n"
    )


def _spans(windows: Iterable[TimeWindow], verified_at: Mapping[TimeWindow, datetime]) -> Iterable[VerifiedSpan]:
    """Returns the windows in order, adjacent ones of equal times joined."""
    spans: list[VerifiedSpan] = []
    for window in sorted(windows):
        at = verified_at.get(window)
        if spans and (spans[-1].end, spans[-1].verified_at) == (window.start, at):
            last = spans.pop()
            spans.append(VerifiedSpan(last.start, window.end, at, last.window_count + 1))
        else:
            spans.append(VerifiedSpan(window.start, window.end, at, 1))
    return spans


def _name(key: ManifestKey) -> str:
    return WindowKeys(key.window, key.day).name
