"""Changes of resources with their true values before and after, as records of version 2.

Invariant: the same seed gives the same changes, and a record shows what the API shows: the request and the response,
never the value before.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random  # noqa: TID251 - seeded, so the output is deterministic
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.testing.daily_pattern import seeded
from airflow_audit_provider.testing.instants import format_instant
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from airflow_audit_provider.testing.vocabulary import ADDRESSES, NOTES, PEOPLE, email_of, hex_id

_METHODS = {"create": "POST", "update": "PATCH", "delete": "DELETE"}
_RESOURCE_COUNT = 4


class SeededChange(NamedTuple):
    """One change: its record, the resource, and the true values; None before a creation and after a deletion."""

    raw: bytes
    record_id: str
    resource_id: str
    time_ns: int
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def seeded_changes(
    seed: int, times_ns: Sequence[int], resource_count: int = _RESOURCE_COUNT, account_id: str = ACCOUNT_ID
) -> list[SeededChange]:
    """Returns one change for each time, in order: of some DNS records, each created, updated, deleted and so on."""
    rng = seeded(seed, "changes")
    states: dict[str, dict[str, Any] | None] = {}
    found = []
    for number, time_ns in enumerate(times_ns):
        resource_id = hex_id("changed", seed, rng.randrange(resource_count))
        before = states.get(resource_id)
        action = "create" if before is None else rng.choice(("update", "update", "update", "delete"))
        request, after = _change(rng, resource_id, before, action)
        states[resource_id] = after
        record_id = _record_id(hex_id("change", seed, number))
        raw = _record(record_id, time_ns, action, resource_id, (request, after), account_id)
        found.append(SeededChange(msgspec.json.encode(raw), record_id, resource_id, time_ns, before, after))
    return found


def _record_id(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _change(rng: Random, resource_id: str, before: dict[str, Any] | None, action: str) -> tuple[Any, Any]:
    """Returns the body of the request, and the value after it."""
    if action == "delete":
        return None, None
    fields: dict[str, Any] = {
        "content": rng.choice(ADDRESSES),
        "proxied": rng.random() < 0.5,
        "ttl": rng.choice((1, 60, 3600)),
        "comment": rng.choice(NOTES),
        "tags": rng.sample(["web", "mail", "team:dns", "temp"], rng.randrange(3)),
    }
    if before is None:
        request = {"name": f"host-{resource_id[:4]}.example.com", "type": "A", **fields}
        return request, {"id": resource_id, **request}
    request = dict(rng.sample(sorted(fields.items(), key=lambda item: item[0]), rng.randrange(1, 4)))
    return request, {**before, **request}


def _record(
    record_id: str, time_ns: int, action: str, resource_id: str, values: tuple[Any, Any], account_id: str
) -> dict[str, Any]:
    request, after = values
    zone_id = hex_id("zone", "example.com", account_id)
    resource: dict[str, Any] = {"id": resource_id, "product": "dns_records", "type": "record", "scope": "zones"}
    if request is not None:
        resource["request"] = request
    resource["response"] = {"success": True, "errors": [], "result": after or {"id": resource_id}}
    person = PEOPLE[int(resource_id[:2], 16) % len(PEOPLE)]
    return {
        "id": record_id,
        "account": {"id": account_id, "name": "Example Ltd."},
        "action": {
            "description": f"{action.title()} record",
            "result": "success",
            "time": format_instant(time_ns, 6),
            "type": action,
        },
        "actor": {"context": "dash", "email": email_of(person), "id": hex_id("actor", person), "type": "user"},
        "raw": {
            "cf_ray_id": hex_id("ray", record_id)[:16],
            "method": _METHODS[action],
            "status_code": 200,
            "uri": f"/zones/{zone_id}/dns_records/{resource_id}",
        },
        "resource": resource,
        "zone": {"id": zone_id, "name": "example.com"},
    }
