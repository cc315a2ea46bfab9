"""Odd records: unusual timestamps, unusual fields, five megabytes.

Invariant: an odd record is deterministic, and its row has its true time and id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from airflow_audit_provider.testing.instants import format_instant
from airflow_audit_provider.testing.misbehaviour import RESHAPING, Misbehaviour, Switch
from airflow_audit_provider.testing.records import Row

_TIME = re.compile(rb'("(?:when|time)":)"[^"]*"')
_OFFSETS = (0, 60, -480, 330, 345, -210, 840, 0)
_DEFAULT_BYTES = 5_000_000


def reshape(rows: Iterable[Row], switches: Iterable[Switch], version: str) -> tuple[Row, ...]:
    """Returns one day's rows with the active misbehaviours applied, sorted again."""
    changed = list(rows)
    for switch in switches:
        if switch.kind in RESHAPING and switch.version in (None, version):
            for number in range(switch.period - 1, len(changed), switch.period):
                changed[number] = _RESHAPERS[switch.kind](changed[number], number, switch)
    return tuple(sorted(changed))


def _odd_timestamp(row: Row, number: int, _: Switch) -> Row:
    """Rewrites the time with 0 to 9 fraction digits in some time zone."""
    digits = number % 10
    step: int = 10 ** (9 - digits)
    time_ns = (row.time_ns + (number * 137) % 1000) // step * step
    text = format_instant(time_ns, digits, _OFFSETS[number % len(_OFFSETS)]).encode()
    return Row(time_ns, row.id, _TIME.sub(rb'\1"' + text + b'"', row.raw, count=1))


def _odd_fields(row: Row, number: int, switch: Switch) -> Row:
    """Applies one of several odd shapes to a record."""
    record: dict[str, Any] = msgspec.json.decode(row.raw)
    turn = number // switch.period % 5
    if turn == 0:
        record["id"] = str(int(row.id[:8], 16) + 10_000_000_000)
    elif turn == 1:
        record["metadata"] = None
    elif turn == 2:
        record.pop("action" if "when" in record else "actor")
    elif turn == 3:
        record |= {"newValue": 17, "interface": "", "actor": {"type": "system", "email": None}}
    else:
        record |= {
            "resource": None,
            "résumé": [[], {}, 1e300, -0.0, "\u0000\ud7ff🦊"],
            "x": {"id": "not-the-id", "when": "never"},
        }
    return Row(row.time_ns, record["id"], msgspec.json.encode(record))


def _huge(row: Row, _: int, switch: Switch) -> Row:
    """Fills one field until the record has the given size."""
    size = _DEFAULT_BYTES if switch.value is None else int(switch.value)
    filler = b"0123456789abcdef" * (size // 16)
    return row._replace(raw=row.raw[:-1] + b',"x_filler":"' + filler + b'"}')


_RESHAPERS: dict[Misbehaviour, Callable[[Row, int, Switch], Row]] = {
    Misbehaviour.ODD_TIMESTAMPS: _odd_timestamp,
    Misbehaviour.ODD_FIELDS: _odd_fields,
    Misbehaviour.HUGE_RECORDS: _huge,
}
