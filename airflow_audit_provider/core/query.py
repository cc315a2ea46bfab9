"""What is asked: scope, API version and filters, turned into each version's paths and parameters.

Knows: every parameter of the four audit log endpoints and which version and scope has which.
Must not know: paging decisions (``paging``), HTTP.
Its one rule: a filter the chosen endpoint does not have is refused here, before any request is made.

Source of the names: Cloudflare's API reference for ``audit-logs-get-account-audit-logs`` and
``audit-logs-v2-get-account-audit-logs``. Python names are the API's with dots read as underscores
(``actor.email`` is ``actor_email``, ``actor_email.not`` is ``actor_email_not``); both spellings are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import msgspec

from airflow_audit_provider.core.ports import Request
from airflow_audit_provider.core.records import ApiVersion
from airflow_audit_provider.core.window import format_instant, from_seconds
from airflow_audit_provider.exceptions import ConfigurationError

MAX_PAGE_SIZE = 1000


class Scope(StrEnum):
    """Whose audit log is read: an account's, the token's own user's (v1 only), an organization's (v2 only)."""

    ACCOUNT = "account"
    USER = "user"
    ORGANIZATION = "organization"


class Direction(StrEnum):
    """The order of a list by event time."""

    ASC = "asc"
    DESC = "desc"

    @property
    def opposite(self) -> Direction:
        """The other direction."""
        return Direction.DESC if self is Direction.ASC else Direction.ASC


class Ask(NamedTuple):
    """One page to ask for: whole epoch seconds, deliberately wider than the records wanted.

    ``page`` and ``cursor`` exclude each other: version 1 has pages, version 2 cursors. ``without_ids`` asks version 2
    for all records but these.
    """

    since_seconds: int
    before_seconds: int
    direction: Direction
    page_size: int
    page: int = 1
    cursor: str | None = None
    without_ids: tuple[str, ...] = ()


_V1_FILTERS = {
    "id": "id",
    "action_type": "action.type",
    "actor_email": "actor.email",
    "actor_ip": "actor.ip",
    "zone_name": "zone.name",
    "hide_user_logs": "hide_user_logs",
}
# fmt: off
_V2_SHARED = [
    "action_result", "action_type", "actor_context", "actor_email", "actor_id", "actor_ip_address", "actor_token_id",
    "actor_token_name", "actor_type", "id", "raw_cf_ray_id", "raw_method", "raw_status_code", "raw_uri", "resource_id",
    "resource_product", "resource_type", "resource_scope",
]
# fmt: on
_V2_ACCOUNT_ONLY = ["account_name", "audit_log_id", "zone_id", "zone_name"]


def _with_twins(names: list[str]) -> dict[str, str]:
    """Map each Python name and its ``_not`` twin to the API's names."""
    return {name: name for name in names} | {f"{name}_not": f"{name}.not" for name in names}


_FILTERS: dict[tuple[ApiVersion, Scope], dict[str, str]] = {
    (ApiVersion.V1, Scope.ACCOUNT): _V1_FILTERS,
    (ApiVersion.V1, Scope.USER): _V1_FILTERS,
    (ApiVersion.V2, Scope.ACCOUNT): _with_twins(_V2_SHARED + _V2_ACCOUNT_ONLY)
    | {"product_category": "product_category"},
    (ApiVersion.V2, Scope.ORGANIZATION): _with_twins(_V2_SHARED),
}
_PATHS = {
    (ApiVersion.V1, Scope.ACCOUNT): "/accounts/{id}/audit_logs",
    (ApiVersion.V1, Scope.USER): "/user/audit_logs",
    (ApiVersion.V2, Scope.ACCOUNT): "/accounts/{id}/logs/audit",
    (ApiVersion.V2, Scope.ORGANIZATION): "/organizations/{id}/logs/audit",
}
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")
_ORGANIZATION_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

_E = TypeVar("_E", bound=StrEnum)
Filters = tuple[tuple[str, str], ...]


class AuditQuery(msgspec.Struct, frozen=True):
    """One audit log and the filters on it: everything that is the same for every page of every window.

    ``scope_id`` is the account or organization id, empty for the user scope. ``filters`` are the API's own
    parameter names with their texts, sorted, a name repeated for each of its values.
    Make one with :func:`audit_query`, which checks it.
    """

    version: ApiVersion
    scope: Scope
    scope_id: str
    filters: Filters = ()

    @property
    def path(self) -> str:
        """The endpoint's path below the API's base URL."""
        return _PATHS[self.version, self.scope].format(id=self.scope_id)

    def page_request(self, ask: Ask) -> Request:
        """Return the request for one page."""
        window = self.window_params(ask.since_seconds, ask.before_seconds)
        return Request(self.path, (*self.filters, *window, ("direction", ask.direction), *self._position(ask)))

    def export_request(self, since_seconds: int, before_seconds: int) -> Request:
        """Return the request for the CSV export; raise ``ConfigurationError`` on version 2, which has none."""
        if self.version is not ApiVersion.V1:
            raise ConfigurationError("Version 2 of the API has no CSV export. Use api_version='v1' or iter_audit_logs.")
        window = self.window_params(since_seconds, before_seconds)
        return Request(self.path, (*self.filters, *window, ("export", "true")))

    def window_params(self, since_seconds: int, before_seconds: int) -> Filters:
        """Return ``since`` and ``before`` in whole seconds: the server's grain below that is unknown."""
        return (
            ("since", format_instant(from_seconds(since_seconds))),
            ("before", format_instant(from_seconds(before_seconds))),
        )

    def _position(self, ask: Ask) -> Filters:
        if self.version is ApiVersion.V1:
            return ("per_page", str(ask.page_size)), ("page", str(ask.page))
        cursor = () if ask.cursor is None else (("cursor", ask.cursor),)
        return (("limit", str(ask.page_size)), *cursor, *(("id.not", record_id) for record_id in ask.without_ids))


