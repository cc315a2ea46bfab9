"""Random audit records as bytes, ordinary and odd, written without the provider's or the fake's code.

Invariant: no two rows of one log have the same bytes, so what landed can be compared as bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

SECOND_NS = 1_000_000_000
_EPOCH_AT = datetime(1970, 1, 1, tzinfo=UTC)
# Cloudflare API, observed: fractions of none, five and six digits. Others are allowed by RFC 3339.
_FRACTION_DIGITS = (0, 0, 3, 5, 6, 6, 9)
_DEEP_COUNT = 1500
_WORDS = ("Zürich", "日本語", 'a\\"b', "O'Brien", "\\u0000", "emoji 😀", "tab\\t", "<b>", "null", "", "{}", "x,y;z")


class Row(NamedTuple):
    """One record that the server holds: the instant it is sorted by, its id if it has a plain one, and its bytes.

    ``is_dated`` is whether the bytes show that instant.
    """

    number: int
    at_ns: int
    id: str | None
    raw: bytes
    is_dated: bool = True


def nanoseconds(instant: datetime) -> int:
    """Returns an instant as nanoseconds since the epoch."""
    return (instant - _EPOCH_AT) // timedelta(microseconds=1) * 1000


class RecordWriter:
    """Writes the records of one log; equal random states write equal bytes."""

    def __init__(self, rng: Random, version: str) -> None:
        self._rng = rng
        self._version = version
        self._tails = [self._tail() for _ in range(6)]
        self._digits = rng.choice(_FRACTION_DIGITS)

    def row(self, number: int, wanted_ns: int) -> Row:
        """Returns an ordinary record near an instant, which is cut to the digits that its text has."""
        rng = self._rng
        digits = rng.choice(_FRACTION_DIGITS) if rng.random() < 0.1 else self._digits
        at_ns = wanted_ns - wanted_ns % 10 ** (9 - digits)
        record_id = self._id(number)
        return Row(number, at_ns, record_id, self._record(json.dumps(record_id), self._when(at_ns, digits)))

    def odd_row(self, number: int, at_ns: int, kind: str) -> Row:
        """Returns an odd record of a kind in ``ODD_KINDS``."""
        write, is_dated = ODD_KINDS[kind]
        at_ns -= at_ns % 1000
        raw = write(self, json.dumps(f"odd-{number}"), self._when(at_ns, 6))
        return Row(number, at_ns, None, raw, is_dated)

    def changed(self, row: Row) -> bytes:
        """Returns a record with the id and time of a row and another content."""
        return self._record(json.dumps(row.id), self._when(row.at_ns, 9), '"changed":true')

    def _id(self, number: int) -> str:
        digits = f"{self._rng.getrandbits(96):024x}{number:08x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def _when(self, at_ns: int, digits: int) -> str:
        second, fraction_ns = divmod(at_ns, SECOND_NS)
        text = (_EPOCH_AT + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        fraction = f".{fraction_ns:09}"[: digits + 1] if digits else ""
        return f'"{text}{fraction}Z"'

    def _record(self, record_id: str, when: str, extra: str | bytes = "") -> bytes:
        added = extra.encode() if isinstance(extra, str) else extra
        tail = b"".join([self._rng.choice(self._tails).encode(), b"," if added else b"", added])
        if self._version == "v1":
            return b'{"id":%b,"when":%b,%b}' % (record_id.encode(), when.encode(), tail)
        return b'{"id": %b, "action": {"time": %b, "type": "update"}, %b}' % (record_id.encode(), when.encode(), tail)

    def _tail(self) -> str:
        """Returns fields beside id and time, as real records have them: some missing, some null, some unknown."""
        rng = self._rng
        word = rng.choice(_WORDS)
        number = rng.choice(("0", "-1", "1.0", "1e3", "12345678901234567890123", "0.1000"))
        fields = [
            f'"actor":{{"id":"{rng.getrandbits(64):x}","email":"user@example.com","ip":"192.0.2.1","type":"user"}}',
            f'"resource":{{"id":{number},"type":"DNS_record"}}',
            f'"metadata":{{"zone_name":"{word}","deep":[[],[{number}],{{"a":null}}]}}',
            f'"newValue":"{word}"',
            '"oldValueJson":{"content":"\\ud83d\\ude00","proxied":false,"ttl":1}',
            f'"x_new_field":[1, {number}, null , "{word}"]',
            '"interface":""',
            f'"owner":{{"id":"{rng.getrandbits(64):x}"}}',
        ]
        return ",".join(rng.sample(fields, rng.randint(2, len(fields))))


def _with_value(value: str | bytes) -> Callable[[RecordWriter, str, str], bytes]:
    return lambda writer, name, when: writer._record(
        name, when, b'"odd":' + (value if isinstance(value, bytes) else value.encode())
    )


def _with_id(form: str) -> Callable[[RecordWriter, str, str], bytes]:
    return lambda writer, name, when: writer._record(form, when, f'"name":{name}')


def _with_when(form: str | bytes) -> Callable[[RecordWriter, str, str], bytes]:
    text = form if isinstance(form, str) else form.decode("latin-1")
    return lambda writer, name, when: writer._record(name, "@", "").replace(b"@", text.encode("latin-1"), 1)


def _without_time(writer: RecordWriter, name: str, when: str) -> bytes:
    return b'{"id":%b,"action":{"type":"update"}}' % name.encode()


def _without_zone(writer: RecordWriter, name: str, when: str) -> bytes:
    return writer._record(name, when.replace("Z", ""))


def _entry(form: str) -> Callable[[RecordWriter, str, str], bytes]:
    return lambda writer, name, when: form.replace("@", name).encode()


# What an odd record can be, how it is written, and whether its own time can be read.
ODD_KINDS: dict[str, tuple[Callable[[RecordWriter, str, str], bytes], bool]] = {
    "float id": (_with_id("1.5"), True),
    "boolean id": (_with_id("true"), True),
    "list id": (_with_id('["a"]'), True),
    "object id": (_with_id('{"a":1}'), True),
    "id that is not UTF-8": (lambda w, name, when: w._record(name, when).replace(b'"odd-', b'"odd\xff-', 1), True),
    "null time": (_with_when("null"), False),
    "no time": (_without_time, False),
    "unreadable time": (_with_when('"yesterday"'), False),
    "time of 1970": (_with_when('"1970-01-01T00:00:00Z"'), False),
    "time without a zone": (_without_zone, False),
    "number as time": (_with_when("1790000000"), False),
    "time that is not UTF-8": (_with_when(b'"2026-\xff"'), False),
    "null": (_entry("null"), False),
    "text": (_entry("@"), False),
    "list": (_entry("[@]"), False),
    "NaN": (_with_value("NaN"), True),
    "infinity": (_with_value("-Infinity"), True),
    "control character": (_with_value(b'"a\x01b"'), True),
    "byte order mark": (_with_value(b'"\xef\xbb\xbfa"'), True),
    "not UTF-8": (_with_value(b'"\xff\xfe"'), True),
    "half a surrogate pair": (_with_value('"\\ud83d"'), True),
    "nested too deep": (_with_value("[" * _DEEP_COUNT + "]" * _DEEP_COUNT), True),
    "number without end": (_with_value("1" + "0" * 400), True),
}


def spread(rng: Random, start_ns: int, end_ns: int, count: int) -> list[int]:
    """Returns so many random instants of a half-open range."""
    return [rng.randrange(start_ns, end_ns) for _ in range(count)]


def as_json_list(raws: Sequence[bytes], separator: bytes = b",") -> bytes:
    """Returns records as a JSON list."""
    return b"[" + separator.join(raws) + b"]"
