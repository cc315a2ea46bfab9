"""The schema ``ocsf``: classes, activities and words of the Open Cybersecurity Schema Framework, as values.

Knows: OCSF 1.8.0's API Activity (6003) and Account Change (3001), and which of our words are which of its numbers.
Must not know: records, file formats, how an event is put together (``ocsf_events``).
Its one rule: a word nobody mapped is ``Other`` with the word beside it, never a guess.

Source of the numbers: the schema at https://schema.ocsf.io/1.8.0, with the profiles ``cloud`` and ``datetime``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

MAJOR, MINOR = 1, 0
OCSF_VERSION = "1.8.0"
PROFILES = ("cloud", "datetime")
RAW_ATTRIBUTE = "raw_data"
UNKNOWN, OTHER = 0, 99


class EventClass(NamedTuple):
    """An event class: its number and name, its category's, its activities, and the words that mean them."""

    uid: int
    name: str
    category_uid: int
    category_name: str
    activities: dict[int, str]
    words: dict[str, int]


def _meaning(**activities: str) -> dict[str, int]:
    """Return words with the activity they mean, from ``_1="create add …"``."""
    return {word: int(uid[1:]) for uid, words in activities.items() for word in words.split()}


API_ACTIVITY = EventClass(
    6003,
    "API Activity",
    6,
    "Application Activity",
    {0: "Unknown", 1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"},
    _meaning(
        _1="create add upload insert register invite issue generate import",
        _2="view read get list download export",
        _3="update edit set change modify patch replace rename rotate roll enable disable activate deactivate move",
        _4="delete del remove revoke purge destroy",
    ),
)
ACCOUNT_CHANGE = EventClass(
    3001,
    "Account Change",
    3,
    "Identity & Access Management",
    {
        0: "Unknown", 1: "Create", 2: "Enable", 3: "Password Change", 5: "Disable", 6: "Delete", 9: "Lock",
        12: "Unlock", 99: "Other",
    },
    _meaning(
        _1="create add invite",
        _2="enable activate",
        _3="password",
        _5="disable deactivate suspend",
        _6="delete del remove revoke",
        _9="lock",
        _12="unlock",
    ),
)  # fmt: skip
CLASSES = (API_ACTIVITY, ACCOUNT_CHANGE)
# Resource types of version 1 and products of version 2 whose changes are changes of a person's account.
ACCOUNT_RESOURCES = frozenset({"account.member", "member", "members"})
# A look at an account changes nothing.
READING_WORDS = frozenset({"view", "read", "get", "list"})
USER_TYPES = {"user": (1, "User"), "admin": (2, "Admin"), "system": (3, "System")}
STATUS = {True: (1, "Success"), False: (2, "Failure"), None: (UNKNOWN, "Unknown")}
METHODS = frozenset({"OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH"})
EMAIL = re.compile(r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+", re.ASCII)
_PERSON = {"uid": "text", "name": "text", "email_addr": "text", "type_id": "integer", "type": "text"}
# What an event can hold, and in Parquet does: objects are structs, lists are lists, free-form JSON is text.
ATTRIBUTES: dict[str, Any] = {
    "category_uid": "integer",
    "category_name": "text",
    "class_uid": "integer",
    "class_name": "text",
    "activity_id": "integer",
    "activity_name": "text",
    "type_uid": "integer",
    "type_name": "text",
    "time": "integer",
    "time_dt": "instant",
    "severity_id": "integer",
    "severity": "text",
    "status_id": "integer",
    "status": "text",
    "message": "text",
    "metadata": {
        "version": "text",
        "profiles": ["text"],
        "product": {"name": "text", "vendor_name": "text"},
        "uid": "text",
        "event_code": "text",
        "log_name": "text",
        "log_version": "text",
    },
    "actor": {
        "user": {**_PERSON, "programmatic_credentials": [{"uid": "text", "type": "text"}]},
        "app_name": "text",
    },
    "src_endpoint": {"ip": "text", "name": "text"},
    "cloud": {"provider": "text", "account": {"uid": "text", "name": "text", "type_id": "integer", "type": "text"}},
    "http_request": {
        "http_method": "text",
        "url": {"path": "text", "query_string": "text"},
        "user_agent": "text",
    },
    "http_response": {"code": "integer"},
    "user": _PERSON,
    "api": {
        "operation": "text",
        "version": "text",
        "service": {"name": "text"},
        "request": {"uid": "text", "data": "text"},
        "response": {"code": "integer", "data": "text"},
    },
    "resources": [{"uid": "text", "name": "text", "type": "text", "group": {"name": "text"}}],
    "unmapped": {
        "interface": "text",
        "zone_id": "text",
        "zone_name": "text",
        "resource_scope": "text",
        "before": "text",
        "after": "text",
        "metadata": "text",
    },
    RAW_ATTRIBUTE: "text",
}
REQUIRED = frozenset(
    "category_uid class_uid activity_id type_uid time time_dt severity_id metadata src_endpoint cloud raw_data".split()
)
# Long texts, each unlike the others: comparing them tells a query nothing.
FREE_FORM = frozenset({RAW_ATTRIBUTE, "data", "before", "after"})
# Nearly every record has its own.
UNLIKE = FREE_FORM | {
    "time", "time_dt", "query_string", "path", "metadata.uid", "api.request.uid", "resources.list.element.uid",
}  # fmt: skip
_WORD = re.compile(r"[a-z0-9]+")


@lru_cache(maxsize=4096)
def words_of(action: str) -> tuple[str, ...]:
    """Return the words of an action's type: ``firewall_rule_edit`` has three."""
    return tuple(_WORD.findall(action.lower()))


@lru_cache(maxsize=4096)
def activity_of(class_uid: int, action: str | None) -> tuple[int, str]:
    """Return the number and the name of an activity; of a word nobody mapped it is ``Other`` and the word."""
    if not action:
        return UNKNOWN, "Unknown"
    chosen = _BY_UID[class_uid]
    for word in words_of(action):
        if word in chosen.words:
            uid = chosen.words[word]
            return uid, chosen.activities[uid]
    return OTHER, action


_BY_UID = {one.uid: one for one in CLASSES}
