"""Rules by which an action gets its event class, activity and severity rule.

The rules look at the words of the action's type, of the resource's type and product, and of what the request or the
description adds. So they also fit actions that nobody has listed.

Invariant: the meaning of an action depends on these texts only, so it is decided once for each combination of them.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from airflow_audit_provider.formats.ocsf.classes import (
    ACCOUNT_CHANGE,
    API_ACTIVITY,
    AUTHENTICATION,
    ENTITY_MANAGEMENT,
    OTHER,
    RELEASES,
    UNKNOWN,
    EventClass,
    Sense,
)
from airflow_audit_provider.formats.ocsf.severity import Rule
from airflow_audit_provider.formats.ocsf.words import Words, has_phrase, sense_of, sense_of_request, things_in, words_of


class Subject(Enum):
    """What the values of a record have to be searched for, None if nothing."""

    # The person who signs in, or whose own account is changed: the actor, unless the values name another.
    SELF = "self"
    # The person of a membership.
    MEMBER = "member"
    # A token, key, role or other identity that is no person.
    ENTITY = "entity"
    # A protection or a log job, which the values may turn off.
    SWITCH = "switch"


class Action(NamedTuple):
    """The texts that decide: ``hint`` is the verb at the end of a request's path, or the constant of a description."""

    type: str
    resource_type: str = ""
    product: str = ""
    hint: str = ""


class Meaning(NamedTuple):
    """Class and activity of an action, and the rule of its severity.

    ``kind`` is the type of an entity, ``off_rule`` the rule that applies if the values turn a switch off. A sign-in has
    ``has_factor`` if it names a second factor, and ``protocol`` if it names a protocol.
    """

    event_class: EventClass
    sense: Sense | None
    rule: Rule
    subject: Subject | None = None
    kind: str | None = None
    off_rule: Rule | None = None
    has_factor: bool = False
    protocol: str | None = None


_LOGON = frozenset({"login", "logon", "signin"})
_LOGOFF = frozenset({"logout", "logoff", "signout"})
# Words beside these in the name of a sign-in; with any other word it is another action: ``change_login_method``.
_OF_SIGN_IN = frozenset(
    "account admin apple attempt auth authentication cloudflare create dash dashboard delete email fail failed failure "
    "github google in mfa oauth oidc out password saml session sign social sso success successful totp twofactor user "
    "view webauthn 2 fa 2fa".split()
)
_PROTOCOLS = ("saml", "oidc", "oauth", "sso")
_FACTOR_WORDS = frozenset({"mfa", "tfa", "twofactor", "totp", "webauthn", "2fa"})
_FACTOR_PHRASES = (("2", "fa"), ("two", "factor"), ("multi", "factor"), ("security", "key"))
# Resources that are a person's account, or the account that its own record names.
_OF_PERSON = frozenset({"user", "users", "account", "accounts", "profile", "member", "members"})
_OF_FACTOR = (
    _OF_PERSON
    | _FACTOR_WORDS
    | frozenset("2 fa two factor factors multi authentication auth security key keys authenticator method".split())
)
_OF_MEMBER = _OF_PERSON | frozenset(
    "membership memberships invite invites invitation invitations organization organizations org role roles policy "
    "policies".split()
)
_MEMBERSHIP = frozenset({"member", "members", "membership", "memberships", "invite", "invites", "invitation"})
_ROLES = frozenset({"role", "roles", "policy", "policies"})
_KEYS = (("api", "key"), ("api", "keys"), ("origin", "ca", "key"), ("origin", "ca", "keys"))
_CREDENTIALS: tuple[tuple[str, tuple[Words, ...]], ...] = (
    ("Service Token", (("service", "token"), ("service", "tokens"))),
    ("API Token", (("api", "token"), ("api", "tokens"), ("token",), ("tokens",))),
    ("API Key", _KEYS),
    ("OAuth Client", (("oauth", "client"), ("oauth", "clients"), ("client", "secret"))),
)
_IDENTITIES: tuple[tuple[str, tuple[Words, ...]], ...] = (
    ("Role", (("role",), ("roles",))),
    ("User Group", (("user", "group"), ("user", "groups"))),
    ("Permission Group", (("permission", "group"), ("permission", "groups"))),
    ("Resource Group", (("resource", "group"), ("resource", "groups"))),
    ("SSO Connector", (("sso", "connector"), ("sso", "connectors"), ("sso",))),
    ("Identity Provider", (("identity", "provider"), ("identity", "providers"))),
)
# Words that say where an identity is, beside its own name.
_AROUND = frozenset("access account accounts api cloudflare iam user users zero trust zerotrust".split())
_OF_IDENTITY = _AROUND.union(
    *(phrase for _, phrases in (*_CREDENTIALS, *_IDENTITIES) for phrase in phrases), ("member", "members")
)
_PROTECTIONS = frozenset(
    "waf firewall ruleset rulesets access gateway policy policies ratelimit ratelimits bot ddos shield lockdown "
    "lockdowns dnssec".split()
)
_PROTECTION_PHRASES = (("rate", "limit"), ("rate", "limits"), ("content", "scanning"), ("leaked", "credential"))
# They forward calls of AI models and tags of Google, and keep nothing out.
_OTHER_GATEWAYS = (("ai", "gateway"), ("tag", "gateway"))
_LOG_JOBS = frozenset({"logpush", "logpull"})
_ZONES = frozenset({"zone", "zones"})
_ACCOUNTS = frozenset({"account", "accounts"})
_REMOVAL = frozenset({Sense.DELETE, Sense.DISABLE, Sense.DEACTIVATE, Sense.SUSPEND})
_GAIN = frozenset({Sense.CREATE, Sense.ENABLE, Sense.ACTIVATE, Sense.RESUME})
_CHANGES = frozenset({Sense.UPDATE, Sense.CREATE})
_OF_METHOD = frozenset({"create", "update"})
_LONGEST_HINT = 40


