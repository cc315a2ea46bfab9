"""Severity of an event: the rules, their severities, and the check of a user's own.

Cloudflare's records have no severity. Each event has the first rule that applies to it; a rule's severity is a default
that a user can change.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats.options import OCSF_SCHEMAS

# OCSF's numbers of severities.
LEVELS = {"Informational": 1, "Low": 2, "Medium": 3, "High": 4, "Critical": 5, "Fatal": 6}
_NAMES = {number: name for name, number in LEVELS.items()}


class Rule(Enum):
    """Reason for a severity, in the order in which they apply. The value is the name that users give."""

    FAILED_SIGN_IN = "failed_sign_in"
    FAILED = "failed"
    ADMIN_GRANTED = "admin_granted"
    MFA_DISABLED = "mfa_disabled"
    LOGPUSH_DISABLED = "logpush_disabled"
    ZONE_DELETED = "zone_deleted"
    CREDENTIAL_CREATED = "credential_created"
    CREDENTIAL_VIEWED = "credential_viewed"
    CREDENTIAL_CHANGED = "credential_changed"
    CREDENTIAL_REMOVED = "credential_removed"
    MEMBER_ADDED = "member_added"
    MEMBER_REMOVED = "member_removed"
    ROLES_CHANGED = "roles_changed"
    IDENTITY_CHANGED = "identity_changed"
    PROTECTION_DISABLED = "protection_disabled"
    PASSWORDS_CHANGED = "password_changed"
    MFA_CHANGED = "mfa_changed"
    OTHER = "other"


class RuleText(NamedTuple):
    """What a rule applies to, for people, and its default severity."""

    severity: str
    meaning: str


RULES: Mapping[Rule, RuleText] = {
    Rule.FAILED_SIGN_IN: RuleText("Low", "a sign-in that failed"),
    Rule.FAILED: RuleText("Low", "any other action that failed"),
    Rule.ADMIN_GRANTED: RuleText("High", "a member is added or gets roles, one of them an administrator's"),
    Rule.MFA_DISABLED: RuleText("High", "a second factor, or the account's requirement of one, is turned off"),
    Rule.LOGPUSH_DISABLED: RuleText("High", "a Logpush job is deleted or turned off"),
    Rule.ZONE_DELETED: RuleText("High", "a zone is deleted; in version 2 also: an account is deleted"),
    Rule.CREDENTIAL_CREATED: RuleText("Medium", "an API token, API key, service token or OAuth client is created"),
    Rule.CREDENTIAL_VIEWED: RuleText("Medium", "the value of such a credential is shown"),
    Rule.CREDENTIAL_CHANGED: RuleText("Medium", "such a credential is changed or rolled"),
    Rule.CREDENTIAL_REMOVED: RuleText("Low", "such a credential is revoked or turned off"),
    Rule.MEMBER_ADDED: RuleText("Medium", "a member is added or accepts an invitation"),
    Rule.MEMBER_REMOVED: RuleText("Medium", "a member is removed"),
    Rule.ROLES_CHANGED: RuleText("Medium", "the roles of a member, or its membership, are changed"),
    Rule.IDENTITY_CHANGED: RuleText("Medium", "a role, user group, SSO connector or identity provider is changed"),
    Rule.PROTECTION_DISABLED: RuleText(
        "Medium", "a firewall, WAF, rate limit, Gateway or Access rule or policy is removed or turned off"
    ),
    Rule.PASSWORDS_CHANGED: RuleText("Low", "a password is changed or reset"),
    Rule.MFA_CHANGED: RuleText("Low", "a second factor, or the requirement of one, is turned on or changed"),
    Rule.OTHER: RuleText("Informational", "everything else"),
}


class Severity(NamedTuple):
    """Number and name, as an event has them."""

    uid: int
    name: str


# The name of a rule, or ``resource:action`` -> the number of a severity; hashable, in the order of the user.
Overrides = tuple[tuple[str, int], ...]


def checked_overrides(chosen: Mapping[str, str] | None, schema: str) -> Overrides:
    """Checks the severities that a user gives by rule or by ``resource:action``; returns them by number.

    Raises ``ConfigurationError`` for an unknown rule or severity, and for a schema whose rows have no severity.
    """
    if chosen is None:
        return ()
    if schema not in OCSF_SCHEMAS:
        raise ConfigurationError(
            f"ocsf_severity is given, but the schema is {schema!r}, whose rows have no severity. Leave it out, or give "
            f"one of the schemas {', '.join(map(repr, OCSF_SCHEMAS))}."
        )
    if not isinstance(chosen, Mapping):
        raise ConfigurationError(
            f"ocsf_severity is a {type(chosen).__name__}. Give a dict of rules and severities, for example "
            '{"credential_created": "High"}.'
        )
    return tuple((_checked_key(key), _checked_level(key, level)) for key, level in chosen.items())


def _checked_key(key: object) -> str:
    if isinstance(key, str) and (key in _BY_NAME or (key.count(":") == 1 and all(key.split(":")))):
        return key
    raise ConfigurationError(
        f"ocsf_severity has no rule {key!r}. Give one of {', '.join(map(repr, _BY_NAME))}, or 'resource:action'. The "
        "resource is a resource type or a product, the action is an action type, and * stands for any."
    )


def _checked_level(key: str, level: object) -> int:
    if isinstance(level, str) and level in LEVELS:
        return LEVELS[level]
    raise ConfigurationError(f"ocsf_severity[{key!r}] is {level!r}. Give one of {', '.join(map(repr, LEVELS))}.")


def severity_of(overrides: Overrides, rule: Rule, resource: tuple[str, str], action_type: str) -> Severity:
    """Returns the severity of an event; ``resource`` are its type and product.

    An override for a resource and an action comes before one for a rule.
    """
    of_rule = LEVELS[RULES[rule].severity]
    for key, level in overrides:
        if ":" in key and _matches(key, resource, action_type):
            return Severity(level, _NAMES[level])
        if key == rule.value:
            of_rule = level
    return Severity(of_rule, _NAMES[of_rule])


def _matches(key: str, resource: tuple[str, str], action_type: str) -> bool:
    wanted, action = key.split(":")
    return wanted in {"*", *resource} and action in {"*", action_type}


_BY_NAME = {rule.value: rule for rule in Rule}
