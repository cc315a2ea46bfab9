"""Builds the OCSF events of a group of records from the columns of the normalized table.

Each attribute of the events is one column (``nested``), and so is each attribute of the objects in them.

Invariant: every event is valid, whatever the records contain. Values without an attribute are in ``unmapped`` and in
``raw_data``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import msgspec

from airflow_audit_provider.formats.nested import Column, Lists, Objects, Repeated, objects_of, objects_where, presence
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

Table = Mapping[str, Sequence[Any]]
# Turns a column of JSON into values of the events: the JSON itself, or its text for a format without free-form JSON.
Embed = Callable[[Sequence[Any]], Sequence[Any]]

_CLASS_ATTRIBUTES = (
    *("category_uid", "category_name", "class_uid", "class_name"),
    *("activity_id", "activity_name", "type_uid", "type_name"),
)
_PRODUCT = Objects({"name": Repeated("Cloudflare Audit Logs"), "vendor_name": Repeated("Cloudflare")})
_LONGEST_IP = 40


def ocsf_events(table: Table, embed: Embed) -> Objects:
    """Returns an event for each row: API Activity, or Account Change if the row names whose account was changed.

    ``table`` is the normalized table with ``event_ms`` and the columns that only events have. Its texts are ``str``;
    JSON may be UTF-8.
    """
    subjects = _subjects(table)
    account = _account(table)
    outcomes = [STATUS[succeeded] for succeeded in table["action_succeeded"]]
    return Objects(
        {
            **_classified(table["action_type"], subjects),
            "time": table["event_ms"],
            "time_dt": table["event_time"],
            "severity_id": Repeated(1),
            "severity": Repeated("Informational"),
            "status_id": [status_id for status_id, _ in outcomes],
            "status": [status for _, status in outcomes],
            "message": _filled(table["action_description"]),
            "metadata": _metadata(table),
            "actor": _actor(table, account),
            "src_endpoint": _endpoint(table),
            "cloud": Objects({"provider": Repeated("Cloudflare"), "account": account, "org": _organization(table)}),
            "http_request": _http_request(table),
            "http_response": objects_of(code=_filled(table["request_status"])),
            **_class_objects(table, embed, subjects),
            "unmapped": _unmapped(table, embed, account),
            RAW_ATTRIBUTE: table["raw"],
        }
    )


def _filled(values: Sequence[Any]) -> Sequence[Any] | None:
    """Returns a column, None if no row has a value."""
    return values if values.count(None) < len(values) else None


def _texts(values: Sequence[Any]) -> Sequence[Any] | None:
    """Returns a column in which an empty text is no value."""
    return _filled([text or None for text in values])


def _classified(actions: Sequence[str | None], subjects: Objects | None) -> dict[str, Column]:
    changes = presence(subjects, len(actions))
    rows = [_class_values(is_change, action) for is_change, action in zip(changes, actions, strict=True)]
    return dict(zip(_CLASS_ATTRIBUTES, zip(*rows, strict=True), strict=True))


@lru_cache(maxsize=4096)
def _class_values(is_account_change: bool, action: str | None) -> tuple[int | str, ...]:
    """Returns the values of an event's class and activity, in the order of ``_CLASS_ATTRIBUTES``."""
    event_class = ACCOUNT_CHANGE if is_account_change else API_ACTIVITY
    activity_id, activity_name = activity_of(event_class.uid, action)
    return (
        *(event_class.category_uid, event_class.category_name, event_class.uid, event_class.name),
        *(activity_id, activity_name, event_class.uid * 100 + activity_id),
        f"{event_class.name}: {event_class.activities[activity_id]}",
    )


def _metadata(table: Table) -> Objects:
    return Objects(
        {
            "version": Repeated(OCSF_VERSION),
            "profiles": Repeated(PROFILES),
            "product": _PRODUCT,
            "uid": table["id"],
            "event_code": _filled(table["action_type"]),
            "log_name": Repeated("audit_logs"),
            "log_version": table["api_version"],
        }
    )


