"""Person, entity and switch that a record is about, from the values in it.

The class of an event can depend on them: OCSF requires an Account Change to name a user, so a change that names nobody
is API Activity.

Invariant: values of any form are accepted; what is not understood names nothing and stays in ``raw_data``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.formats.ocsf.classes import (
    ACCOUNT_CHANGE,
    API_ACTIVITY,
    AUTHENTICATION,
    ENTITY_MANAGEMENT,
    RELEASES,
    USER_ACCESS,
    EventClass,
    Sense,
)
from airflow_audit_provider.formats.ocsf.meaning import Meaning, Subject
from airflow_audit_provider.formats.ocsf.severity import Rule

_Json = str | bytes | None
# The most roles of a member that an event lists; the record's own text has them all.
_MOST_ROLES = 64
_RESOURCES_OF_ACTOR = frozenset({"user", "account"})


class _Terms(NamedTuple):
    """Words to search for in a body, as text and as UTF-8."""

    words: tuple[str, ...]
    encoded: tuple[bytes, ...]


_ROLES = _Terms(("roles", "policies"), (b"roles", b"policies"))
_FACTORS = _Terms(("mfa", "2fa", "two_factor"), (b"mfa", b"2fa", b"two_factor"))
_FALSE = _Terms(("false",), (b"false",))


class Cells(NamedTuple):
    """The cells of a row that say whom or what it is about. ``has_account`` is whether the event has an account."""

    succeeded: bool | None
    actor_id: str | None
    actor_email: str | None
    owner_id: str | None
    resource_id: str | None
    resource_type: str | None
    has_account: bool
    after: _Json
    before: _Json
    metadata: _Json
    request: _Json
    response: _Json

    def bodies(self) -> list[_Body]:
        """Returns the bodies that can be read, those after a change first."""
        texts = (self.after, self.before, self.metadata, self.request, self.response)
        return [body for text in texts if text and (body := _read(text)) is not None]

    def mentions(self, words: _Terms) -> bool:
        """Returns whether a word is in a body; most bodies do not have it and need not be read."""
        for text in (self.after, self.metadata, self.request, self.response):
            if not text:
                continue
            if isinstance(text, bytes):
                for encoded in words.encoded:
                    if encoded in text:
                        return True
            else:
                for word in words.words:
                    if word in text:
                        return True
        return False


class Person(NamedTuple):
    """User of an event; ``uid_alt`` is a membership's id. A user ``is_of_account`` if only the account is known."""

    uid: str | None
    email: str | None
    uid_alt: str | None = None
    is_of_account: bool = False
    is_actor: bool = False
    is_unknown: bool = False


class Entity(NamedTuple):
    """Managed entity of an event."""

    uid: str | None
    name: str | None
    kind: str


class About(NamedTuple):
    """Class and activity of an event, and whom or what it is about."""

    event_class: EventClass
    sense: Sense | None
    rule: Rule
    user: Person | None = None
    entity: Entity | None = None
    roles: tuple[str, ...] | None = None
    is_mfa: bool | None = None


def about(schema: str, meaning: Meaning, cells: Cells) -> About:
    """Returns what a row is about, and with which rule of severity."""
    found = _call(meaning) if meaning.subject is None else _FINDERS[meaning.subject](schema, meaning, cells)
    if cells.succeeded is False:
        is_sign_in = meaning.event_class is AUTHENTICATION
        found = found._replace(rule=Rule.FAILED_SIGN_IN if is_sign_in else Rule.FAILED)
    return found


def reason_of(cells: Cells, description: str | None) -> str | None:
    """Returns why an action failed, None if the record does not state it; ``description`` is version 1's."""
    for body in cells.bodies():
        for error in body.errors if isinstance(body.errors, list) else ():
            text = _text(error.get("message")) if isinstance(error, dict) else _text(error)
            if text:
                return text
        stated = next(
            filter(None, map(_text, (body.failure_reason, body.reason, body.error, body.error_message))), None
        )
        if stated:
            return stated
    return description or None


# -- bodies ------------------------------------------------------------------------------------------------------------


