"""Generates the records of one day from a seed.

Invariant: a day's rows depend only on (seed, feed, day, count); they are sorted by (time, id) and never change.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_audit_provider.testing.daily_pattern import Moment, moments, seeded
from airflow_audit_provider.testing.instants import day_start, format_instant
from airflow_audit_provider.testing.shapes import NOTES_JSON, Shapes
from airflow_audit_provider.testing.shapes_v1 import shapes_v1
from airflow_audit_provider.testing.shapes_v2 import shapes_v2

_NOISE_BYTES = 48
_NOISE_HEX = 2 * _NOISE_BYTES


class Feed(NamedTuple):
    """One stream of records: ``v1`` or ``v2``, and ``accounts/<id>``, ``organizations/<id>`` or ``user``."""

    version: str
    scope: str

    def __str__(self) -> str:
        return f"{self.version}:{self.scope}"


class Row(NamedTuple):
    """One record: event time in nanoseconds since 1970, id, and its JSON as the API sends it."""

    time_ns: int
    id: str
    raw: bytes


def generate(seed: int, feed: Feed, day: int, count: int, user_id: str) -> tuple[Row, ...]:
    """Returns the rows of one UTC day (days since 1970), sorted by (time, id)."""
    rng = seeded(seed, feed, day)
    shapes = shapes_v1(feed.scope, user_id) if feed.version == "v1" else shapes_v2(feed.scope)
    when = moments(rng, count)
    rows = _pour(shapes, when, rng.randbytes(_NOISE_BYTES * count), day)
    rows.sort()
    return tuple(rows)


def _pour(shapes: Shapes, when: list[Moment], noise: bytes, day: int) -> list[Row]:
    """Formats each time into a template chosen by its own 48 random bytes; the hot loop of a million records."""
    frames, actors, zones = shapes
    hexes = noise.hex().encode()
    midnight = day_start(day)
    date = format_instant(midnight)[:11].encode()
    rows: list[Row] = []
    for number, (micros, digits) in enumerate(when):
        at = number * _NOISE_BYTES
        own = noise[at + 32 : at + 48]
        digits_of = hexes[2 * at : 2 * at + _NOISE_HEX]
        record_id = b"%b-%b-4%b-a%b-%b" % (
            digits_of[:8], digits_of[8:12], digits_of[12:15], digits_of[15:18], digits_of[18:30],
        )  # fmt: skip
        second, fraction = divmod(micros, 1_000_000)
        second_text = b"%b%02d:%02d:%02d" % (date, second // 3600, second // 60 % 60, second % 60)
        zone, zone_id = zones[own[0] % len(zones)]
        raw = frames[(own[1] << 8 | own[2]) % len(frames)] % {
            b"id": record_id,
            b"when": (second_text + (b".%06d" % fraction)[: digits + 1] if digits else second_text) + b"Z",
            b"actor": actors[own[3] % len(actors)],
            b"resource": digits_of[32:64],
            b"zone": zone,
            b"zone_id": zone_id,
            b"note": NOTES_JSON[own[4] % len(NOTES_JSON)],
            b"number": b"%d" % (own[5] << 8 | own[6]),
            b"flag": b"true" if own[7] & 1 else b"false",
            b"ray": digits_of[64:80],
            b"letters": digits_of[80:88],
        }
        rows.append(Row(midnight + micros * 1000, record_id.decode(), raw))
    return rows
