"""Generator of actions as both versions of the API describe them, with the truth which records are of one action.

How far apart the two times are, and whether a version names the resource, is not documented, so both vary. Faults that
make pairing hard are made on purpose: bursts of edits of one resource, scripts that change many resources in one
second, records that only one version has, and records without resource or actor.

Invariant: the same seed makes the same records.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

START = datetime(2026, 10, 26, tzinfo=UTC)
_DAY_SECONDS = 86_400
# The words of both versions for one kind of action, and what they are about.
_KINDS = (
    ("rec_add", "create", "DNS_record", "dns_records", "POST"),
    ("rec_set", "update", "DNS_record", "dns_records", "PATCH"),
    ("rec_del", "delete", "DNS_record", "dns_records", "DELETE"),
    ("firewall_rule_edit", "update", "firewall.rule", "firewall", "PATCH"),
    ("token_create", "create", "token", "api_tokens", "POST"),
    ("change_setting", "update", "zone", "zones", "PATCH"),
)
_PEOPLE = [f"person{number}@example.com" for number in range(12)]


class Action(NamedTuple):
    """An action with its record in each version, None where a version has none."""

    v1: bytes | None
    v2: bytes | None


class Faults(NamedTuple):
    """How hard the pairing is: the greatest difference of the two times, and shares of records with a fault."""

    apart: timedelta = timedelta(seconds=2)
    only_v1: float = 0.05
    only_v2: float = 0.10
    no_resource: float = 0.05
    no_actor: float = 0.02
    ray_in_v1: float = 0.0


USUAL = Faults()


class _Facts(NamedTuple):
    """What an action is: its time, who, which kind, on what."""

    at: datetime
    person: str
    kind: tuple[str, str, str, str, str]
    resource: str
    zone: str


def actions(count: int, seed: int, faults: Faults = USUAL) -> list[Action]:
    """Returns a day of actions, in order of time."""
    source = random.Random(seed)
    facts = sorted(_facts(count, source))
    return [_action(each, source, faults) for each in facts]


def _facts(count: int, source: random.Random) -> Iterator[_Facts]:
    """Yields single actions, bursts of edits of one resource, and scripts that change many resources at once."""
    made = 0
    while made < count:
        at = START + timedelta(seconds=source.uniform(60, _DAY_SECONDS - 120))
        person, zone, kind = source.choice(_PEOPLE), f"{source.randrange(8):032x}", source.choice(_KINDS)
        resource, shape = f"{source.getrandbits(128):032x}", source.random()
        length = 1 if shape < 0.8 else source.randint(2, 6)
        for number in range(min(length, count - made)):
            later = timedelta(seconds=number * source.uniform(2.0, 8.0)) if shape < 0.9 else timedelta(0)
            other = resource if shape < 0.9 else f"{source.getrandbits(128):032x}"
            yield _Facts(at + later, person, kind, other, zone)
            made += 1


def _action(facts: _Facts, source: random.Random, faults: Faults) -> Action:
    chance = source.random()
    apart = timedelta(seconds=source.uniform(-1, 1) * faults.apart.total_seconds())
    ray = f"{source.getrandbits(64):016x}"
    v1 = _v1(facts, facts.at + apart, ray if source.random() < faults.ray_in_v1 else None, source)
    v2 = _v2(facts, ray, source)
    for record, person in ((v1, "actor"), (v2, "actor")):
        if source.random() < faults.no_resource:
            del record["resource"]["id"]
        if source.random() < faults.no_actor:
            record[person] = {"type": "system"}
    return Action(
        None if chance < faults.only_v2 else json.dumps(v1).encode(),
        None if faults.only_v2 <= chance < faults.only_v2 + faults.only_v1 else json.dumps(v2).encode(),
    )


def _v1(facts: _Facts, at: datetime, ray: str | None, source: random.Random) -> dict[str, Any]:
    kind, _, resource_type, _, _ = facts.kind
    record: dict[str, Any] = {
        "id": str(uuid.UUID(int=source.getrandbits(128))),
        "when": at.isoformat(),
        "interface": "UI",
        "action": {"type": kind, "result": True},
        "actor": {"email": facts.person, "type": "user", "ip": "192.0.2.1"},
        "resource": {"id": facts.resource, "type": resource_type},
        "metadata": {"zone_id": facts.zone},
        "oldValueJson": {"content": "before"},
        "newValueJson": {"content": "after"},
    }
    if ray is not None:
        record["metadata"]["ray_id"] = ray
    return record


def _v2(facts: _Facts, ray: str, source: random.Random) -> dict[str, Any]:
    _, kind, _, product, method = facts.kind
    return {
        "id": str(uuid.UUID(int=source.getrandbits(128))),
        "action": {"type": kind, "time": facts.at.isoformat(), "result": "success"},
        "actor": {"email": facts.person, "type": "user", "ip_address": "192.0.2.1", "context": "dash"},
        "resource": {"id": facts.resource, "product": product, "type": "record"},
        "raw": {"cf_ray_id": ray, "method": method, "uri": f"/zones/{facts.zone}/{facts.resource}"},
        "zone": {"id": facts.zone, "name": "example.com"},
    }