def audit_query(
    api_version: str,
    scope: str | None,
    *,
    account_id: str | None = None,
    organization_id: str | None = None,
    filters: Mapping[str, Any] | None = None,
) -> AuditQuery:
    """Check and build the query for one audit log.

    ``scope`` of None means the organization where only an organization id is given, else the account.
    Raises ``ConfigurationError`` for an unknown version, a scope the version does not have, a malformed or
    missing id, and a filter the endpoint does not have.
    """
    version = _member(ApiVersion, "api_version", api_version)
    if scope is None:
        scope = Scope.ORGANIZATION if organization_id and not account_id else Scope.ACCOUNT
    kind = _member(Scope, "scope", scope)
    if (version, kind) not in _PATHS:
        scopes = " or ".join(repr(str(s)) for v, s in _PATHS if v is version)
        raise ConfigurationError(f"Version {version} of the API has no {kind} scope. Use scope={scopes}.")
    return AuditQuery(version, kind, _scope_id(kind, account_id, organization_id), _filters(version, kind, filters))


def _scope_id(scope: Scope, account_id: str | None, organization_id: str | None) -> str:
    if scope is Scope.USER:
        return ""
    name = f"{scope}_id"
    given = str((account_id if scope is Scope.ACCOUNT else organization_id) or "")
    if not given:
        raise ConfigurationError(
            f"The {scope} scope needs {name}. Give it as an argument or in the connection's extra."
        )
    pattern = _ACCOUNT_ID if scope is Scope.ACCOUNT else _ORGANIZATION_ID
    if not pattern.fullmatch(given):
        raise ConfigurationError(
            f"{name} is malformed ({len(given)} characters). Copy the id from the Cloudflare dashboard; "
            f"{'an account id is 32 lower-case hexadecimal digits' if scope is Scope.ACCOUNT else 'it has no slashes'}."
        )
    return given


def _filters(version: ApiVersion, scope: Scope, filters: Mapping[str, Any] | None) -> Filters:
    """Turn Python names and values into the API's; None means the filter is not set."""
    known = _FILTERS[version, scope]
    params: list[tuple[str, str]] = []
    if filters is not None and not isinstance(filters, Mapping):
        raise ConfigurationError(f"filters is a {type(filters).__name__}. Give a dict of filter names and values.")
    for given, value in (filters or {}).items():
        if value is None:
            continue
        name = known.get(str(given).replace(".", "_"))
        if name is None:
            raise ConfigurationError(_unknown_filter(version, scope, str(given)))
        params.extend((name, text) for text in _texts(version, given, value))
    return tuple(sorted(params))


def _texts(version: ApiVersion, name: str, value: Any) -> list[str]:
    """Return the texts of one filter: version 2 repeats a key for each of several values, version 1 has one."""
    values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if version is ApiVersion.V1 and len(values) != 1:
        raise ConfigurationError(
            f"Filter {name!r} takes one value on version 1 of the API. Give one, or use version 2."
        )
    if not values:
        raise ConfigurationError(
            f"Filter {name!r} has an empty list. Give at least one value, or leave the filter out."
        )
    return sorted(_text(name, item) for item in values)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int) and str(value).strip():
        return str(value)
    raise ConfigurationError(f"Filter {name!r} has the value {value!r}. Give a non-empty text, a number or a bool.")


def _unknown_filter(version: ApiVersion, scope: Scope, given: str) -> str:
    # Needed for a refusal alone, and no DAG should take longer to parse for it.
    import difflib

    known = _FILTERS[version, scope]
    near = difflib.get_close_matches(given.replace(".", "_"), known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known filters: {', '.join(sorted(known))}."
    if any(given.replace(".", "_") in names for key, names in _FILTERS.items() if key != (version, scope)):
        hint = f"Another version or scope has it; remove it or change api_version. {hint}"
    return f"Version {version} of the API, {scope} scope, has no filter {given!r}. {hint}"


def _member(kind: type[_E], name: str, value: str) -> _E:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(repr(str(member)) for member in kind)
        raise ConfigurationError(f"{name} {value!r} is unknown. Give one of {known}.") from None
