"""Log with records that break the API's contract, served at places that are theirs whatever their text says.

Invariant: a record's place in the lists is given apart from its bytes; no byte of a record is changed or parsed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.ports import Request, Response
from tests.pipelines.pull.landing import record_at

_TOO_DEEP = b"[" * 1500 + b"]" * 1500


class Row(NamedTuple):
    """A record and the instant at which the API sorts it."""

    at: datetime
    raw: bytes


def odd_raws(version: str, at: datetime) -> dict[str, bytes]:
    """Returns one record of each kind, by what is odd about it; ``at`` is the time of those that have one."""
    when = f'"{at.isoformat()}"'.encode()

    def of(record_id: bytes | None = b'"odd"', time: bytes | None = when, more: bytes = b"") -> bytes:
        fields = [b'"id":%b' % record_id] if record_id is not None else []
        if time is not None:
            fields.append(b'"when":%b' % time if version == "v1" else b'"action":{"time":%b}' % time)
        return b"{" + b",".join([*fields, b'"note":"x@example.com"']) + more + b"}"

    return {
        "id float": of(b"1.5"),
        "id boolean": of(b"true"),
        "id list": of(b'["a"]'),
        "id object": of(b'{"a":1}'),
        "id not UTF-8": of(b'"\xff"'),
        "time missing": of(time=None),
        "time null": of(time=b"null"),
        "time unreadable": of(time=b'"yesterday"'),
        "time number": of(time=b"17"),
        "time not UTF-8": of(time=b'"\xff"'),
        "time without zone": of(time=b'"2026-10-26T12:00:00"'),
        "time epoch": of(time=b'"1970-01-01T00:00:00Z"'),
        "time zero of Go": of(time=b'"0001-01-01T00:00:00Z"'),
        "neither id nor time": of(None, None),
        "null": b"null",
        "number": b"17",
        "text": b'"record"',
        "list": b"[1]",
        "NaN": of(more=b',"metadata":NaN'),
        "Infinity": of(more=b',"metadata":{"n":[-Infinity]}'),
        "control character": of(more=b',"metadata":"a\x01\tb"'),
        "line break": of(more=b',"metadata":"a\nb\r\nc"'),
        "NUL": of(more=b',"metadata":"a\x00b"'),
        "not UTF-8": of(more=b',"metadata":"\xff\xfe"'),
        "NaN and not UTF-8": of(None, more=b',"metadata":"\xff\xfe","x":NaN'),
        "too deep": of(more=b',"metadata":' + _TOO_DEEP),
        "far too deep": of(None, None, b',"metadata":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        "trailing comma": of(more=b","),
        "leading zero": of(more=b',"metadata":01'),
        "bare words": b"{odd: 'one', two}",
    }


class OddLog:
    """Transport that serves rows in the order of their places; ``page_rows`` is the most that a page has."""

    def __init__(self, version: str, rows: list[Row], page_rows: int = 1000) -> None:
        self.rows = sorted(rows, key=lambda row: row.at)
        self.page_rows = page_rows
        self.before_body = b""
        self._version = version

    def send(self, request: Request) -> Response:
        """Returns a page: bounds in whole seconds, both inclusive; ids are those that a strict reader finds."""
        params = dict(request.params)
        since, before = (datetime.fromisoformat(params[name]) for name in ("since", "before"))
        excluded = {value for name, value in request.params if name == "id.not"}
        shown = [row.raw for row in self.rows if since <= row.at <= before + timedelta(microseconds=999_999)]
        shown = [raw for raw in shown if _id_of(raw) not in excluded]
        shown = shown if params["direction"] == "asc" else shown[::-1]
        size = min(self.page_rows, int(params.get("per_page", params.get("limit", "100"))))
        first = int(params.get("cursor") or 0) if self._version == "v2" else (int(params["page"]) - 1) * size
        return Response(200, {}, self.before_body + self._body(shown[first : first + size], first + size, len(shown)))

    def _body(self, raws: list[bytes], following: int, count: int) -> bytes:
        paging = b',"result_info":{"cursor":"%b"}' % (str(following).encode() if following < count else b"")
        paging = paging if self._version == "v2" else b""
        return b'{"success":true,"errors":[],"result":[%b]%b}' % (b",".join(raws), paging)


def _id_of(raw: bytes) -> str | None:
    try:
        return str(msgspec.json.decode(raw)["id"])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, KeyError):
        return None


def ordinary(version: str, first_at: datetime, count: int, step: timedelta) -> list[Row]:
    """Returns ordinary records, one every ``step``."""
    instants = [first_at + number * step for number in range(count)]
    return [Row(at, record_at(at.isoformat(), f"plain-{at:%d%H%M%S}-{at.microsecond:06}", version)) for at in instants]
