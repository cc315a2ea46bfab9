"""Builds the OCSF events of a group of records from the columns of the normalized table.

Each attribute of the events is one column (``nested``), and so is each attribute of the objects in them. What an action
means is decided once for each combination of its texts. Only rows that are about a person, an identity or a switch are
looked into.

Invariant: every event is valid, whatever the records contain. Values without an attribute are in ``unmapped`` and in
``raw_data``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from itertools import compress, count
from typing import Any, NamedTuple

from airflow_audit_provider.formats.nested import Column, Lists, Objects, Repeated, objects_of, objects_where, presence
from airflow_audit_provider.formats.ocsf.classes import (
    API_ACTIVITY,
    AUTHENTICATION,
    CLASSES,
    OTHER,
    RELEASES,
    UNKNOWN,
    Sense,
)
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
from airflow_audit_provider.formats.ocsf.severity import Overrides, Rule, severity_of
from airflow_audit_provider.formats.ocsf.subjects import About, Cells, Person, about, reason_of

Table = Mapping[str, Sequence[Any]]
# Turns a column of JSON into values of the events: the JSON itself, or its text for a format without free-form JSON.
Embed = Callable[[Sequence[Any]], Sequence[Any]]

_CLASS_ATTRIBUTES = (
    *("category_uid", "category_name", "class_uid", "class_name"),
    *("activity_id", "activity_name", "type_uid", "type_name", "severity_id", "severity"),
)
_BY_UID = {one.uid: one for one in CLASSES}
_CLASS_UID = _CLASS_ATTRIBUTES.index("class_uid")
_PRODUCT = Objects({"name": Repeated("Cloudflare Audit Logs"), "vendor_name": Repeated("Cloudflare")})
_LONGEST_IP = 40


class EventForm(NamedTuple):
    """The release of OCSF, by the name of its schema, and the severities that the user changed."""

    schema: str
    overrides: Overrides = ()


class _Row(NamedTuple):
    """What a row means by its action alone, and the values of ``_CLASS_ATTRIBUTES`` for a success."""

    action: Action
    meaning: Meaning
    values: tuple[int | str, ...]
    is_looked_into: bool


class _Judged(NamedTuple):
    """Every row's values of ``_CLASS_ATTRIBUTES``; by place, what events of other classes than calls are about."""

    rows: Sequence[_Row]
    values: Sequence[tuple[int | str, ...]]
    about: Mapping[int, About]
    reasons: Sequence[str | None] | None

    def has_class(self, uid: int) -> list[bool]:
        """Returns which rows are events of a class."""
        return [values[_CLASS_UID] == uid for values in self.values]


def ocsf_events(table: Table, embed: Embed, form: EventForm) -> Objects:
    """Returns an event for each row, in the class that fits its action and what the row is about.

    ``table`` is the normalized table with ``event_ms`` and the columns that only events have. Its texts are ``str``;
    JSON may be UTF-8.
    """
    account = _account(table)
    judged = _judged(table, account, form)
    outcomes = [STATUS[succeeded] for succeeded in table["action_succeeded"]]
    classified = dict(zip(_CLASS_ATTRIBUTES, zip(*judged.values, strict=True), strict=True))
    api, resources = _api(table, embed), _resources(table, judged)
    attributes: dict[str, Column] = {
        **classified,
        "time": table["event_ms"],
        "time_dt": table["event_time"],
        "status_id": [status_id for status_id, _ in outcomes],
        "status": [status for _, status in outcomes],
        "status_detail": judged.reasons,
        "message": _filled(table["action_description"]),
        "metadata": _metadata(table, RELEASES[form.schema].version),
        "actor": _actor(table, account, form.schema),
        "src_endpoint": _endpoint(table),
        "cloud": Objects({"provider": Repeated("Cloudflare"), "account": account, "org": _organization(table)}),
        "http_request": _http_request(table, form.schema),
        "http_response": objects_of(code=_filled(table["request_status"])),
        "api": api,
        "resources": resources and Lists(resources),
        **_subjects(table, account, judged, form.schema),
        "unmapped": _unmapped(table, embed, account, form.schema),
        RAW_ATTRIBUTE: table["raw"],
    }
    absent = RELEASES[form.schema].absent
    return Objects({name: column for name, column in attributes.items() if name not in absent})


def classes_of(table: Table, form: EventForm) -> list[int]:
    """Returns the number of the class of each row's event, as :func:`ocsf_events` gives it."""
    return [int(values[_CLASS_UID]) for values in _judged(table, _account(table), form).values]


# -- class and severity ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _row(form: EventForm, action_type: str | None, resource_type: str | None, product: str | None, hint: str) -> _Row:
    action = Action(action_type or "", resource_type or "", product or "", hint)
    meaning = meaning_of(form.schema, action)
    return _Row(
        action,
        meaning,
        _values(form, action, meaning.event_class.uid, meaning.sense, meaning.rule),
        meaning.subject is not None,
    )


