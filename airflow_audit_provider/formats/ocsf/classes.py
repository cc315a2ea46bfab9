"""Event classes of OCSF and the releases of OCSF in which events can be written, as values.

Source of the numbers: OCSF's own definitions of 1.1.0, 1.3.0 and 1.8.0 (https://schema.ocsf.io). A class has only the
activities that events use.

Invariant: an activity that a release lacks is never written in that release.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from airflow_audit_provider.formats.options import OCSF, OCSF_1_1, OCSF_1_3

UNKNOWN, OTHER = 0, 99


class Sense(Enum):
    """What an action does, whatever it does it to."""

    CREATE = auto()
    READ = auto()
    UPDATE = auto()
    DELETE = auto()
    ENABLE = auto()
    DISABLE = auto()
    ACTIVATE = auto()
    DEACTIVATE = auto()
    SUSPEND = auto()
    RESUME = auto()
    MOVE = auto()
    LOCK = auto()
    UNLOCK = auto()
    # Of sign-ins, factors, passwords and roles.
    LOGON = auto()
    LOGOFF = auto()
    FACTOR_ENABLE = auto()
    FACTOR_DISABLE = auto()
    PASSWORD_CHANGE = auto()
    PASSWORD_RESET = auto()
    ASSIGN = auto()
    REVOKE = auto()


class EventClass(NamedTuple):
    """Event class: number and name, its category's, its activities, and the activity of each sense that it has."""

    uid: int
    name: str
    category_uid: int
    category_name: str
    activities: Mapping[int, str]
    senses: Mapping[Sense, int]


_APPLICATION = (6, "Application Activity")
_IAM = (3, "Identity & Access Management")
_NONE = {UNKNOWN: "Unknown", OTHER: "Other"}

# It has no activity for a change that leaves its resource in place but off, locked or elsewhere: that is an update.
API_ACTIVITY = EventClass(
    6003,
    "API Activity",
    *_APPLICATION,
    {**_NONE, 1: "Create", 2: "Read", 3: "Update", 4: "Delete"},
    {
        **dict.fromkeys(
            (
                Sense.UPDATE, Sense.ENABLE, Sense.DISABLE, Sense.ACTIVATE, Sense.DEACTIVATE, Sense.SUSPEND,
                Sense.RESUME, Sense.MOVE, Sense.LOCK, Sense.UNLOCK, Sense.PASSWORD_CHANGE, Sense.PASSWORD_RESET,
                Sense.ASSIGN, Sense.REVOKE, Sense.FACTOR_ENABLE, Sense.FACTOR_DISABLE,
            ),
            3,
        ),
        Sense.CREATE: 1,
        Sense.READ: 2,
        Sense.DELETE: 4,
    },
)  # fmt: skip
ACCOUNT_CHANGE = EventClass(
    3001,
    "Account Change",
    *_IAM,
    {
        **_NONE, 1: "Create", 2: "Enable", 3: "Password Change", 4: "Password Reset", 5: "Disable", 6: "Delete",
        9: "Lock", 10: "MFA Factor Enable", 11: "MFA Factor Disable", 12: "Unlock",
    },
    {
        Sense.CREATE: 1, Sense.ENABLE: 2, Sense.ACTIVATE: 2, Sense.RESUME: 2, Sense.PASSWORD_CHANGE: 3,
        Sense.PASSWORD_RESET: 4, Sense.DISABLE: 5, Sense.DEACTIVATE: 5, Sense.SUSPEND: 5, Sense.DELETE: 6,
        Sense.LOCK: 9, Sense.FACTOR_ENABLE: 10, Sense.FACTOR_DISABLE: 11, Sense.UNLOCK: 12,
    },
)  # fmt: skip
AUTHENTICATION = EventClass(
    3002,
    "Authentication",
    *_IAM,
    {**_NONE, 1: "Logon", 2: "Logoff"},
    {Sense.LOGON: 1, Sense.LOGOFF: 2},
)
ENTITY_MANAGEMENT = EventClass(
    3004,
    "Entity Management",
    *_IAM,
    {
        **_NONE, 1: "Create", 2: "Read", 3: "Update", 4: "Delete", 5: "Move", 8: "Enable", 9: "Disable",
        10: "Activate", 11: "Deactivate", 12: "Suspend", 13: "Resume",
    },
    {
        Sense.CREATE: 1, Sense.READ: 2, Sense.UPDATE: 3, Sense.DELETE: 4, Sense.MOVE: 5, Sense.ENABLE: 8,
        Sense.UNLOCK: 8, Sense.DISABLE: 9, Sense.LOCK: 9, Sense.ACTIVATE: 10, Sense.DEACTIVATE: 11, Sense.SUSPEND: 12,
        Sense.RESUME: 13,
    },
)  # fmt: skip
USER_ACCESS = EventClass(
    3005,
    "User Access Management",
    *_IAM,
    {**_NONE, 1: "Assign Privileges", 2: "Revoke Privileges"},
    {Sense.ASSIGN: 1, Sense.REVOKE: 2},
)
CLASSES = (API_ACTIVITY, ACCOUNT_CHANGE, AUTHENTICATION, ENTITY_MANAGEMENT, USER_ACCESS)


class Release(NamedTuple):
    """A release of OCSF: what events can have in it.

    ``absent`` are the dotted paths of attributes that it lacks, ``app_name`` is the name of the attribute for an actor
    that is no user, ``lacks_activities`` the activities of classes that it lacks.
    """

    version: str
    classes: frozenset[int]
    absent: frozenset[str] = frozenset()
    app_name: str = "app_name"
    has_patch: bool = True
    has_service_users: bool = True
    lacks_activities: frozenset[tuple[int, int]] = frozenset()

    def has(self, event_class: EventClass, sense: Sense | None) -> bool:
        """Returns whether a class is in this release, with the activity of a sense; an unknown sense is ``Other``."""
        if event_class.uid not in self.classes or sense is None:
            return event_class.uid in self.classes
        return sense in event_class.senses and (event_class.uid, event_class.senses[sense]) not in self.lacks_activities


_CREDENTIALS = "actor.user.programmatic_credentials"
# Before 1.8, Entity Management and User Access Management have no actor without the profile ``host``, and in 1.1 no
# source endpoint. An event of these classes would lose who acted, so such actions are API Activity there.
_OLDER = Release(
    "1.3.0",
    frozenset({API_ACTIVITY.uid, ACCOUNT_CHANGE.uid, AUTHENTICATION.uid}),
    frozenset({_CREDENTIALS, "http_response", "entity", "privileges"}),
    has_patch=False,
    has_service_users=False,
    lacks_activities=frozenset({(ACCOUNT_CHANGE.uid, 12)}),
)
# Schema -> release.
RELEASES = {
    OCSF: Release("1.8.0", frozenset(one.uid for one in CLASSES)),
    OCSF_1_3: _OLDER,
    OCSF_1_1: _OLDER._replace(version="1.1.0", app_name="invoked_by"),
}