def _actor(table: Table, account: Objects | None) -> Objects:
    """Returns the actors: the user if one is named, or the account whose token acted; else the kind of actor."""
    kinds = table["actor_type"]
    types = [USER_TYPES.get(kind or "", (OTHER, kind or "Other")) for kind in kinds]
    person = _person(table["actor_id"], table["actor_email"])
    tokens = _tokens(table)
    is_account = [
        not is_person and has_token and has_account
        for is_person, has_token, has_account in zip(
            presence(person, len(kinds)), presence(tokens, len(kinds)), presence(account, len(kinds)), strict=True
        )
    ]
    of_account = account and objects_where(is_account, account.attributes)
    is_user = [one or other for one, other in zip(presence(person, len(kinds)), is_account, strict=True)]
    user: dict[str, Column] = {
        **(person.attributes if person else {}),
        "account": of_account,
        "type_id": [type_id for type_id, _ in types],
        "type": [name for _, name in types],
        "programmatic_credentials": tokens and Lists(tokens),
    }
    apps = [
        None if is_one else "system" if name == "System" else kind or "unknown"
        for is_one, kind, (_, name) in zip(is_user, kinds, types, strict=True)
    ]
    return Objects({"user": objects_where(is_user, user), "app_name": _filled(apps)})


def _tokens(table: Table) -> Objects | None:
    """Returns the tokens; a token's name is no attribute of a credential, whose type is a kind of token."""
    uids = table["actor_token_id"]
    types = [TOKEN_TYPES.get(interface or "") for interface in table["interface"]]
    return objects_where([bool(uid) for uid in uids], {"uid": uids, "type": types})


def _person(uids: Sequence[str | None], emails: Sequence[str | None]) -> Objects | None:
    """Returns people. A pseudonym is a name, because OCSF requires a valid e-mail address."""
    names = _texts(emails)
    addresses = [name if name and _is_email(name) else None for name in names or ()]
    return objects_of(uid=_texts(uids), name=names, email_addr=_filled(addresses) if addresses else None)


@lru_cache(maxsize=4096)
def _is_email(text: str) -> bool:
    return EMAIL.fullmatch(text) is not None


def _endpoint(table: Table) -> Objects:
    """Returns the source endpoints: an IP address, or a name for any other text."""
    texts = table["actor_ip"]
    addresses = [text if text and _is_address(text) else None for text in texts]
    names = [
        None if address else text or interface or "unknown"
        for address, text, interface in zip(addresses, texts, table["interface"], strict=True)
    ]
    return Objects({"ip": _filled(addresses), "name": _filled(names)})


@lru_cache(maxsize=4096)
def _is_address(text: str) -> bool:
    try:
        return len(text) <= _LONGEST_IP and "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


def _account(table: Table) -> Objects | None:
    """Returns the accounts; none where an organization owns the record."""
    owners = [owner or None for owner in table["owner_id"]]
    uids = [
        None if owner == organization else owner
        for owner, organization in zip(owners, table["organization_id"], strict=True)
    ]
    account = objects_of(uid=_filled(uids), name=_texts(table["owner_name"]))
    if account is None:
        return None
    # Cloudflare docs, Logpush fields: the owner is the actor if a user acted on itself.
    kinds = [
        "Cloudflare User" if owner is not None and owner == actor else "Cloudflare Account"
        for owner, actor in zip(owners, table["actor_id"], strict=True)
    ]
    attributes = {**account.attributes, "type_id": Repeated(OTHER), "type": kinds}
    return objects_where(presence(account, len(kinds)), attributes)


def _organization(table: Table) -> Objects | None:
    return objects_of(uid=_texts(table["organization_id"]))


def _http_request(table: Table) -> Objects | None:
    pieces = [(uri or "").partition("?") for uri in table["request_uri"]]
    paths = [path or None for path, _, _ in pieces]
    queries = [query if path and query else None for path, _, query in pieces]
    methods = [method if method in METHODS else None for method in table["request_method"]]
    return objects_of(
        http_method=_filled(methods),
        url=objects_of(path=_filled(paths), query_string=_filled(queries)),
        user_agent=_filled(table["user_agent"]),
    )


def _class_objects(table: Table, embed: Embed, subjects: Objects | None) -> dict[str, Column]:
    """Returns what only one of the classes has: the call and its resources, or the person."""
    api, resources = _api(table, embed), _resources(table)
    if subjects is None:
        return {"api": api, "resources": resources and Lists(resources)}
    is_call = [not is_change for is_change in presence(subjects, len(table["id"]))]
    has_resource = [one and other for one, other in zip(is_call, presence(resources, len(is_call)), strict=True)]
    of_call = resources and objects_where(has_resource, resources.attributes)
    return {
        "api": objects_where(is_call, api.attributes),
        "resources": of_call and Lists(of_call),
        "user": subjects,
    }


