"""Records with unusual JSON values, on which no format may fail; ``read_records`` accepts each of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records

V1, V2 = ApiVersion.V1, ApiVersion.V2
WHEN = "2026-11-01T10:20:30.123456789Z"


def records_of(version: ApiVersion, *raws: bytes) -> list[AuditRecord]:
    """Returns the records of a page with these bytes."""
    return read_records(version, [msgspec.Raw(raw) for raw in raws])


def raw_of(version: ApiVersion, record_id: str, **fields: Any) -> bytes:
    """Returns a record's JSON with its id, its time and any other fields."""
    timed: dict[str, Any] = (
        {"id": record_id, "when": WHEN} if version is V1 else {"id": record_id, "action": {"time": WHEN}}
    )
    return json.dumps({**timed, **fields}, ensure_ascii=False).encode()


VALUES: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "number": b"17",
    "minus": b"-17",
    "fraction": b"1.10",
    "whole fraction": b"200.0",
    "power": b"2e2",
    "huge": b"123456789012345678901234567890",
    "largest": b"9223372036854775807",
    "too large": b"9223372036854775808",
    "smallest": b"-9223372036854775808",
    "empty": b'""',
    "text": b'"plain"',
    "null as text": b'"null"',
    "number as text": b'"0017"',
    "quotes": b'"a \\"quoted\\", text;\\tand \'more\'"',
    "lines": b'"one\\ntwo\\r\\nthree\\rfour"',
    "formula": b'"=1+1"',
    "zero": b'"a\\u0000b"',
    "separators": '"\u2028\u0085\ufeff"'.encode(),
    "accents": '"Zoë 😀"'.encode(),
    "pair": b'"\\ud83d\\ude00"',
    "half": b'"cut \\ud83d"',
    "other half": b'"\\uDE00 cut"',
    "list": b'[1, null, "x\\ny", {"a": 1}]',
    "object": b'{"a": {"b": "c,d"}, "e": []}',
    "object of halves": b'{"\\ud83d": "\\ude00"}',
    "empty object": b"{}",
    "long": b'"' + b"x" * 70_000 + b'"',
}
GROUPS = {
    V1: (b"action", b"actor", b"resource", b"metadata", b"interface", b"newValue", b"oldValueJson", b"unknown"),
    V2: (b"account", b"actor", b"raw", b"resource", b"zone", b"unknown"),
}
FIELDS = {
    V1: ((b"action", b"result"), (b"action", b"type"), (b"actor", b"email"), (b"resource", b"id")),
    V2: ((b"raw", b"status_code"), (b"actor", b"email"), (b"resource", b"scope"), (b"resource", b"request")),
}


def odd_raws(version: ApiVersion) -> dict[str, bytes]:
    """Returns a record for each odd value in each field, named by both."""
    head = (
        b'{"id":"%s","when":"' + WHEN.encode() + b'"'
        if version is V1
        else b'{"id":"%s","action":{"time":"' + WHEN.encode() + b'"}'
    )
    raws = {}
    for name, value in VALUES.items():
        for group in GROUPS[version]:
            raws[f"{group.decode()} {name}"] = head.replace(b"%s", group + b" " + name.encode()) + b',"%s":%s}' % (
                group,
                value,
            )
        for group, field in FIELDS[version]:
            inside = b'"%s":%s' % (field, value)
            raws[f"{group.decode()}.{field.decode()} {name}"] = head.replace(
                b"%s", group + b"." + field + b" " + name.encode()
            ) + b',"%s":{%s}}' % (group, inside)
    return raws


def odd_records(version: ApiVersion) -> list[AuditRecord]:
    """Returns all odd records of a version, and some without an id or with a number as id."""
    bare = raw_of(version, "x").replace(b'"id": "x", ', b"")
    numbered = raw_of(version, "x").replace(b'"x"', b"10715065315")
    spaced = json.dumps(json.loads(raw_of(version, "pretty", note="a\nb")), indent=2).encode()
    return records_of(version, bare, numbered, spaced, *odd_raws(version).values())