def _values_of(form: EventForm, row: _Row, found: About) -> tuple[int | str, ...]:
    """Returns the values of a row that was looked into."""
    meaning = row.meaning
    if found.rule is meaning.rule and found.event_class is meaning.event_class and found.sense is meaning.sense:
        return row.values
    return _values(form, row.action, found.event_class.uid, found.sense, found.rule)


@lru_cache(maxsize=4096)
def _values(form: EventForm, action: Action, class_uid: int, sense: Sense | None, rule: Rule) -> tuple[int | str, ...]:
    """Returns the values of an event's class, activity and severity, in the order of ``_CLASS_ATTRIBUTES``."""
    event_class = _BY_UID[class_uid]
    activity_id, activity_name = activity_of(event_class, sense, action.type)
    severity = severity_of(form.overrides, rule, (action.resource_type, action.product), action.type)
    return (
        *(event_class.category_uid, event_class.category_name, event_class.uid, event_class.name),
        *(activity_id, activity_name, event_class.uid * 100 + activity_id),
        f"{event_class.name}: {event_class.activities[activity_id]}",
        *severity,
    )


def _judged(table: Table, account: Objects | None, form: EventForm) -> _Judged:
    succeeded = table["action_succeeded"]
    rows = _rows(table, form)
    values = [row.values for row in rows]
    is_looked_into = [row.is_looked_into or success is False for row, success in zip(rows, succeeded, strict=True)]
    places = list(compress(count(), is_looked_into))
    found: dict[int, About] = {}
    reasons: dict[int, str | None] = {}
    for place, cells in zip(places, map(Cells._make, compress(_cells(table, account), is_looked_into)), strict=True):
        row = rows[place]
        one = about(form.schema, row.meaning, cells)
        values[place] = _values_of(form, row, one)
        if one.event_class is not API_ACTIVITY:
            found[place] = one
        if cells.succeeded is False:
            # The description of version 2 names the action, that of version 1 can be the reason.
            is_first = table["api_version"][place] == "v1"
            reasons[place] = reason_of(cells, table["action_description"][place] if is_first else None)
    return _Judged(rows, values, found, _placed(reasons, len(rows)))


def _rows(table: Table, form: EventForm) -> list[_Row]:
    actions, uris = table["action_type"], table["request_uri"]
    hints = [
        hint_of(action, description, uri) if action and (uri or (description and description.isupper())) else ""
        for action, description, uri in zip(actions, table["action_description"], uris, strict=True)
    ]
    columns = (actions, table["resource_type"], table["resource_product"], hints)
    return [_row(form, *texts) for texts in zip(*columns, strict=True)]


def _cells(table: Table, account: Objects | None) -> Iterator[tuple[Any, ...]]:
    """Returns what ``Cells`` takes, for each row."""
    names = ("action_succeeded", "actor_id", "actor_email", "owner_id", "resource_id", "resource_type")
    bodies = ("after", "before", "metadata", "request_body", "response_body")
    has_account = presence(account, len(table["id"]))
    return zip(*(table[name] for name in names), has_account, *(table[name] for name in bodies), strict=True)


# -- attributes of every class -----------------------------------------------------------------------------------------


def _filled(values: Sequence[Any]) -> Sequence[Any] | None:
    """Returns a column, None if no row has a value."""
    return values if values.count(None) < len(values) else None


def _texts(values: Sequence[Any]) -> Sequence[Any] | None:
    """Returns a column in which an empty text is no value."""
    return _filled([text or None for text in values])


def _metadata(table: Table, version: str) -> Objects:
    return Objects(
        {
            "version": Repeated(version),
            "profiles": Repeated(PROFILES),
            "product": _PRODUCT,
            "uid": table["id"],
            "event_code": _filled(table["action_type"]),
            "log_name": Repeated("audit_logs"),
            "log_version": table["api_version"],
        }
    )


def _actor(table: Table, account: Objects | None, schema: str) -> Objects:
    """Returns the actors: the user if one is named, or the account whose token acted; else the kind of actor."""
    kinds = table["actor_type"]
    type_of = {kind: user_type(schema, kind) for kind in set(kinds)}
    types = [type_of[kind] for kind in kinds]
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
    }
    if _has_credentials(schema):
        user["programmatic_credentials"] = tokens and Lists(tokens)
    apps = [
        None if is_one else "system" if name == "System" else kind or "unknown"
        for is_one, kind, (_, name) in zip(is_user, kinds, types, strict=True)
    ]
    return Objects({"user": objects_where(is_user, user), RELEASES[schema].app_name: _filled(apps)})


