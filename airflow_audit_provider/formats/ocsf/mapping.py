"""Mapping to OCSF 1.8.0: event classes, activities, and the numbers of words, as values.

The classes are API Activity (6003) and Account Change (3001) with the profiles ``cloud`` and ``datetime``. Source of
the numbers: https://schema.ocsf.io/1.8.0.

Invariant: an unmapped word is ``Other`` with the word beside it, never a guess.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_audit_provider.core.warehouse.port import ColumnType

MAJOR, MINOR = 1, 0
OCSF_VERSION = "1.8.0"
PROFILES = ("cloud", "datetime")
RAW_ATTRIBUTE = "raw_data"
UNKNOWN, OTHER = 0, 99


class EventClass(NamedTuple):
    """Event class: number and name, its category's, its activities, and the words that mean an activity."""

    uid: int
    name: str
    category_uid: int
    category_name: str
    activities: dict[int, str]
    words: dict[str, int]


def _meaning(**activities: str) -> dict[str, int]:
    """Returns words with the activity they mean, from ``_1="create add …"``."""
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
        _3="update edit set put change modify patch replace rename rotate roll enable disable activate deactivate move",
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
# Reading an account changes nothing.
READING_WORDS = frozenset({"view", "read", "get", "list"})
_ADMIN, _SYSTEM = (2, "Admin"), (3, "System")
# Cloudflare API docs: version 1 has user, admin (of Cloudflare) and Cloudflare (an automated system); version 2 has
# user, cloudflare_admin, system, delegated_service and account, which OCSF has no number for.
USER_TYPES = {
    "user": (1, "User"),
    "admin": _ADMIN,
    "cloudflare_admin": _ADMIN,
    "system": _SYSTEM,
    "Cloudflare": _SYSTEM,
    "delegated_service": (4, "Service"),
}
# Cloudflare API docs: an actor has a token's id and name in these contexts.
TOKEN_TYPES = {"api_token": "API Token", "oauth": "OAuth Token"}
STATUS = {True: (1, "Success"), False: (2, "Failure"), None: (UNKNOWN, "Unknown")}
METHODS = frozenset({"OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH"})
EMAIL = re.compile(r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+", re.ASCII)
_TEXT, _INTEGER = ColumnType.TEXT, ColumnType.INTEGER
_ACCOUNT = {"uid": _TEXT, "name": _TEXT, "type_id": _INTEGER, "type": _TEXT}
_PERSON = {
    "uid": _TEXT, "name": _TEXT, "email_addr": _TEXT, "type_id": _INTEGER, "type": _TEXT, "account": _ACCOUNT,
}  # fmt: skip
# Attributes of an event. In Parquet, objects are structs, lists are lists, and free-form JSON is text.
ATTRIBUTES: dict[str, Any] = {
    "category_uid": _INTEGER,
    "category_name": _TEXT,
    "class_uid": _INTEGER,
    "class_name": _TEXT,
    "activity_id": _INTEGER,
    "activity_name": _TEXT,
    "type_uid": _INTEGER,
    "type_name": _TEXT,
    "time": _INTEGER,
    "time_dt": ColumnType.TIMESTAMP,
    "severity_id": _INTEGER,
    "severity": _TEXT,
    "status_id": _INTEGER,
    "status": _TEXT,
    "message": _TEXT,
    "metadata": {
        "version": _TEXT,
        "profiles": [_TEXT],
        "product": {"name": _TEXT, "vendor_name": _TEXT},
        "uid": _TEXT,
        "event_code": _TEXT,
        "log_name": _TEXT,
        "log_version": _TEXT,
    },
    "actor": {
        "user": {**_PERSON, "programmatic_credentials": [{"uid": _TEXT, "type": _TEXT}]},
        "app_name": _TEXT,
    },
    "src_endpoint": {"ip": _TEXT, "name": _TEXT},
    "cloud": {"provider": _TEXT, "account": _ACCOUNT, "org": {"uid": _TEXT}},
    "http_request": {
        "http_method": _TEXT,
        "url": {"path": _TEXT, "query_string": _TEXT},
        "user_agent": _TEXT,
    },
    "http_response": {"code": _INTEGER},
    "user": {**_PERSON, "uid_alt": _TEXT},
    "api": {
        "operation": _TEXT,
        "version": _TEXT,
        "service": {"name": _TEXT},
        "request": {"uid": _TEXT, "data": _TEXT},
        "response": {"code": _INTEGER, "data": _TEXT},
    },
    "resources": [{"uid": _TEXT, "name": _TEXT, "type": _TEXT, "group": {"name": _TEXT}}],
    "unmapped": {
        "interface": _TEXT,
        "actor_token_id": _TEXT,
        "actor_token_name": _TEXT,
        "zone_id": _TEXT,
        "zone_name": _TEXT,
        "resource_scope": _TEXT,
        "before": _TEXT,
        "after": _TEXT,
        "metadata": _TEXT,
    },
    RAW_ATTRIBUTE: _TEXT,
}
REQUIRED = frozenset(
    "category_uid class_uid activity_id type_uid time time_dt severity_id metadata src_endpoint cloud raw_data".split()
)
# Long and distinct texts; their minimum and maximum do not help a query.
FREE_FORM = frozenset({RAW_ATTRIBUTE, "data", "before", "after"})
# Different in nearly every record.
UNLIKE = FREE_FORM | {
    "time", "time_dt", "query_string", "path", "metadata.uid", "api.request.uid", "resources.list.element.uid",
}  # fmt: skip
# A word of ``rec_add``, ``CreateBucket``, ``DNSRecordAdd`` or ``API_key_created``.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# Also things: ``list_item_create`` creates. They decide only if no other word does.
_NOUNS = frozenset({"list", "view", "set", "issue", "export", "import", "change", "patch", "download", "upload"})


@lru_cache(maxsize=4096)
def words_of(action: str) -> tuple[str, ...]:
    """Returns the words of an action's type, verbs in their base form; ``API_key_created`` has three."""
    return tuple(_base_form(word.lower()) for word in _WORD.findall(action))


def _base_form(word: str) -> str:
    """Returns the known verb of which a word is the past tense; any other word unchanged."""
    if word in _VERBS or not word.endswith("ed"):
        return word
    stems = (word[:-1], word[:-2], f"{word[:-3]}y" if word.endswith("ied") else "", word[:-3])
    return next((stem for stem in stems if stem in _VERBS), word)


@lru_cache(maxsize=4096)
def activity_of(class_uid: int, action: str | None) -> tuple[int, str]:
    """Returns the number and name of an activity; ``Other`` and the word if it is not mapped."""
    if not action:
        return UNKNOWN, "Unknown"
    event_class = _BY_UID[class_uid]
    known = [word for word in words_of(action) if word in event_class.words]
    if not known:
        return OTHER, action
    uid = event_class.words[next((word for word in known if word not in _NOUNS), known[0])]
    return uid, event_class.activities[uid]


_BY_UID = {one.uid: one for one in CLASSES}
_VERBS = {word for one in CLASSES for word in one.words} | READING_WORDS