@lru_cache(maxsize=4096)
def meaning_of(schema: str, action: Action) -> Meaning:
    """Returns the meaning of an action in the release of OCSF that a schema is."""
    release = RELEASES[schema]
    words = words_of(action.type)
    sense = _sense(action, words)
    found = (
        _sign_in(action, words, sense)
        or _factor(action, words, sense)
        or _password(action, words, sense)
        or _membership(action, words, sense)
        or _person(action, words, sense)
        or _entity(action, words, sense)
    )
    if found and release.has(found.event_class, found.sense):
        return found
    call = _call(action, words, sense)
    # A severity rule and a search for the member's roles hold in every class.
    return call if found is None else found._replace(event_class=API_ACTIVITY, sense=call.sense, subject=_kept(found))


def activity_of(event_class: EventClass, sense: Sense | None, action_type: str) -> tuple[int, str]:
    """Returns the number and name of an activity; ``Other`` and the action's type if the class has none."""
    if not action_type:
        return UNKNOWN, "Unknown"
    uid = OTHER if sense is None else event_class.senses.get(sense, OTHER)
    return uid, action_type if uid == OTHER else event_class.activities[uid]


def hint_of(action_type: str, description: str | None, uri: str | None) -> str:
    """Returns the verb at the end of a request's path, or a description that is a constant, such as ``SSO_LOGIN``.

    Only ``create`` and ``update`` need one: version 2 takes these words from the method of the request.
    """
    if description and description.isupper() and len(description) <= _LONGEST_HINT:
        return description
    if uri and action_type in _OF_METHOD:
        return _verb_at_end(uri.partition("?")[0].rpartition("/")[2])
    return ""


def _verb_at_end(segment: str) -> str:
    """Returns the last segment of a path if it is a verb; most are ids, which have digits."""
    return segment if segment.replace("_", "").replace("-", "").isalpha() and _is_verb(segment) else ""


@lru_cache(maxsize=4096)
def _is_verb(segment: str) -> bool:
    return len(segment) <= _LONGEST_HINT and sense_of_request(segment) is not None


def _kept(found: Meaning) -> Subject | None:
    return found.subject if found.subject in {Subject.MEMBER, Subject.SWITCH} else None


def _sense(action: Action, words: Words) -> Sense | None:
    """Returns what an action does; the verb of its request is more exact than ``create`` and ``update``.

    ``POST …/purge_cache`` is a ``create`` in version 2, and creates nothing.
    """
    sense = sense_of(words)
    if sense not in _CHANGES or len(words) > 1 or not action.hint:
        return sense
    return sense_of_request(action.hint) or sense


