"""Builds one OCSF event from one row of the normalized table, attribute by attribute.

The provider builds the same events from columns. This is the plain form of the mapping, to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import msgspec

from airflow_audit_provider.formats.ocsf.mapping import (
    ACCOUNT_CHANGE,
    ACCOUNT_RESOURCES,
    API_ACTIVITY,
    EMAIL,
    METHODS,
    OCSF_VERSION,
    OTHER,
    PROFILES,
    RAW_ATTRIBUTE,
    READING_WORDS,
    STATUS,
    TOKEN_TYPES,
    UNKNOWN,
    USER_TYPES,
    activity_of,
    words_of,
)

Row = Mapping[str, Any]
# Turns a column's JSON into a value of the event: the JSON itself, or its text for a format without free-form JSON.
Embed = Callable[[str | bytes], Any]

_PRODUCT = {"name": "Cloudflare Audit Logs", "vendor_name": "Cloudflare"}
_LONGEST_IP = 40
_UNMAPPED_TEXTS = ("interface", "actor_token_name", "zone_id", "zone_name")
_UNMAPPED_JSON = ("resource_scope", "before", "after", "metadata")


def ocsf_event(row: Row, embed: Embed) -> dict[str, Any]:
    """Returns a row as an API Activity event, or as Account Change if it names whose account was changed."""
    subject = _subject(row)
    event = _classified(API_ACTIVITY if subject is None else ACCOUNT_CHANGE, row)
    event |= _common(row)
    if subject is None:
        event |= {"api": _api(row, embed), "resources": _resources(row)}
    else:
        event["user"] = subject
    return _without_none(event | {"unmapped": _unmapped(row, embed), RAW_ATTRIBUTE: row["raw"]})


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns fields without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}


def _group(**fields: Any) -> dict[str, Any] | None:
    return _without_none(fields) or None


def _classified(event_class: Any, row: Row) -> dict[str, Any]:
    activity_id, activity_name = activity_of(event_class.uid, row["action_type"])
    return {
        "category_uid": event_class.category_uid,
        "category_name": event_class.category_name,
        "class_uid": event_class.uid,
        "class_name": event_class.name,
        "activity_id": activity_id,
        "activity_name": activity_name,
        "type_uid": event_class.uid * 100 + activity_id,
        "type_name": f"{event_class.name}: {event_class.activities[activity_id]}",
    }


def _common(row: Row) -> dict[str, Any]:
    status_id, status = STATUS[row["action_succeeded"]]
    return {
        "time": row["event_ms"],
        "time_dt": row["event_time"],
        "severity_id": 1,
        "severity": "Informational",
        "status_id": status_id,
        "status": status,
        "message": row["action_description"],
        "metadata": _metadata(row),
        "actor": _actor(row),
        "src_endpoint": _endpoint(row),
        "cloud": _without_none({"provider": "Cloudflare", "account": _account(row), "org": _organization(row)}),
        "http_request": _http_request(row),
        "http_response": _group(code=row["request_status"]),
    }


def _metadata(row: Row) -> dict[str, Any]:
    return _without_none(
        {
            "version": OCSF_VERSION,
            "profiles": PROFILES,
            "product": _PRODUCT,
            "uid": row["id"],
            "event_code": row["action_type"],
            "log_name": "audit_logs",
            "log_version": row["api_version"],
        }
    )


def _actor(row: Row) -> dict[str, Any]:
    """Returns the actor: the user if one is named, or the account whose token acted; else the kind of actor."""
    type_id, type_name = USER_TYPES.get(row["actor_type"] or "", (OTHER, row["actor_type"] or "Other"))
    token = _token(row)
    user = _user(row) or (token and _group(account=_account(row)))
    if user is None:
        return {"app_name": "system" if type_name == "System" else row["actor_type"] or "unknown"}
    return {
        "user": _without_none(
            {**user, "type_id": type_id, "type": type_name, "programmatic_credentials": token and [token]}
        )
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


def _http_request(row: Row) -> dict[str, Any] | None:
    path, _, query = (row["request_uri"] or "").partition("?")
    method = row["request_method"]
    return _group(
        http_method=method if method in METHODS else None,
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


def _unmapped(row: Row, embed: Embed) -> dict[str, Any] | None:
    texts = {name: row[name] for name in _UNMAPPED_TEXTS}
    if row["actor_token_id"] and not (row["actor_id"] or row["actor_email"] or _account(row)):
        texts["actor_token_id"] = row["actor_token_id"]
    values = {name: row[name] and embed(row[name]) for name in _UNMAPPED_JSON}
    return _without_none({**texts, **values}) or None


class _Body(msgspec.Struct, gc=False):
    """Places in a membership change where the member's user id and e-mail address can be."""

    id: Any = None
    email: Any = None
    user: _Body | None = None
    member: _Body | None = None

    @property
    def person(self) -> tuple[str | None, str | None]:
        """The user's id and address. An ``id`` outside of ``user`` is the membership's."""
        inner = self.user or self.member
        uid, address = inner.person if inner else (None, None)
        return (self.user and _text(self.user.id)) or uid, _text(self.email) or address


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


_BODY = msgspec.json.Decoder(_Body)


def _subject(row: Row) -> dict[str, Any] | None:
    """Returns the person whose account was changed; None if something else was changed or no person is named.

    The resource of such a change is the membership, which has another id than its user.
    """
    kinds = {row["resource_type"], row["resource_product"]}
    if not kinds & ACCOUNT_RESOURCES or not READING_WORDS.isdisjoint(words_of(row["action_type"] or "")):
        return None
    bodies = (row["after"], row["before"], row["metadata"], row["request_body"], row["response_body"])
    people = [_person_in(body) for body in bodies if body]
    uid = next((found for found, _ in people if found), None)
    membership = row["resource_id"] or None
    person = _person(uid, next((found for _, found in people if found), None))
    if person is None and membership is not None:
        # OCSF requires a name, an id or an account of a user.
        person = _group(account=_account(row))
    return person and _without_none({**person, "uid_alt": membership, "type_id": UNKNOWN})


def _person_in(body: str | bytes) -> tuple[str | None, str | None]:
    try:
        return _BODY.decode(body).person
    except (msgspec.DecodeError, ValueError, RecursionError):
        # The body has another form; it is complete in raw_data.
        return None, None
