"""Audit records: the raw bytes of each, with the id and event time that are read from them.

Invariant: the bytes of a record are never changed, except for line breaks between its tokens. A record without a
readable event time is an error, because dropping it, or guessing its time, would lose it.
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
    """Returns the records of one page in order of arrival; ``body`` is the whole response that contains them, if any.

    Raises ``SourceProtocolError`` for an entry that is not an object or has no readable event time.
    """
    lines = list(map(bytes, raws))
    page = b'{"result":[' + b",".join(lines) + b"]}" if body is None else body
    try:
        # Decoding the whole page in one call takes a third of the time of one call per record (measured).
        heads = _PAGE_DECODERS[version](page).result or ()
        return _plain_records(heads, lines if _is_on_one_line(page) else _on_one_line(lines))
    except (msgspec.DecodeError, ValueError, TypeError):
        # An unusual record: decode one by one, so that an error can show which it is.
        heads = [_read_head(version, line) for line in lines]
        return [
            AuditRecord(_event_ns(head.when, line), _identity(head.id, line), line)
            for head, line in zip(heads, _on_one_line(lines), strict=True)
        ]


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
        if times and not _FIRST_NS <= min(times) <= max(times) <= _LAST_NS:
            raise ValueError("a time is out of range")
        return times
    return list(map(parse_event_time, texts))


def _is_on_one_line(text: bytes) -> bool:
    return b"\n" not in text and b"\r" not in text


def _on_one_line(lines: Sequence[bytes]) -> list[bytes]:
    """Returns records without the line breaks of indented JSON, which would break JSON Lines.

    RFC 8259, 7: "the control characters (U+0000 through U+001F)" must be escaped inside a string, so every raw line
    break is white space between tokens.
    """
    return [line.replace(b"\n", b" ").replace(b"\r", b" ") for line in lines]


def _read_head(version: ApiVersion, raw: bytes) -> _Head:
    """Returns a record's id and time; raises ``SourceProtocolError`` with the record if they cannot be read."""
    decode = _HEAD_DECODERS[version]
    try:
        return _decode_lenient(decode, raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SourceProtocolError(
            f"The API returned an entry that cannot be read as an audit record ({error}): {_excerpt(raw)}. "
            "Nothing of the window was written. Report it with the record to the maintainers."
        ) from error


def _decode_lenient(decode: Callable[[bytes], _Head], raw: bytes) -> _Head:
    try:
        return decode(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return decode(mask_surrogates(raw))


def _event_ns(when: str | None, raw: bytes) -> int:
    try:
        return parse_event_time(when or "")
    except ValueError as error:
        raise SourceProtocolError(
            f"The API returned a record without a readable time ({when!r}): {_excerpt(raw)}. "
            "Nothing of the window was written. Report it with the record to the maintainers."
        ) from error


def _identity(record_id: str | int | None, raw: bytes) -> str:
    """Returns the record's id as text, or the digest of its bytes if it has none.

    Cloudflare API docs: every field of a record is optional, also `id`. Observed: numeric ids.
    """
    if record_id is None or record_id == "" or _REPLACEMENT in str(record_id):
        return _digest_id(raw)
    return str(record_id)


def _digest_id(raw: bytes) -> str:
    return f"{_DIGEST_PREFIX}{hashlib.sha256(raw).hexdigest()}"


def has_digest_id(record: AuditRecord) -> bool:
    """Returns whether a record has no id of its own, so that the digest of its bytes is its id."""
    return record.id.startswith(_DIGEST_PREFIX) and record.id == _digest_id(record.raw)


_DIGEST_PREFIX = "sha256:"
_REPLACEMENT = "\ufffd"
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def mask_surrogates(body: bytes) -> bytes:
    r"""Returns JSON of the same length in which every surrogate escape is replaced by U+FFFD.

    RFC 8259, 8.2: the grammar allows "bit sequences that cannot encode Unicode characters; for example, "\uDEAD" (a
    single unpaired UTF-16 surrogate)", as a truncated emoji leaves it. Strict decoders reject it. The masked copy is
    only used to find the records; what is kept is cut from the original at the same offsets.
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

    RFC 8259, 8.1: JSON text "MUST be encoded using UTF-8". Bytes that are not become replacement characters.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(raw.decode("utf-8", "replace"))


def is_same_record(one: AuditRecord, other: AuditRecord) -> bool:
    """Returns whether two records of one id have equal times and JSON, ignoring white space and the order of keys."""
    if one.event_ns != other.event_ns:
        return False
    return one.raw == other.raw or _canonical(one.raw) == _canonical(other.raw)


def _canonical(raw: bytes) -> str:
    return json.dumps(fields_of(raw), sort_keys=True)


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