def _sign_in(action: Action, words: Words, sense: Sense | None) -> Meaning | None:
    for text in (action.type, action.product, action.resource_type, action.hint):
        about = words_of(text)
        name = frozenset(about) | ({"signin"} if has_phrase(about, ("sign", "in"), ("log", "in")) else frozenset())
        is_logoff = not name.isdisjoint(_LOGOFF) or has_phrase(about, ("sign", "out"), ("log", "out"))
        if (is_logoff or not name.isdisjoint(_LOGON)) and name - _LOGON - _LOGOFF - {"log"} <= _OF_SIGN_IN:
            break
    else:
        return None
    if sense in {Sense.READ, Sense.UPDATE}:
        return None
    everything = (*words, *words_of(action.product), *words_of(action.resource_type), *words_of(action.hint))
    return Meaning(
        AUTHENTICATION,
        Sense.LOGOFF if is_logoff or sense is Sense.DELETE else Sense.LOGON,
        Rule.OTHER,
        Subject.SELF,
        has_factor=_names_factor(everything),
        protocol=next((name for name in _PROTOCOLS if name in everything), None),
    )


def _names_factor(words: Words) -> bool:
    return not _FACTOR_WORDS.isdisjoint(words) or has_phrase(words, *_FACTOR_PHRASES)


def _factor(action: Action, words: Words, sense: Sense | None) -> Meaning | None:
    """Returns the meaning of a change of a person's second factor, or of the demand for one."""
    about = (*words, *words_of(action.resource_type), *words_of(action.product))
    if not _names_factor(about) or sense is Sense.READ or sense is None:
        return None
    is_off = sense in _REMOVAL or ("enforce" in words and not {"remove", "delete", "disable"}.isdisjoint(words))
    rule = Rule.MFA_DISABLED if is_off else Rule.MFA_CHANGED
    if "enforce" in about:
        return Meaning(API_ACTIVITY, Sense.UPDATE, rule)
    if not _OF_FACTOR.issuperset((*things_in(words), *about[len(words) :])):
        # Recovery codes, or a policy of Access.
        return Meaning(API_ACTIVITY, sense, rule)
    factor = Sense.FACTOR_DISABLE if is_off else Sense.FACTOR_ENABLE if sense in _GAIN else None
    return Meaning(ACCOUNT_CHANGE, factor, rule, Subject.SELF)


def _password(action: Action, words: Words, sense: Sense | None) -> Meaning | None:
    about = (*words, *words_of(action.resource_type), *words_of(action.hint))
    if not {"password", "passwd"} & set(about) or sense is Sense.READ or not _is_about(action, _OF_PERSON):
        return None
    is_reset = not {"reset", "forgot", "forgotten", "recover", "recovery"}.isdisjoint(about)
    return Meaning(
        ACCOUNT_CHANGE,
        Sense.PASSWORD_RESET if is_reset else Sense.PASSWORD_CHANGE,
        Rule.PASSWORDS_CHANGED,
        Subject.SELF,
    )


def _is_about(action: Action, allowed: frozenset[str]) -> bool:
    """Returns whether the resource's type and product are among these words, as ``account`` and ``user`` are."""
    resource = (*words_of(action.resource_type), *words_of(action.product))
    return allowed.union({"password", "passwd", "reset"}).issuperset(resource)


def _membership(action: Action, words: Words, sense: Sense | None) -> Meaning | None:
    """Returns the meaning of a change of who belongs to an account, or with which roles."""
    resource = (*words_of(action.resource_type), *words_of(action.product))
    named = things_in(words)
    if not _OF_MEMBER.issuperset(resource) or sense is Sense.READ:
        return None
    if _MEMBERSHIP.isdisjoint(resource) and (_MEMBERSHIP.isdisjoint(named) or not _OF_MEMBER.issuperset(named)):
        return None
    if sense is None:
        return Meaning(ACCOUNT_CHANGE, None, Rule.OTHER, Subject.MEMBER)
    if not _ROLES.isdisjoint(named) or sense not in ACCOUNT_CHANGE.senses:
        return Meaning(ENTITY_MANAGEMENT, Sense.UPDATE, Rule.ROLES_CHANGED, Subject.MEMBER, "Account Member")
    rule = Rule.MEMBER_REMOVED if sense in _REMOVAL else Rule.MEMBER_ADDED
    return Meaning(ACCOUNT_CHANGE, sense, rule, Subject.MEMBER)