def _has_credentials(schema: str) -> bool:
    return "actor.user.programmatic_credentials" not in RELEASES[schema].absent


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


def _http_request(table: Table, schema: str) -> Objects | None:
    known = methods_of(schema)
    pieces = [(uri or "").partition("?") for uri in table["request_uri"]]
    paths = [path or None for path, _, _ in pieces]
    queries = [query if path and query else None for path, _, query in pieces]
    methods = [method if method in known else None for method in table["request_method"]]
    return objects_of(
        http_method=_filled(methods),
        url=objects_of(path=_filled(paths), query_string=_filled(queries)),
        user_agent=_filled(table["user_agent"]),
    )


# -- attributes of single classes --------------------------------------------------------------------------------------


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


def _resources(table: Table, judged: _Judged) -> Objects | None:
    """Returns the resources of calls; the other classes name a user or an entity instead."""
    uids, kinds = _texts(table["resource_id"]), table["resource_type"]
    names = [None if uid else kind or None for uid, kind in zip(table["resource_id"], kinds, strict=True)]
    is_named = [
        bool(is_call and (uid or kind))
        for is_call, uid, kind in zip(judged.has_class(API_ACTIVITY.uid), table["resource_id"], kinds, strict=True)
    ]
    attributes: dict[str, Column] = {
        "uid": uids,
        "name": _filled(names),
        "type": _filled(kinds),
        "group": objects_of(name=_texts(table["resource_product"])),
    }
    return objects_where(is_named, attributes)


def _unmapped(table: Table, embed: Embed, account: Objects | None, schema: str) -> Objects | None:
    is_held = _has_credentials(schema)
    token_ids = [
        token if token and not (is_held and (uid or email or has_account)) else None
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


def _subjects(table: Table, account: Objects | None, judged: _Judged, schema: str) -> dict[str, Column]:
    """Returns what events of Identity & Access Management are about, in the rows that are such events."""
    row_count, found = len(judged.rows), judged.about
    entities = {place: one.entity for place, one in found.items() if one.entity}
    return {
        "user": _users(table, account, {place: one.user for place, one in found.items() if one.user}, schema),
        **_sign_ins(judged),
        "entity": objects_of(
            uid=_placed({place: entity.uid for place, entity in entities.items()}, row_count),
            name=_placed({place: entity.name for place, entity in entities.items()}, row_count),
            type=_placed({place: entity.kind for place, entity in entities.items()}, row_count),
        ),
        "privileges": _placed({place: one.roles for place, one in found.items()}, row_count),
    }


def _placed(values: Mapping[int, Any], count: int) -> list[Any] | None:
    """Returns a column with values in some places, None if there is no value."""
    column: list[Any] = [None] * count
    for place, value in values.items():
        column[place] = value
    return column if any(value is not None for value in values.values()) else None


def _users(table: Table, account: Objects | None, users: Mapping[int, Person], schema: str) -> Objects | None:
    if not users:
        return None
    count, kinds = len(table["id"]), table["actor_type"]
    has_account = presence(account, count)
    is_user, by_account = [False] * count, [False] * count
    for place, user in users.items():
        is_user[place] = True
        by_account[place] = user.is_of_account and has_account[place]
    # OCSF requires a name, an id or an account of a user.
    names = {place: "unknown" if user.is_unknown else user.email for place, user in users.items()}
    emails = {place: user.email for place, user in users.items() if user.email and _is_email(user.email)}
    types = {place: user_type(schema, kinds[place])[0] if user.is_actor else UNKNOWN for place, user in users.items()}
    attributes: dict[str, Column] = {
        "uid": _placed({place: user.uid for place, user in users.items()}, count),
        "name": _placed(names, count),
        "email_addr": _placed(emails, count),
        "account": account and objects_where(by_account, account.attributes),
        "uid_alt": _placed({place: user.uid_alt for place, user in users.items()}, count),
        "type_id": _placed(types, count),
    }
    return objects_where(is_user, attributes)


def _sign_ins(judged: _Judged) -> dict[str, Column]:
    count = len(judged.rows)
    places = [place for place, one in judged.about.items() if one.event_class is AUTHENTICATION]
    if not places:
        return {}
    is_sign_in = [False] * count
    protocols: dict[int, tuple[int, str]] = {}
    for place in places:
        is_sign_in[place] = True
        protocol = judged.rows[place].meaning.protocol
        if protocol is not None:
            protocols[place] = PROTOCOLS[protocol]
    return {
        "service": objects_where(is_sign_in, {"name": Repeated("Cloudflare")}),
        "is_mfa": _placed({place: judged.about[place].is_mfa for place in places}, count),
        "auth_protocol_id": _placed({place: uid for place, (uid, _) in protocols.items()}, count),
        "auth_protocol": _placed({place: name for place, (_, name) in protocols.items()}, count),
    }
