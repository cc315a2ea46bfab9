"""Audit records: the raw bytes of each, with the id and event time that are read from them.

Invariant: the bytes of a record are never changed, except for line breaks, which would break JSON Lines. No record is
an error: one that breaks the API's contract is an :class:`OddRecord`, and a time that it lacks is not invented here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import msgspec

from airflow_audit_provider.core.api.json_cuts import cut_fields, escape_line_breaks, mask_surrogates
from airflow_audit_provider.core.api.odd_heads import UNDATED_KINDS, OddKind, content_kind, read_odd_head
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, second_of, to_ns


class ApiVersion(StrEnum):
    """The two versions of the Audit Logs API.

    Observed: they return different records with different ids for the same days, 235 against 244 in one account.
    """

    V1 = "v1"
    V2 = "v2"


class AuditRecord(msgspec.Struct, frozen=True, order=True, gc=False):
    """One audit record; sorts by (event time, id), the order in which records are written.

    ``event_ns`` is nanoseconds since the epoch, ``raw`` the record's own JSON on a single line.
    """

    # gc=False: a pull creates thousands of records, and the garbage collector would traverse all of them repeatedly,
    # which costs as much as decoding them (measured). They reference no containers, so they cannot form a cycle.

    event_ns: int
    id: str
    raw: bytes

    @property
    def event_second(self) -> int:
        """The whole second since the epoch that contains the event time."""
        return second_of(self.event_ns)


class OddRecord(AuditRecord, frozen=True, gc=False):
    """A record that breaks the API's contract; ``kind`` says how.

    One without a time of its own (``is_dated``) has ``event_ns`` 0 until a reader places it among its neighbours. It
    sorts behind the dated records of its instant, so that a part can be read back: it follows the record whose time it
    was given.
    """

    kind: OddKind = OddKind.NOT_JSON

    @property
    def is_dated(self) -> bool:
        """Whether the record has a readable event time of its own."""
        return self.kind not in UNDATED_KINDS

    # Reflected methods of a subclass come first in Python, so these also decide against ordinary records.
    def __lt__(self, other: AuditRecord) -> bool:
        return _sort_key(self) < _sort_key(other)

    def __le__(self, other: AuditRecord) -> bool:
        return _sort_key(self) <= _sort_key(other)

    def __gt__(self, other: AuditRecord) -> bool:
        return _sort_key(self) > _sort_key(other)

    def __ge__(self, other: AuditRecord) -> bool:
        return _sort_key(self) >= _sort_key(other)


def _sort_key(record: AuditRecord) -> tuple[int, bool, str, bytes]:
    return record.event_ns, is_undated(record), record.id, record.raw


def is_undated(record: AuditRecord) -> bool:
    """Returns whether a record has no readable event time of its own."""
    return isinstance(record, OddRecord) and not record.is_dated


def count_odd(records: Iterable[AuditRecord]) -> dict[str, int]:
    """Returns the number of odd records by kind, sorted by kind."""
    return dict(sorted(Counter(str(record.kind) for record in records if isinstance(record, OddRecord)).items()))


def has_odd(records: Sequence[AuditRecord]) -> bool:
    """Returns whether there is an odd record among these; fast, because every page is asked."""
    return OddRecord in map(type, records)


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


_TIME_PATHS = {ApiVersion.V1: ("when",), ApiVersion.V2: ("action", "time")}
_Head = _HeadV1 | _HeadV2
_SomeHead = TypeVar("_SomeHead", _HeadV1, _HeadV2)
_Object = TypeVar("_Object")
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


class ListOfOne(msgspec.Struct, Generic[_Object], array_like=True, forbid_unknown_fields=True, gc=False):
    """A list of exactly one object, which is what a line becomes to prove that it is one JSON object."""

    item: _Object


_LINE_DECODERS: dict[ApiVersion, Callable[[bytes], list[ListOfOne[Any]]]] = {
    ApiVersion.V1: msgspec.json.Decoder(ListOfOne[_HeadV1]).decode_lines,
    ApiVersion.V2: msgspec.json.Decoder(ListOfOne[_HeadV2]).decode_lines,
}


def read_records(
    version: ApiVersion, raws: Sequence[msgspec.Raw | bytes], body: bytes | None = None
) -> list[AuditRecord]:
    """Returns the records of one page in order of arrival; ``body`` is the whole response that contains them, if any.

    A record that breaks the API's contract comes as an :class:`OddRecord`. One without a time has ``event_ns`` 0.
    """
    lines = list(map(bytes, raws))
    try:
        # Decoding all records in one call takes a third of the time of one call per record (measured).
        if body is None:
            return _plain_records(objects_of(_LINE_DECODERS[version], lines), lines)
        heads = _PAGE_DECODERS[version](body).result or ()
        return _plain_records(heads, lines if _is_on_one_line(body) else _on_one_line(lines))
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        # An unusual record: each is read by itself, so that it affects no other.
        return [_read_record(version, line) for line in lines]


def objects_of(decode_lists: Callable[[bytes], list[ListOfOne[_Object]]], lines: Sequence[bytes]) -> list[_Object]:
    """Returns the objects of lines; raises ``ValueError`` unless each line is exactly one JSON object.

    Each line is decoded in a list of its own, because decoders also take two objects on one line, and one object on two
    lines: then there could be as many objects as lines, and some of them would be taken for those of other lines.
    """
    if not _is_on_one_line(b"".join(lines)):
        raise ValueError("a line has a line break")
    found = [one.item for one in decode_lists(b"[" + b"]\n[".join(lines) + b"]")] if lines else []
    if len(found) != len(lines):
        raise ValueError("a line closes its list and opens another one")
    return found


def _read_record(version: ApiVersion, raw: bytes) -> AuditRecord:
    try:
        head = _decode_lenient(_HEAD_DECODERS[version], raw)
        (line,) = _on_one_line([raw])
        return AuditRecord(_event_ns(head.when), _identity(head.id, line), line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _read_odd_record(version, escape_line_breaks(raw))


def _read_odd_record(version: ApiVersion, line: bytes) -> OddRecord:
    head = read_odd_head(line, *_TIME_PATHS[version])
    try:
        event_ns, is_dated = _event_ns(head.when), True
    except ValueError:
        event_ns, is_dated = 0, False
    try:
        record_id, has_odd_id = _identity(head.id, line), head.has_odd_id
    except ValueError:
        record_id, has_odd_id = _digest_id(line), True
    if not head.is_object:
        kind = OddKind.NOT_AN_OBJECT
    elif not is_dated:
        kind = OddKind.TIME
    else:
        kind = OddKind.ID if has_odd_id else content_kind(line)
    return OddRecord(event_ns, record_id, line, kind)


def _plain_records(heads: Sequence[_Head], lines: Sequence[bytes]) -> list[AuditRecord]:
    """Returns the records of a page if each has an id and a time; else raises ``ValueError`` or ``TypeError``."""
    # The casts precede the check: joining and measuring below raise TypeError for a number and for None.
    ids = cast("list[str]", [head.id for head in heads])
    times = cast("list[str]", [head.when for head in heads])
    if "" in ids or _REPLACEMENT in "".join(ids):
        raise ValueError("an id is empty or contains half a surrogate pair")
    if len(ids) != len(lines):
        raise ValueError("the decoded page has a different number of entries")
    return list(map(AuditRecord, _event_times(times), ids, lines))


def _event_times(texts: Sequence[str]) -> list[int]:
    """Returns a page's event times; texts with at most microseconds are converted in one call."""
    if max(map(len, texts), default=0) <= _MICROSECOND_TEXT:
        # For a text without an offset, subtracting the epoch raises TypeError.
        instants = msgspec.convert(texts, list[datetime])
        # Inlined ``to_ns``, because this runs for every record.
        times = [(instant - _EPOCH) // _MICROSECOND * 1000 for instant in instants]
    else:
        times = list(map(parse_event_time, texts))
    if times and not (is_event_time(min(times)) and is_event_time(max(times))):
        raise ValueError("a time is out of range, or a zero that stands for no time")
    return times


def is_event_time(event_ns: int) -> bool:
    """Returns whether an instant is a time after 1970 that a datetime can hold; others need a closer look."""
    return 0 < event_ns <= _LAST_NS


def _is_on_one_line(text: bytes) -> bool:
    return b"\n" not in text and b"\r" not in text


def _on_one_line(lines: Sequence[bytes]) -> list[bytes]:
    """Returns records without the line breaks of indented JSON, which would break JSON Lines.

    RFC 8259, 7: "the control characters (U+0000 through U+001F)" must be escaped inside a string, so every raw line
    break is white space between tokens.
    """
    return [line.replace(b"\n", b" ").replace(b"\r", b" ") for line in lines]


def _decode_lenient(decode: Callable[[bytes], _Head], raw: bytes) -> _Head:
    try:
        return decode(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return decode(mask_surrogates(raw))


def _event_ns(when: str | None) -> int:
    """Returns an event time; raises ``ValueError`` if it is missing, unreadable, or a zero that stands for no time."""
    event_ns = parse_event_time(when or "")
    if event_ns in _ZERO_TIMES:
        raise ValueError("the zero of a clock is no event time")
    return event_ns


def _identity(record_id: str | int | None, raw: bytes) -> str:
    """Returns the record's id as text, or the digest of its bytes if it has none.

    Cloudflare API docs: every field of a record is optional, also `id`. Observed: numeric ids.
    """
    if record_id is None or record_id == "" or _REPLACEMENT in str(record_id):
        return _digest_id(raw)
    return str(record_id)


def _digest_id(raw: bytes) -> str:
    return f"{DIGEST_PREFIX}{hashlib.sha256(raw).hexdigest()}"


def has_digest_id(record: AuditRecord) -> bool:
    """Returns whether a record has no id of its own, so that the digest of its bytes is its id."""
    return record.id.startswith(DIGEST_PREFIX) and record.id == _digest_id(record.raw)


DIGEST_PREFIX = "sha256:"
_REPLACEMENT = "\ufffd"


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# An offset can put an instant before year 1 or after year 9999, where there is no datetime for it.
_FIRST_NS = to_ns(datetime(1, 1, 1, tzinfo=UTC))
_LAST_NS = to_ns(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
# What a missing time becomes in programs that write one all the same: the epoch in C, year 1 in Go.
_ZERO_TIMES = frozenset({0, _FIRST_NS})
_MICROSECOND_TEXT = len("2026-11-01T00:00:00.123456Z")
_SCALES: dict[int, int] = {count: 10 ** (9 - count) for count in range(1, 10)}
_TO_THE_SECOND = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", re.ASCII)


@lru_cache(maxsize=4096)
def _epoch_second(text: str) -> int:
    """Returns the epoch second of ``YYYY-MM-DDTHH:MM:SS``; cached, because consecutive records often share it."""
    if _TO_THE_SECOND.fullmatch(text) is None:
        raise ValueError(f"not an RFC 3339 instant: {text!r}")
    # RFC 3339, 5.6: time-second is "00-58, 00-59, 00-60 based on leap second rules".
    if text.endswith(":60"):
        text = text[:-2] + "59"
    return int(datetime.fromisoformat(text + "+00:00").timestamp())


def parse_event_time(text: str) -> int:
    """Returns RFC 3339 text as nanoseconds since the epoch, with any number of fraction digits and any offset.

    Digits after the ninth are cut, never rounded: rounding up could move a record past the end of a window. A leap
    second counts as the last second of its minute. Raises ``ValueError`` for any other text.
    """
    # The most frequent forms first, because this runs for every record. Observed: fractions of 0, 5 and 6 digits.
    tail = text[19:]
    if tail == "Z":
        return _epoch_second(text[:19]) * SECOND_NS
    digits = tail[1:-1]
    scale = _SCALES.get(len(digits))
    if scale and tail[0] == "." and tail[-1] == "Z" and digits.isascii() and digits.isdecimal():
        return _epoch_second(text[:19]) * SECOND_NS + int(digits) * scale
    return _parse_other_time(text)


def _parse_other_time(text: str) -> int:
    """Parses any RFC 3339 instant; ``parse_event_time`` handles the most frequent forms faster."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 instant: {text!r}")
    day, clock, fraction, sign, hours, minutes = match.groups()
    second = _epoch_second(f"{day}T{clock}")
    if sign is not None:
        offset_seconds = int(hours) * 3600 + int(minutes) * 60
        second += -offset_seconds if sign == "+" else offset_seconds
    if not _FIRST_NS <= second * SECOND_NS <= _LAST_NS:
        raise ValueError(f"out of range: {text!r}")
    return second * SECOND_NS + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


def fields_of(raw: bytes) -> Any:
    """Returns a record's JSON as Python values; an unpaired surrogate is read as the standard library does.

    RFC 8259, 8.1: JSON text "MUST be encoded using UTF-8". Bytes that are not become replacement characters. Of a
    record that no decoder reads, each field is read by itself; one that cannot be read is its own text.
    """
    try:
        return _value_of(raw)
    except (ValueError, RecursionError):
        fields = cut_fields(raw)
    if fields is None:
        return raw.decode("utf-8", "replace")
    return {name: _value_or_text(value) for name, value in fields.items()}


def mapping_of(raw: bytes) -> dict[str, Any]:
    """Returns a record's fields; what is no object is the field ``record``."""
    fields = fields_of(raw)
    return fields if isinstance(fields, dict) else {"record": fields}


def _value_or_text(raw: bytes) -> Any:
    try:
        return _value_of(raw)
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace")


def _value_of(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(raw.decode("utf-8", "replace"), strict=False)


def is_same_record(one: AuditRecord, other: AuditRecord) -> bool:
    """Returns whether two records of one id have equal times and JSON, ignoring white space and the order of keys.

    A time that was given to a record without one does not count: it depends on the page that showed the record.
    """
    if one.event_ns != other.event_ns and not (is_undated(one) and is_undated(other)):
        return False
    return one.raw == other.raw or _canonical(one.raw) == _canonical(other.raw)


def _canonical(raw: bytes) -> str | bytes:
    try:
        return json.dumps(fields_of(raw), sort_keys=True)
    except RecursionError:
        return raw


def at_time(record: AuditRecord, event_ns: int) -> AuditRecord:
    """Returns an undated record with the time that it is given."""
    return msgspec.structs.replace(record, event_ns=event_ns)


def follow_previous(records: list[AuditRecord], previous_ns: int | None) -> list[AuditRecord]:
    """Returns records in which each undated one has the time of the record before it, the first ``previous_ns``.

    Parts are written and read back by this rule, so an undated record has the same time in every format. Without
    ``previous_ns`` the first ones take the time of the first dated record.
    """
    if not has_odd(records):
        return records
    if previous_ns is None:
        previous_ns = next((record.event_ns for record in records if not is_undated(record)), 0)
    placed = []
    for record in records:
        if is_undated(record):
            record = at_time(record, previous_ns)
        previous_ns = record.event_ns
        placed.append(record)
    return placed


def id_digest(record_id: str) -> int:
    """Returns 64 bits of BLAKE2b of a record id, equal in every process and release.

    Two of a million ids share a digest by chance once in 37 million windows (n² / 2^65).
    """
    content = record_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def content_digest(raw: bytes) -> int:
    """Returns 64 bits of BLAKE2b of a record's own JSON, equal in every process and release."""
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big")


def lines_of(records: Sequence[AuditRecord]) -> bytes:
    """Returns the records' own JSON, each followed by a line feed; digests of records are computed from it."""
    return b"\n".join([*[record.raw for record in records], b""])


def in_order(records: Iterable[AuditRecord]) -> list[AuditRecord]:
    """Returns records sorted by (event time, id)."""
    return sorted(records)


def inside(records: list[AuditRecord], window: TimeWindow) -> list[AuditRecord]:
    """Returns the records whose event time lies in a window; they are sorted by whole second and stay so."""
    start_ns, end_ns = window.start_ns, window.end_ns
    if not records:
        return records
    # Usually all records are inside: comparing the two outermost, with a second to spare, shows it without a loop.
    outermost = records[0].event_ns, records[-1].event_ns
    if start_ns <= min(outermost) - SECOND_NS and max(outermost) + SECOND_NS < end_ns:
        return records
    return [record for record in records if start_ns <= record.event_ns < end_ns]
