"""Builds one OCSF event from one row of the normalized table, attribute by attribute.

The provider builds the same events from columns. This is the plain form of the mapping, to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from airflow_audit_provider.formats.ocsf.classes import API_ACTIVITY, AUTHENTICATION, OTHER, RELEASES, UNKNOWN
from airflow_audit_provider.formats.ocsf.mapping import (
    EMAIL,
    PROFILES,
    PROTOCOLS,
    RAW_ATTRIBUTE,
    STATUS,
    TOKEN_TYPES,
    methods_of,
    user_type,
)
from airflow_audit_provider.formats.ocsf.meaning import Action, Meaning, activity_of, hint_of, meaning_of
from airflow_audit_provider.formats.ocsf.severity import severity_of
from airflow_audit_provider.formats.ocsf.subjects import About, Cells, about, reason_of

Row = Mapping[str, Any]
# Turns a column's JSON into a value of the event: the JSON itself, or its text for a format without free-form JSON.
Embed = Callable[[str | bytes], Any]

_PRODUCT = {"name": "Cloudflare Audit Logs", "vendor_name": "Cloudflare"}
_LONGEST_IP = 40
_UNMAPPED_TEXTS = ("interface", "actor_token_name", "zone_id", "zone_name")
_UNMAPPED_JSON = ("resource_scope", "before", "after", "metadata")


def ocsf_event(row: Row, embed: Embed, schema: str = "ocsf") -> dict[str, Any]:
    """Returns a row as an event of the class that fits its action and what it is about."""
    text = row["action_type"] or ""
    action = Action(
        text,
        row["resource_type"] or "",
        row["resource_product"] or "",
        hint_of(text, row["action_description"], row["request_uri"]) if text else "",
    )
    meaning = meaning_of(schema, action)
    cells = _cells(row)
    found = about(schema, meaning, cells)
    event = _classified(found, action) | _common(row, schema)
    if cells.succeeded is False:
        event["status_detail"] = reason_of(cells, row["action_description"] if row["api_version"] == "v1" else None)
    event["api"] = _api(row, embed)
    if found.event_class is API_ACTIVITY:
        event["resources"] = _resources(row)
    event |= _subjects(row, schema, meaning, found)
    event |= {"unmapped": _unmapped(row, embed, schema), RAW_ATTRIBUTE: row["raw"]}
    return _without_none({name: event[name] for name in _ORDER if name in event and _is_known(schema, name)})


_ORDER = (
    *("category_uid", "category_name", "class_uid", "class_name", "activity_id", "activity_name", "type_uid"),
    *("type_name", "severity_id", "severity", "time", "time_dt", "status_id", "status", "status_detail", "message"),
    *("metadata", "actor", "src_endpoint", "cloud", "http_request", "http_response", "api", "resources", "user"),
    *("service", "is_mfa", "auth_protocol_id", "auth_protocol", "entity", "privileges", "unmapped", RAW_ATTRIBUTE),
)


def _is_known(schema: str, path: str) -> bool:
    return path not in RELEASES[schema].absent


def _cells(row: Row) -> Cells:
    return Cells(
        succeeded=row["action_succeeded"],
        actor_id=row["actor_id"],
        actor_email=row["actor_email"],
        owner_id=row["owner_id"],
        resource_id=row["resource_id"],
        resource_type=row["resource_type"],
        has_account=_account(row) is not None,
        after=row["after"],
        before=row["before"],
        metadata=row["metadata"],
        request=row["request_body"],
        response=row["response_body"],
    )


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns fields without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}


def _group(**fields: Any) -> dict[str, Any] | None:
    return _without_none(fields) or None


def _classified(found: About, action: Action) -> dict[str, Any]:
    event_class = found.event_class
    activity_id, activity_name = activity_of(event_class, found.sense, action.type)
    severity = severity_of((), found.rule, (action.resource_type, action.product), action.type)
    return {
        "category_uid": event_class.category_uid,
        "category_name": event_class.category_name,
        "class_uid": event_class.uid,
        "class_name": event_class.name,
        "activity_id": activity_id,
        "activity_name": activity_name,
        "type_uid": event_class.uid * 100 + activity_id,
        "type_name": f"{event_class.name}: {event_class.activities[activity_id]}",
        "severity_id": severity.uid,
        "severity": severity.name,
    }


def _common(row: Row, schema: str) -> dict[str, Any]:
    status_id, status = STATUS[row["action_succeeded"]]
    return {
        "time": row["event_ms"],
        "time_dt": row["event_time"],
        "status_id": status_id,
        "status": status,
        "message": row["action_description"],
        "metadata": _metadata(row, schema),
        "actor": _actor(row, schema),
        "src_endpoint": _endpoint(row),
        "cloud": _without_none({"provider": "Cloudflare", "account": _account(row), "org": _organization(row)}),
        "http_request": _http_request(row, schema),
        "http_response": _group(code=row["request_status"]),
    }


def _metadata(row: Row, schema: str) -> dict[str, Any]:
    return _without_none(
        {
            "version": RELEASES[schema].version,
            "profiles": PROFILES,
            "product": _PRODUCT,
            "uid": row["id"],
            "event_code": row["action_type"],
            "log_name": "audit_logs",
            "log_version": row["api_version"],
        }
    )


def _actor(row: Row, schema: str) -> dict[str, Any]:
    """Returns the actor: the user if one is named, or the account whose token acted; else the kind of actor."""
    type_id, type_name = user_type(schema, row["actor_type"])
    token = _token(row)
    user = _user(row) or (token and _group(account=_account(row)))
    if user is None:
        return {RELEASES[schema].app_name: "system" if type_name == "System" else row["actor_type"] or "unknown"}
    credentials = [token] if token and _is_known(schema, "actor.user.programmatic_credentials") else None
    return {
        "user": _without_none({**user, "type_id": type_id, "type": type_name, "programmatic_credentials": credentials})
    }


def _token(row: Row) -> dict[str, Any] | None:
    """Returns the token; its name is no attribute of a credential, whose type is a kind of token."""
    uid = row["actor_token_id"]
    return _group(uid=uid, type=TOKEN_TYPES.get(row["interface"] or "")) if uid else None


def _user(row: Row) -> dict[str, Any] | None:
    return _person(row["actor_id"], row["actor_email"])


def _person(uid: str | None, email: str | None) -> dict[str, Any] | None:
    """Returns a person. A pseudonym is a name, because OCSF requires a valid e-mail address."""
    address = email if email and EMAIL.fullmatch(email) else None
    return _group(uid=uid or None, name=email or None, email_addr=address)


def _endpoint(row: Row) -> dict[str, Any]:
    """Returns the source endpoint: an IP address, or a name for any other text."""
    text = row["actor_ip"]
    if text and _is_address(text):
        return {"ip": text}
    return {"name": text or row["interface"] or "unknown"}


@lru_cache(maxsize=4096)
def _is_address(text: str) -> bool:
    try:
        return len(text) <= _LONGEST_IP and "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


def _account(row: Row) -> dict[str, Any] | None:
    """Returns the account; None if an organization owns the record."""
    uid = row["owner_id"] or None
    is_organization = uid is not None and uid == row["organization_id"]
    account = _group(uid=None if is_organization else uid, name=row["owner_name"] or None)
    # Cloudflare docs, Logpush fields: the owner is the actor if a user acted on itself.
    kind = "Cloudflare User" if uid is not None and uid == row["actor_id"] else "Cloudflare Account"
    return account and {**account, "type_id": OTHER, "type": kind}


def _organization(row: Row) -> dict[str, Any] | None:
    uid = row["organization_id"]
    return {"uid": uid} if uid else None


def _http_request(row: Row, schema: str) -> dict[str, Any] | None:
    path, _, query = (row["request_uri"] or "").partition("?")
    method = row["request_method"]
    return _group(
        http_method=method if method in methods_of(schema) else None,
        url=_group(path=path, query_string=query or None) if path else None,
        user_agent=row["user_agent"],
    )


def _api(row: Row, embed: Embed) -> dict[str, Any]:
    request = row["request_body"]
    service = row["resource_product"] or row["resource_type"] or None
    return _without_none(
        {
            "operation": row["action_type"] or "unknown",
            "version": row["api_version"],
            "service": service and {"name": service},
            "request": _without_none({"uid": row["ray_id"] or row["id"], "data": request and embed(request)}),
            "response": _response(row, embed),
        }
    )


def _response(row: Row, embed: Embed) -> dict[str, Any] | None:
    body = row["response_body"]
    return _group(code=row["request_status"], data=body and embed(body))


def _resources(row: Row) -> list[dict[str, Any]] | None:
    uid, kind, product = row["resource_id"], row["resource_type"], row["resource_product"]
    if not uid and not kind:
        return None
    named = {"uid": uid} if uid else {"name": kind}
    return [_without_none({**named, "type": kind, "group": {"name": product} if product else None})]


def _unmapped(row: Row, embed: Embed, schema: str) -> dict[str, Any] | None:
    texts = {name: row[name] for name in _UNMAPPED_TEXTS}
    has_holder = row["actor_id"] or row["actor_email"] or _account(row)
    if row["actor_token_id"] and not (has_holder and _is_known(schema, "actor.user.programmatic_credentials")):
        texts["actor_token_id"] = row["actor_token_id"]
    values = {name: row[name] and embed(row[name]) for name in _UNMAPPED_JSON}
    return _without_none({**texts, **values}) or None


def _subjects(row: Row, schema: str, meaning: Meaning, found: About) -> dict[str, Any]:
    """Returns what only some classes have: the person, the sign-in, the entity, the roles."""
    subjects: dict[str, Any] = {}
    if found.user is not None:
        user = found.user
        person = _person(user.uid, "unknown" if user.is_unknown else user.email) or {}
        if user.is_of_account:
            person["account"] = _account(row)
        kind = user_type(schema, row["actor_type"])[0] if user.is_actor else UNKNOWN
        subjects["user"] = _without_none({**person, "uid_alt": user.uid_alt, "type_id": kind})
    if found.event_class is AUTHENTICATION:
        protocol = PROTOCOLS.get(meaning.protocol or "", (None, None))
        subjects |= {"service": {"name": "Cloudflare"}, "is_mfa": found.is_mfa}
        subjects |= {"auth_protocol_id": protocol[0], "auth_protocol": protocol[1]}
    if found.entity is not None:
        subjects["entity"] = _group(uid=found.entity.uid, name=found.entity.name, type=found.entity.kind)
    return subjects | {"privileges": found.roles}
