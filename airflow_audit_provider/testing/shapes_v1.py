"""Templates of version 1 records.

Invariant: every field that real records can omit is omitted in some template.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from airflow_audit_provider.testing.shapes import Shapes, actors_json, frame
from airflow_audit_provider.testing.vocabulary import ADDRESSES, PEOPLE, RULES, ZONES, email_of, hex_id

_DNS: dict[str, Any] = {
    "id": "<resource>", "zone_id": "<zone_id>", "zone_name": "<zone>", "name": "<letters>.<zone>", "type": "TXT",
    "content": "v=spf1 include:_spf.<zone> ip4:192.0.2.0/24 ip4:198.51.100.0/25 ip6:2001:db8::/48 ~all; ref=<resource>",
    "proxiable": False, "proxied": "<<flag>>", "ttl": 1, "locked": False, "comment": "<<note>>",
    "meta": {"auto_added": False, "source": "primary"}, "tags": ["team:edge", "cost-centre:<letters>"],
}  # fmt: skip
_RULE: dict[str, Any] = {
    "id": "<resource>", "paused": "<<flag>>", "priority": "<<number>>", "action": "challenge", "ref": "<letters>",
    "description": "<<note>>", "filter": {"id": "<resource>", "expression": RULES[0], "paused": False},
}  # fmt: skip


def _record(action: str, kind: str, **rest: Any) -> dict[str, Any]:
    """Returns a record with the usual fields, and others."""
    return {
        "id": "<id>",
        "when": "<when>",
        "interface": "UI",
        "action": {"type": action, "result": True},
        "actor": "<<actor>>",
        "owner": {"id": "<owner>"},
        "resource": {"id": "<resource>", "type": kind},
        "metadata": {"zone_name": "<zone>"},
        "newValue": "null",
        "oldValue": "null",
    } | rest


def _zone_changes() -> list[dict[str, Any]]:
    """Returns DNS, settings and firewall records: long ones, with values before and after."""
    added = {"newValueJson": _DNS, "newValue": '{"name":"<letters>.<zone>","type":"TXT"}', "oldValue": ""}
    return [
        _record("rec_add", "DNS_record", **added),
        _record("rec_del", "DNS_record", oldValueJson=_DNS, interface="API"),
        _record("rec_set", "DNS_record", newValueJson=_DNS, oldValueJson={**_DNS, "content": "v=spf1 -all"}),
        _record("firewall_rule_edit", "firewall.rule", newValueJson=_RULE, oldValueJson={**_RULE, "action": "block"}),
        _record(
            "change_setting",
            "zone",
            newValue="high",
            oldValue="medium",
            metadata={
                "name": "security_level",
                "type": "firewall",
                "value": "high",
                "zone_name": "<zone>",
                "n": "<<number>>",
                "label": "für alle",
            },
        ),
        _record(
            "purge",
            "zone",
            interface="API",
            metadata={"zone_name": "<zone>", "files": [f"https://<zone>/static/{n}/<resource>.js" for n in range(8)]},
        ),
    ]


def _account_changes() -> list[dict[str, Any]]:
    """Returns member, token and script records: some with unknown fields, a failed result, no owner."""
    member = {
        "email": "<letters>@example.com",
        "roles": ["Administrator", "Billing"],
        "status": "pending",
        "note": "<<note>>",
    }
    policy = {"effect": "allow", "id": "<resource>", "permission_groups": [{"id": "<zone_id>", "name": "Zone Read"}]}
    failed = _record("token_create", "token", newValueJson={"name": "<letters>", "policies": [policy, policy]})
    failed["action"] = {
        "type": "token_create",
        "result": "<<flag>>",
        "info": "requested scopes for <letters>: 計 <ray>",
    }
    script = _record(
        "script_upload", "worker.script", interface="API", metadata={"script": "<letters>", "etag": "<resource>"}
    )
    del script["owner"]
    return [
        _record("add", "account.member", newValueJson=member, metadata={"member": member, "previous": []}),
        failed,
        script | {"x_future": {"nested": [1, 2.5, None, "Ünïcödé"], "trace": "<resource>" * 12}, "requestId": "<ray>"},
        _record("lb_pool_update", "load_balancer.pool", newValueJson=_RULE, oldValueJson=_RULE, interface=""),
    ]


def _user_changes() -> list[dict[str, Any]]:
    """Returns changes of a user's own profile, which ``hide_user_logs`` hides."""
    seen = {"device": "laptop", "mfa": "<<flag>>", "session": "<resource>" * 16, "note": "<<note>>"}
    login = _record("login", "user", metadata=seen)
    login["owner"] = {"id": "<user>"}
    return [login, login | {"action": {"type": "logout"}, "metadata": {}, "newValue": "", "oldValue": ""}]


def actors() -> list[dict[str, Any]]:
    """Returns users with and without an address, tokens and the system; absent fields are missing, not null."""
    found: list[dict[str, Any]] = [
        {"id": hex_id("actor", who), "email": email_of(who), "ip": ADDRESSES[n % len(ADDRESSES)], "type": "user"}
        for n, who in enumerate(PEOPLE)
    ]
    found.append({"id": hex_id("actor", "alice"), "email": email_of("alice"), "type": "user"})
    found.append({"type": "system"})
    found.append({"id": hex_id("actor", "bot"), "type": "Cloudflare", "ip": "203.0.113.9"})
    return found


@lru_cache(maxsize=64)
def shapes_v1(scope: str, user_id: str) -> Shapes:
    """Returns the templates of one account (``accounts/<id>``) or of the user (``user``)."""
    owner = scope.partition("/")[2] or user_id
    records = _user_changes() if scope == "user" else [*_zone_changes(), *_account_changes(), *_user_changes()]
    frames = [frame(record, escaped=n % 5 == 4) for n, record in enumerate(records)]
    known = [f.replace(b"<owner>", owner.encode()).replace(b"<user>", user_id.encode()) for f in frames]
    zones = tuple((zone.encode(), hex_id("zone", zone, owner).encode()) for zone in ZONES)
    return Shapes(tuple(known), actors_json(actors()), zones)