def _api(table: Table, embed: Embed) -> Objects:
    products, kinds = table["resource_product"], table["resource_type"]
    services = [product or kind or None for product, kind in zip(products, kinds, strict=True)]
    ids = zip(table["ray_id"], table["id"], strict=True)
    return Objects(
        {
            "operation": [action or "unknown" for action in table["action_type"]],
            "version": table["api_version"],
            "service": objects_of(name=_filled(services)),
            "request": Objects(
                {"uid": [ray_id or id_ for ray_id, id_ in ids], "data": _embedded(table["request_body"], embed)}
            ),
            "response": objects_of(
                code=_filled(table["request_status"]), data=_embedded(table["response_body"], embed)
            ),
        }
    )


def _embedded(bodies: Sequence[Any], embed: Embed) -> Sequence[Any] | None:
    return embed(bodies) if bodies.count(None) < len(bodies) else None


def _resources(table: Table) -> Objects | None:
    uids, kinds = _texts(table["resource_id"]), table["resource_type"]
    names = [None if uid else kind or None for uid, kind in zip(table["resource_id"], kinds, strict=True)]
    is_named = [bool(uid or kind) for uid, kind in zip(table["resource_id"], kinds, strict=True)]
    attributes: dict[str, Column] = {
        "uid": uids,
        "name": _filled(names),
        "type": _filled(kinds),
        "group": objects_of(name=_texts(table["resource_product"])),
    }
    return objects_where(is_named, attributes)


def _unmapped(table: Table, embed: Embed, account: Objects | None) -> Objects | None:
    token_ids = [
        token if token and not (uid or email or has_account) else None
        for token, uid, email, has_account in zip(
            table["actor_token_id"],
            table["actor_id"],
            table["actor_email"],
            presence(account, len(table["id"])),
            strict=True,
        )
    ]
    return objects_of(
        interface=_filled(table["interface"]),
        actor_token_name=_filled(table["actor_token_name"]),
        zone_id=_filled(table["zone_id"]),
        zone_name=_filled(table["zone_name"]),
        actor_token_id=_filled(token_ids),
        resource_scope=_embedded(table["resource_scope"], embed),
        before=_embedded(table["before"], embed),
        after=_embedded(table["after"], embed),
        metadata=_embedded(table["metadata"], embed),
    )


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


def _subjects(table: Table) -> Objects | None:
    """Returns the people whose accounts were changed; none where something else was changed or no person is named.

    The resource of such a change is the membership, which has another id than its user.
    """
    is_change = [
        (kind in ACCOUNT_RESOURCES or product in ACCOUNT_RESOURCES) and READING_WORDS.isdisjoint(words_of(action or ""))
        for kind, product, action in zip(
            table["resource_type"], table["resource_product"], table["action_type"], strict=True
        )
    ]
    if not any(is_change):
        return None
    names = ("after", "before", "metadata", "request_body", "response_body")
    rows = zip(*(table[name] for name in names), strict=True)
    people = [_person_of(bodies) if is_one else _NOBODY for is_one, bodies in zip(is_change, rows, strict=True)]
    return _changed_accounts(table, is_change, people)


def _changed_accounts(table: Table, is_change: Sequence[bool], people: Sequence[_Named]) -> Objects | None:
    person = _person([uid for uid, _ in people], [email for _, email in people])
    memberships = [membership or None for membership in table["resource_id"]]
    account = _account(table)
    # OCSF requires a name, an id or an account of a user.
    by_account = [
        bool(is_one and not is_person and membership and has_account)
        for is_one, is_person, membership, has_account in zip(
            is_change,
            presence(person, len(is_change)),
            memberships,
            presence(account, len(is_change)),
            strict=True,
        )
    ]
    is_subject = [one or other for one, other in zip(presence(person, len(is_change)), by_account, strict=True)]
    attributes: dict[str, Column] = {
        **(person.attributes if person else {}),
        "account": account and objects_where(by_account, account.attributes),
        "uid_alt": memberships,
        "type_id": Repeated(UNKNOWN),
    }
    return objects_where(is_subject, attributes)


_Named = tuple[str | None, str | None]
_NOBODY: _Named = (None, None)


def _person_of(bodies: Sequence[str | bytes | None]) -> _Named:
    """Returns the first user's id and the first address that the bodies of a change name."""
    people = [_person_in(body) for body in bodies if body]
    return next((uid for uid, _ in people if uid), None), next((address for _, address in people if address), None)


def _person_in(body: str | bytes) -> _Named:
    try:
        return _BODY.decode(body).person
    except (msgspec.DecodeError, ValueError, RecursionError):
        # The body has another form; it is complete in raw_data.
        return None, None
