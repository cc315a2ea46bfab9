"""Control API of the fake over HTTP, below ``/_fake/``: truth, request log, added records, misbehaviours.

Invariant: control requests are not counted, need no credential and never misbehave.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.instants import EPOCH, parse_instant, to_ns
from airflow_audit_provider.testing.misbehaviour import parse_switch
from airflow_audit_provider.testing.records import Feed

PREFIX = "/_fake/"
_FAR_NS = to_ns(EPOCH.replace(year=2200))
_LINES_A_PART = 500


def control_response(fake: FakeCloudflare, path: str, params: dict[str, str], body: bytes) -> Iterator[bytes]:
    """Yields the response; raises KeyError for an unknown path, ValueError for an invalid parameter or record.

    ``truth`` gives raw records as JSONL for ``version`` (v1), ``scope`` (the first account), ``start`` and ``end``;
    ``requests`` the log as JSONL; ``records`` adds the posted JSONL, visible at once; ``misbehave`` replaces the active
    misbehaviours by those posted, one a line as on the command line.
    """
    version = params.get("version") or "v1"
    scope = params.get("scope") or f"accounts/{fake.settings.account_ids[0]}"
    if path == PREFIX + "truth":
        start, end = params.get("start"), params.get("end")
        bounds = parse_instant(start) if start else 0, parse_instant(end) if end else _FAR_NS
        return _lines(row.raw for row in fake.truth_ns(Feed(version, scope), *bounds))
    if path == PREFIX + "requests":
        return _lines(msgspec.json.encode(asked._asdict()) for asked in list(fake.requests))
    if path == PREFIX + "records":
        added = [fake.add(line, version, scope) for line in body.splitlines() if line.strip()]
        return _lines(row.id.encode() for row in added)
    if path == PREFIX + "misbehave":
        switches = [parse_switch(line) for line in body.decode().splitlines() if line.strip()]
        fake.misbehave(*switches)
        return _lines(switch.kind.encode() for switch in switches)
    raise KeyError(path)


def _lines(lines: Iterator[bytes]) -> Iterator[bytes]:
    while part := list(islice(lines, _LINES_A_PART)):
        yield b"\n".join(part) + b"\n"
