"""Templates of version 2 records, for an account and for an organization.

Invariant: an organization's records have no account and no zone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from airflow_audit_provider.testing.shapes import Shapes, actors_json, frame
from airflow_audit_provider.testing.vocabulary import ADDRESSES, AGENTS, PEOPLE, RULES, ZONES, email_of, hex_id

# category: (label, {product: label})
CATEGORIES: dict[str, tuple[str, dict[str, str]]] = {
    "zerotrust": ("Zero Trust", {"access": "Access", "gateway": "Gateway"}),
    "dns": ("DNS", {"dns_records": "DNS Records"}),
    "account": ("Account", {"members": "Members", "api_tokens": "API Tokens"}),
    "developer": ("Developer Platform", {"workers": "Workers", "stream": "Stream"}),
}
_PATHS = {
    "dns_records": ("record", "/zones/<zone_id>/dns_records/<resource>", "zones"),
    "members": ("member", "/accounts/<account>/members", "accounts"),
    "access": ("application", "/accounts/<account>/access/apps/<resource>", "accounts"),
    "gateway": ("rule", "/accounts/<account>/gateway/rules/<resource>", "accounts"),
    "workers": ("script", "/accounts/<account>/workers/scripts/<letters>", "accounts"),
    "api_tokens": ("token", "/user/tokens/<resource>", "user"),
    "stream": ("Video", "/accounts/<account>/stream/<resource>", "accounts"),
    "organizations": ("organization", "/organizations/<account>/members", "organizations"),
}
_BODY: dict[str, Any] = {
    "id": "<resource>", "name": "<letters>", "enabled": "<<flag>>", "precedence": "<<number>>", "comment": "<<note>>",
    "expression": RULES[1],
}  # fmt: skip
_ACTIONS = (("create", "POST", 200), ("update", "PATCH", 200), ("delete", "DELETE", 204), ("view", "POST", 201))


def _resource(product: str, turn: int) -> dict[str, Any]:
    """Returns the resource: request, response, and its scope as text or sometimes as an object."""
    kind, _, scope = _PATHS[product]
    resource: dict[str, Any] = {"id": "<resource>", "product": product, "type": kind, "scope": scope}
    if turn % 3 == 1:
        resource["scope"] = {"name": scope, "id": "<account>"}
    if turn % 4 != 3:
        resource["request"] = _BODY
        resource["response"] = {"success": True, "result": {"id": "<resource>", "modified_on": "<when>"}, "errors": []}
    return resource


def _record(product: str, turn: int) -> dict[str, Any]:
    """Returns one template for each product and action."""
    action, method, status = _ACTIONS[turn % len(_ACTIONS)]
    kind, path, scope = _PATHS[product]
    record: dict[str, Any] = {
        "id": "<id>",
        "account": {"id": "<account>", "name": "Example Ltd. – Zürich"},
        "action": {"description": f"{action.title()} {kind}", "result": "success", "time": "<when>", "type": action},
        "actor": "<<actor>>",
        "raw": {
            "cf_ray_id": "<ray>",
            "method": method,
            "status_code": status,
            "uri": path,
            "user_agent": AGENTS[turn % 4],
        },
        "resource": _resource(product, turn),
    }
    if scope == "zones":
        record["zone"] = {"id": "<zone_id>", "name": "<zone>"}
    if turn % 7 == 6:
        record["action"]["result"] = "failure"
        record["x_future"] = {"reason": "<<note>>", "trail": ["<ray>", None, "<<number>>"]}
    return record


def _sign_in() -> dict[str, Any]:
    """Returns a sign-in, which only version 2 has."""
    record = _record("members", 3)
    record["action"] = {"description": "Log in", "result": "success", "time": "<when>", "type": "create"}
    record["resource"] = {"product": "login", "scope": "user", "type": "session"}
    return record


def actors() -> list[dict[str, Any]]:
    """Returns dashboard users, tokens and the system."""
    found: list[dict[str, Any]] = [
        {
            "context": ("dash", "api_token", "api_key", "oauth")[n % 4],
            "email": email_of(who),
            "id": hex_id("actor", who),
            "ip_address": ADDRESSES[n % len(ADDRESSES)],
            "type": "user",
        }
        for n, who in enumerate(PEOPLE)
    ]
    for n, actor in enumerate(found):
        if actor["context"] in ("api_token", "oauth"):
            actor |= {"token_id": hex_id("token", n), "token_name": f"deploy-{n} ✓"}
    return [*found, {"context": "api", "type": "system"}, {"type": "account", "id": hex_id("actor", "account")}]


@lru_cache(maxsize=64)
def shapes_v2(scope: str) -> Shapes:
    """Returns the templates of one ``accounts/<id>`` or ``organizations/<id>``."""
    kind, _, owner = scope.partition("/")
    if kind == "organizations":
        records = [_record("organizations", turn) for turn in range(8)]
        for record in records:
            record["organization"] = {"id": record.pop("account")["id"]}
    else:
        products = [product for product in _PATHS if product != "organizations"]
        records = [_record(products[turn % len(products)], turn) for turn in range(28)]
        records += [_sign_in(), _sign_in()]
    frames = tuple(frame(record).replace(b"<account>", owner.encode()) for record in records)
    zones = tuple((zone.encode(), hex_id("zone", zone, owner).encode()) for zone in ZONES)
    return Shapes(frames, actors_json(actors()), zones)
