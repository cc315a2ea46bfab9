"""Attributes of OCSF events, and the numbers of words, as values.

Every event has the profiles ``cloud`` and ``datetime``. Source of the numbers: https://schema.ocsf.io. The classes and
activities are in ``classes``, the rules by which an action gets them in ``meaning``.

Invariant: an unmapped word is ``Other`` with the word beside it, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.formats.ocsf.classes import OTHER, RELEASES, UNKNOWN

# Version of this mapping. In 1.x sign-ins, tokens and second factors were API Activity.
MAJOR, MINOR = 2, 0
PROFILES = ("cloud", "datetime")
RAW_ATTRIBUTE = "raw_data"
_ADMIN, _SYSTEM = (2, "Admin"), (3, "System")
_SERVICE = 4
# Cloudflare API docs: version 1 has user, admin (of Cloudflare) and Cloudflare (an automated system); version 2 has
# user, cloudflare_admin, system, delegated_service and account, which OCSF has no number for.
USER_TYPES = {
    "user": (1, "User"),
    "admin": _ADMIN,
    "cloudflare_admin": _ADMIN,
    "system": _SYSTEM,
    "Cloudflare": _SYSTEM,
    "delegated_service": (_SERVICE, "Service"),
}
# Cloudflare API docs: an actor has a token's id and name in these contexts.
TOKEN_TYPES = {"api_token": "API Token", "oauth": "OAuth Token"}
STATUS = {True: (1, "Success"), False: (2, "Failure"), None: (UNKNOWN, "Unknown")}
_METHODS = frozenset({"OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT"})
# OCSF's numbers of protocols; it has none for SSO.
PROTOCOLS = {"saml": (5, "SAML"), "oidc": (4, "OpenID"), "oauth": (6, "OAUTH 2.0"), "sso": (OTHER, "SSO")}
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
    "status_detail": _TEXT,
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
    "service": {"name": _TEXT},
    "is_mfa": ColumnType.BOOLEAN,
    "auth_protocol_id": _INTEGER,
    "auth_protocol": _TEXT,
    "entity": {"uid": _TEXT, "name": _TEXT, "type": _TEXT},
    "privileges": [_TEXT],
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


@lru_cache(maxsize=4)
def attributes_of(schema: str) -> Mapping[str, Any]:
    """Returns the attributes of events in the release of OCSF that a schema is."""
    release = RELEASES[schema]
    kept = _without(ATTRIBUTES, release.absent)
    return kept | {
        "actor": {release.app_name if name == "app_name" else name: kind for name, kind in kept["actor"].items()}
    }


def _without(attributes: Mapping[str, Any], absent: frozenset[str], path: str = "") -> dict[str, Any]:
    return {
        name: _without(kind, absent, f"{path}{name}.") if isinstance(kind, Mapping) else kind
        for name, kind in attributes.items()
        if path + name not in absent
    }


def user_type(schema: str, actor_type: str | None) -> tuple[int, str]:
    """Returns OCSF's number and name of a kind of actor; ``Other`` and the word if it has none."""
    uid, name = USER_TYPES.get(actor_type or "", (OTHER, actor_type or "Other"))
    return (OTHER if uid == _SERVICE and not RELEASES[schema].has_service_users else uid), name


@lru_cache(maxsize=4)
def methods_of(schema: str) -> frozenset[str]:
    """Returns the HTTP methods that a release of OCSF knows."""
    return _METHODS | {"PATCH"} if RELEASES[schema].has_patch else _METHODS