class _Body(msgspec.Struct, gc=False, rename={"two_fa": "2fa"}):
    """Places in the values of a record where names, roles and switches can be."""

    id: Any = None
    email: Any = None
    name: Any = None
    user: _Body | None = None
    member: _Body | None = None
    roles: Any = None
    policies: Any = None
    enabled: Any = None
    settings: Any = None
    token_tag: Any = None
    token_name: Any = None
    mfa: Any = None
    is_mfa: Any = None
    mfa_used: Any = None
    two_factor: Any = None
    two_fa: Any = None
    errors: Any = None
    error: Any = None
    error_message: Any = None
    reason: Any = None
    failure_reason: Any = None

    @property
    def person(self) -> tuple[str | None, str | None]:
        """The user's id and address. An ``id`` outside of ``user`` is the membership's."""
        inner = self.user or self.member
        uid, address = inner.person if inner else (None, None)
        return (self.user and _text(self.user.id)) or uid, _text(self.email) or address

    @property
    def role_names(self) -> tuple[str, ...] | None:
        """The names of roles, else their ids; None if the body lists none."""
        for listed in (self.roles, self.member and self.member.roles, self.policies):
            if isinstance(listed, list):
                named = (_role_name(one) for one in listed[:_MOST_ROLES])
                return tuple(name for name in named if name)
        return None

    @property
    def factor_used(self) -> bool | None:
        """Whether a second factor was used, None if the body does not state it."""
        flags = (self.is_mfa, self.mfa, self.mfa_used, self.two_factor, self.two_fa)
        return next((flag for flag in flags if isinstance(flag, bool)), None)

    def turns_off(self, rule: Rule | None) -> bool:
        """Returns whether the body turns off what a rule is about."""
        if rule is Rule.MFA_DISABLED:
            return isinstance(self.settings, dict) and self.settings.get("enforce_twofactor") is False
        return self.enabled is False


_BODY = msgspec.json.Decoder(_Body)


def _read(text: _Json) -> _Body | None:
    if not text:
        return None
    try:
        return _BODY.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # The body has another form; it is complete in raw_data.
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _role_name(role: Any) -> str | None:
    """Returns the name of a role, or the names of a policy's permission groups, else an id."""
    if not isinstance(role, dict):
        return _text(role)
    groups = role.get("permission_groups")
    if isinstance(groups, list) and groups:
        names = (_role_name(group) for group in groups[:_MOST_ROLES])
        return ", ".join(name for name in names if name) or None
    return _text(role.get("name")) or _text(role.get("id"))


# -- subjects ----------------------------------------------------------------------------------------------------------


def _call(meaning: Meaning, rule: Rule | None = None) -> About:
    """Returns an event that is about nobody: API Activity, with the same sense."""
    return About(API_ACTIVITY, meaning.sense, rule or meaning.rule)


def _member(schema: str, meaning: Meaning, cells: Cells) -> About:
    """The resource of such a change is the membership, which has another id than its user."""
    bodies = list(cells.bodies())
    uid = email = None
    for body in bodies:
        found_uid, found_email = body.person
        uid, email = uid or found_uid, email or found_email
    # In version 1 the account itself can be the resource.
    membership = None if cells.resource_id == cells.owner_id else cells.resource_id or None
    is_named = bool(uid or email)
    person = Person(uid, email, membership, is_of_account=not is_named)
    has_user = is_named or bool(membership and cells.has_account)
    sense, roles = _change_of_roles(cells) if cells.mentions(_ROLES) else (Sense.ASSIGN, ())
    rule = _rule_of_roles(meaning, roles if sense is Sense.ASSIGN else ())
    if meaning.event_class is ENTITY_MANAGEMENT:
        if roles and has_user and USER_ACCESS.uid in RELEASES[schema].classes:
            return About(USER_ACCESS, sense, rule, person, roles=roles)
        if membership or email:
            return About(ENTITY_MANAGEMENT, meaning.sense, rule, entity=Entity(membership, email, "Account Member"))
    elif meaning.event_class is ACCOUNT_CHANGE and has_user:
        return About(ACCOUNT_CHANGE, meaning.sense, rule, person)
    return _call(meaning, rule)