def _person(action: Action, words: Words, sense: Sense | None) -> Meaning | None:
    """Returns the meaning of a change of a person's own account."""
    about = {*words_of(action.resource_type), *words_of(action.product), *things_in(words)}
    if about.isdisjoint({"user", "users"}) or not about <= _OF_PERSON or sense not in ACCOUNT_CHANGE.senses:
        return None
    return Meaning(ACCOUNT_CHANGE, sense, Rule.OTHER, Subject.SELF)


def _entity(action: Action, words: Words, sense: Sense | None) -> Meaning | None:
    """Returns the meaning of a change of a token, a key or another identity that is no person."""
    resource = (*words_of(action.resource_type), *words_of(action.product))
    # A token of another product, such as one of a video, is no identity.
    if sense is None or not _OF_IDENTITY.issuperset(resource):
        return None
    for texts in (words_of(action.resource_type), words_of(action.product), things_in(words)):
        for is_credential, kinds in ((True, _CREDENTIALS), (False, _IDENTITIES)):
            kind = _kind_in(texts, kinds)
            if kind is not None:
                rule = _credential_rule(sense) if is_credential else _identity_rule(sense)
                return Meaning(ENTITY_MANAGEMENT, sense, rule, Subject.ENTITY, kind)
    return None


def _kind_in(texts: Words, kinds: tuple[tuple[str, tuple[Words, ...]], ...]) -> str | None:
    """Returns the kind of identity that a text names and nothing else: ``token_validation`` names none."""
    for kind, phrases in kinds:
        for phrase in phrases:
            if has_phrase(texts, phrase) and set(texts) - set(phrase) <= _AROUND:
                return kind
    return None


def _credential_rule(sense: Sense) -> Rule:
    if sense is Sense.READ:
        return Rule.CREDENTIAL_VIEWED
    if sense is Sense.CREATE:
        return Rule.CREDENTIAL_CREATED
    return Rule.CREDENTIAL_REMOVED if sense in _REMOVAL else Rule.CREDENTIAL_CHANGED


def _identity_rule(sense: Sense) -> Rule:
    return Rule.OTHER if sense is Sense.READ else Rule.IDENTITY_CHANGED


def _call(action: Action, words: Words, sense: Sense | None) -> Meaning:
    """Returns the meaning of any other call of the API."""
    texts = (words, words_of(action.resource_type), words_of(action.product))
    is_log_job = any(not _LOG_JOBS.isdisjoint(text) for text in texts)
    is_protection = any(map(_is_protection, texts)) and not any(has_phrase(text, *_OTHER_GATEWAYS) for text in texts)
    rule, off_rule = Rule.OTHER, None
    if is_log_job or is_protection:
        off_rule = Rule.LOGPUSH_DISABLED if is_log_job else Rule.PROTECTION_DISABLED
    elif sense is Sense.UPDATE and _is_only(action, words, _ACCOUNTS):
        off_rule = Rule.MFA_DISABLED
    if sense in _REMOVAL:
        if off_rule is not None:
            rule = off_rule
        elif sense is Sense.DELETE and (_is_only(action, words, _ZONES) or _is_account(action, words)):
            rule = Rule.ZONE_DELETED
    is_switch = off_rule is not None and sense in _CHANGES
    return Meaning(API_ACTIVITY, sense, rule, Subject.SWITCH if is_switch else None, off_rule=off_rule)


def _is_protection(words: Words) -> bool:
    return not _PROTECTIONS.isdisjoint(words) or has_phrase(words, *_PROTECTION_PHRASES)


def _is_account(action: Action, words: Words) -> bool:
    """Returns whether an action is about a whole account. In version 1, which has no product, that can be a setting."""
    return bool(action.product) and _is_only(action, words, _ACCOUNTS)


def _is_only(action: Action, words: Words, names: frozenset[str]) -> bool:
    """Returns whether an action is about the resource of these names itself, and nothing inside of it."""
    resource = {*words_of(action.resource_type), *words_of(action.product)}
    return bool(resource) and names.issuperset((*resource, *things_in(words)))
