"""Audit records: raw bytes kept whole, with the two facts the pull needs of each, identity and event time.

Knows: where versions 1 and 2 keep a record's id and event time, and how RFC 3339 text becomes an instant.
Must not know: pages, envelopes, files.
Its one rule: the bytes of a record are never changed; a record that cannot be placed in time is an error,
because dropping it, or guessing, would lose it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import msgspec

from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, second_of, to_ns
from airflow_audit_provider.exceptions import SourceProtocolError


class ApiVersion(StrEnum):
    """The two Audit Logs APIs; they return different records with different ids for the same days."""

    V1 = "v1"
    V2 = "v2"


class AuditRecord(msgspec.Struct, frozen=True, order=True, gc=False):
    """One audit entry; sorts by (event time, id), the order in which records are written.

    ``event_ns`` is nanoseconds since the epoch, ``raw`` the record's own JSON on a single line.
    """

    # gc=False: a pull makes them by the thousand, and the garbage collector would go through all of them again and
    # again, which costs as much as decoding them. They hold no other objects, so they can be in no circle.

    event_ns: int
    id: str
    raw: bytes

    @property
    def event_second(self) -> int:
        """The whole second since the epoch that contains the event time."""
        return second_of(self.event_ns)


class _HeadV1(msgspec.Struct, gc=False):
    id: str | int | None = None
    when: str | None = None


class _ActionV2(msgspec.Struct, gc=False):
    time: str | None = None


class _HeadV2(msgspec.Struct, gc=False):
    id: str | int | None = None
    action: _ActionV2 | None = None

    @property
    def when(self) -> str | None:
        return self.action.time if self.action is not None else None


_Head = _HeadV1 | _HeadV2
_SomeHead = TypeVar("_SomeHead", _HeadV1, _HeadV2)
_HEADS: dict[ApiVersion, type[_Head]] = {ApiVersion.V1: _HeadV1, ApiVersion.V2: _HeadV2}
_HEAD_DECODERS: dict[ApiVersion, Callable[[bytes], _Head]] = {
    version: msgspec.json.Decoder(head).decode for version, head in _HEADS.items()
}


class _Page(msgspec.Struct, Generic[_SomeHead], gc=False):
    result: list[_SomeHead] | None


_PAGE_DECODERS: dict[ApiVersion, Callable[[bytes], _Page[Any]]] = {
    ApiVersion.V1: msgspec.json.Decoder(_Page[_HeadV1]).decode,
    ApiVersion.V2: msgspec.json.Decoder(_Page[_HeadV2]).decode,
}


def read_records(version: ApiVersion, raws: Sequence[msgspec.Raw], body: bytes | None = None) -> list[AuditRecord]:
    """Return the records of one page in the order they came; ``body`` is the whole answer they were cut from, if any.

    Raises ``SourceProtocolError`` for an entry that is no object or has no readable event time.
    """
    lines = list(map(bytes, raws))
    page = b'{"result":[' + b",".join(lines) + b"]}" if body is None else body
    try:
        # One call for the whole page costs a third of a call for each record.
        heads = _PAGE_DECODERS[version](page).result or ()
        return _plain_records(heads, lines if _is_on_one_line(page) else _on_one_line(lines))
    except (msgspec.DecodeError, ValueError, TypeError):
        # Something is odd: go record by record, so that an error can show which.
        heads = [_read_head(version, line) for line in lines]
        return [
            AuditRecord(_event_ns(head.when, line), _identity(head.id, line), line)
            for head, line in zip(heads, _on_one_line(lines), strict=True)
        ]


def _plain_records(heads: Sequence[_Head], lines: Sequence[bytes]) -> list[AuditRecord]:
    """Return the records of a page in which every one has a usable id and time; raise for any other page."""
    # Claimed to be text before it is judged: joining and measuring raise TypeError for a number and for None.
    ids = cast("list[str]", [head.id for head in heads])
    times = cast("list[str]", [head.when for head in heads])
    if "" in ids or _SOFTENED in "".join(ids):
        raise ValueError("an id is empty or half a character")
    if len(ids) != len(lines):
        raise ValueError("the page has other entries than it was cut into")
    return list(map(AuditRecord, _event_times(times), ids, lines))


def _event_times(texts: Sequence[str]) -> list[int]:
    """Return a page's event times; those that fit into microseconds are read in one call."""
    if max(map(len, texts), default=0) <= _MICROSECOND_TEXT:
        # Without an offset an instant is none: to subtract the epoch from it raises TypeError.
        instants = msgspec.convert(texts, list[datetime])
        # What ``to_ns`` does, without a call for each.
        times = [(instant - _EPOCH) // _MICROSECOND * 1000 for instant in instants]
        if times and not _FIRST_NS <= min(times) <= max(times) <= _LAST_NS:
            raise ValueError("a time is beyond the calendar")
        return times
    return list(map(parse_event_time, texts))


def _is_on_one_line(text: bytes) -> bool:
    return b"\n" not in text and b"\r" not in text


def _on_one_line(lines: Sequence[bytes]) -> list[bytes]:
    """Return records without the line breaks of indented JSON, which would break JSON Lines.

    Inside a JSON string a line break is always escaped, so every raw one is white space.
    """
    return [line.replace(b"\n", b" ").replace(b"\r", b" ") for line in lines]


def _read_head(version: ApiVersion, raw: bytes) -> _Head:
    """Read one head; raise the error that shows which record is the odd one."""
    decode = _HEAD_DECODERS[version]
    try:
        return _decode_softened(decode, raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SourceProtocolError(
            f"The API sent an entry that cannot be read as an audit record ({error}): {_excerpt(raw)}. "
            "Report it with the record to the maintainers; nothing of the window was written."
        ) from error


def _decode_softened(decode: Callable[[bytes], _Head], raw: bytes) -> _Head:
    try:
        return decode(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return decode(soften(raw))


def _event_ns(when: str | None, raw: bytes) -> int:
    try:
        return parse_event_time(when or "")
    except ValueError as error:
        raise SourceProtocolError(
            f"The API sent a record without a readable time ({when!r}): {_excerpt(raw)}. "
            "Report it with the record to the maintainers; nothing of the window was written."
        ) from error


def _identity(record_id: str | int | None, raw: bytes) -> str:
    """Return the record's id as text, or the digest of its bytes for one that has none."""
    if record_id is None or record_id == "" or _SOFTENED in str(record_id):
        return _text_id(raw)
    return str(record_id)


def _text_id(raw: bytes) -> str:
    return f"{_TEXT_ID}{hashlib.sha256(raw).hexdigest()}"


def has_digest_id(record: AuditRecord) -> bool:
    """Say whether a record has no id of its own, so that the digest of its text is its id."""
    return record.id.startswith(_TEXT_ID) and record.id == _text_id(record.raw)


_TEXT_ID = "sha256:"
_SOFTENED = "\ufffd"
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def soften(body: bytes) -> bytes:
    """Return JSON of the same length, in which every surrogate escape is U+FFFD.

    Half a surrogate pair, as a cut emoji leaves it, is legal JSON that strict decoders refuse. The softened copy is
    only for finding one's way; what is kept is cut from the original at the same offsets.
    """
    return _SURROGATE_ESCAPE.sub(rb"\\ufffd", body)


def _excerpt(raw: bytes) -> str:
    return raw[:200].decode("utf-8", "replace")


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# An offset can put an instant before year 1 or after year 9999, where there is no datetime for it.
_FIRST_NS = to_ns(datetime(1, 1, 1, tzinfo=UTC))
_LAST_NS = to_ns(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
_MICROSECOND_TEXT = len("2026-11-01T00:00:00.123456Z")
_SCALES: dict[int, int] = {count: 10 ** (9 - count) for count in range(1, 10)}
_TO_THE_SECOND = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", re.ASCII)


@lru_cache(maxsize=4096)
def _epoch_second(text: str) -> int:
    """Return the epoch second of ``YYYY-MM-DDTHH:MM:SS``; neighbours share it, hence the cache."""
    if _TO_THE_SECOND.fullmatch(text) is None:
        raise ValueError(f"not an RFC 3339 instant: {text!r}")
    if text.endswith(":60"):
        text = text[:-2] + "59"
    return int(datetime.fromisoformat(text + "+00:00").timestamp())


def parse_event_time(text: str) -> int:
    """Return RFC 3339 text as nanoseconds since the epoch; any number of fraction digits, any offset.

    Digits after the ninth are cut, never rounded: rounding up could carry a record over a border.
    A leap second counts as the last second of its minute. Raises ``ValueError`` for anything else.
    """
    # The commonest forms first, and cheaply: this runs once for every record.
    tail = text[19:]
    if tail == "Z":
        return _epoch_second(text[:19]) * SECOND_NS
    digits = tail[1:-1]
    scale = _SCALES.get(len(digits))
    if scale and tail[0] == "." and tail[-1] == "Z" and digits.isascii() and digits.isdecimal():
        return _epoch_second(text[:19]) * SECOND_NS + int(digits) * scale
    return _parse_other_time(text)


def _parse_other_time(text: str) -> int:
    """Read any RFC 3339 instant; the commonest form has been taken by the faster way."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 instant: {text!r}")
    day, clock, fraction, sign, hours, minutes = match.groups()
    second = _epoch_second(f"{day}T{clock}")
    if sign is not None:
        offset_seconds = int(hours) * 3600 + int(minutes) * 60
        second += -offset_seconds if sign == "+" else offset_seconds
    if not _FIRST_NS <= second * SECOND_NS <= _LAST_NS:
        raise ValueError(f"beyond the calendar: {text!r}")
    return second * SECOND_NS + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


def fields_of(raw: bytes) -> Any:
    """Return a record's JSON as Python values; half a surrogate pair in it comes as the standard library reads it.

    What is no UTF-8, which JSON forbids, comes as a replacement character.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(raw.decode("utf-8", "replace"))


def is_same_record(one: AuditRecord, other: AuditRecord) -> bool:
    """Say whether two records of one id are one: the same instant, and the same JSON but for white space and order."""
    if one.event_ns != other.event_ns:
        return False
    return one.raw == other.raw or _canonical(one.raw) == _canonical(other.raw)


def _canonical(raw: bytes) -> str:
    return json.dumps(fields_of(raw), sort_keys=True)


def lines_of(records: Sequence[AuditRecord]) -> bytes:
    """Return the records' own JSON, each ended by a line feed: what the digest of records is taken of."""
    return b"\n".join([*[record.raw for record in records], b""])


def in_order(records: Iterable[AuditRecord]) -> list[AuditRecord]:
    """Return records sorted by (event time, id)."""
    return sorted(records)


def inside(records: list[AuditRecord], window: TimeWindow) -> list[AuditRecord]:
    """Return the records whose event time lies in a window; they come, and stay, sorted by whole second."""
    start_ns, end_ns = window.start_ns, window.end_ns
    if not records:
        return records
    edges = records[0].event_ns, records[-1].event_ns
    if start_ns <= min(edges) - SECOND_NS and max(edges) + SECOND_NS < end_ns:
        return records
    return [record for record in records if start_ns <= record.event_ns < end_ns]