def _rule_of_roles(meaning: Meaning, gained: tuple[str, ...]) -> Rule:
    gains = meaning.rule in {Rule.MEMBER_ADDED, Rule.ROLES_CHANGED}
    return Rule.ADMIN_GRANTED if gains and any("admin" in role.lower() for role in gained) else meaning.rule


def _change_of_roles(cells: Cells) -> tuple[Sense, tuple[str, ...]]:
    """Returns whether roles were assigned or revoked, and which; version 2 does not tell what they were before.

    The response names roles of which the request has only ids.
    """
    bodies = (_read(text) for text in (cells.after, cells.metadata, cells.response, cells.request))
    after = next((names for names in (body.role_names for body in bodies if body) if names is not None), None)
    body = _read(cells.before)
    before = (body.role_names if body else None) or ()
    if after is None:
        return Sense.ASSIGN, ()
    if set(after) < set(before):
        return Sense.REVOKE, tuple(name for name in before if name not in after)
    return Sense.ASSIGN, tuple(name for name in after if name not in before) or after


def _self(_schema: str, meaning: Meaning, cells: Cells) -> About:
    is_sign_in = meaning.event_class is AUTHENTICATION
    person = _person_acted_upon(cells, is_sign_in=is_sign_in)
    if person is None and not is_sign_in:
        return _call(meaning)
    return About(
        meaning.event_class,
        meaning.sense,
        meaning.rule,
        person or Person(None, None, is_unknown=True),
        is_mfa=_factor_used(meaning, cells) if is_sign_in else None,
    )


def _person_acted_upon(cells: Cells, *, is_sign_in: bool) -> Person | None:
    """Returns the user whose account or session it is: the actor, unless the resource is another user."""
    other = cells.resource_id if cells.resource_type == "user" and cells.resource_id != cells.actor_id else None
    if other and not (is_sign_in and (cells.actor_id or cells.actor_email)):
        return Person(other, next((address for _, address in (one.person for one in cells.bodies()) if address), None))
    if cells.actor_id or cells.actor_email:
        return Person(cells.actor_id or None, cells.actor_email or None, is_actor=True)
    people = [body.person for body in cells.bodies()]
    uid, email = next(((uid, address) for uid, address in people if uid or address), (None, None))
    return Person(uid, email) if uid or email else None


def _factor_used(meaning: Meaning, cells: Cells) -> bool | None:
    bodies = cells.bodies() if cells.mentions(_FACTORS) else ()
    flags = (body.factor_used for body in bodies)
    return next((flag for flag in flags if flag is not None), True if meaning.has_factor else None)


def _entity(_schema: str, meaning: Meaning, cells: Cells) -> About:
    bodies = list(cells.bodies())
    is_resource = cells.resource_type not in _RESOURCES_OF_ACTOR and cells.resource_id != cells.owner_id
    uid = next(filter(None, (_text(body.token_tag) for body in bodies)), None)
    uid = (
        uid
        or (cells.resource_id if is_resource else None)
        or next(filter(None, (_text(body.id) for body in bodies)), None)
    )
    names = (_text(body.token_name) or _text(body.name) for body in bodies)
    kind = meaning.kind or "Other"
    name = next(filter(None, names), None) or (None if uid else kind)
    return About(ENTITY_MANAGEMENT, meaning.sense, meaning.rule, entity=Entity(uid, name, kind))


def _switch(_schema: str, meaning: Meaning, cells: Cells) -> About:
    """Returns API Activity; its severity is that of a switch that was turned off, if one was."""
    if not cells.mentions(_FALSE):
        return _call(meaning)
    bodies = filter(None, map(_read, (cells.after, cells.request, cells.response)))
    is_off = any(body.turns_off(meaning.off_rule) for body in bodies)
    was_on = not is_off or not ((before := _read(cells.before)) and before.turns_off(meaning.off_rule))
    return _call(meaning, meaning.off_rule if is_off and was_on else None)


_FINDERS = {Subject.MEMBER: _member, Subject.SELF: _self, Subject.ENTITY: _entity, Subject.SWITCH: _switch}
