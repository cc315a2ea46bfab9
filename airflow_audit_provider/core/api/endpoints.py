"""Endpoints of the Audit Logs API with their paths and filters, and the check that arguments name one of them.

The module imports little, so that an argument is checked cheaply while a DAG is parsed. A filter that the chosen
endpoint does not have is rejected here, before any request is sent.

Source of the names: Cloudflare's API reference for ``audit-logs-get-account-audit-logs`` and
``audit-logs-v2-get-account-audit-logs``. Python names are the API's with dots replaced by underscores
(``actor.email`` is ``actor_email``, ``actor_email.not`` is ``actor_email_not``); both spellings are accepted, and so is
a dict of what belongs together, as the official SDK 5.9.0 has it: ``actor={"email": …}``, ``actor_email={"not": […]}``.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import ConfigurationError

V1, V2 = VERSIONS = ("v1", "v2")
ACCOUNT, USER, ORGANIZATION = SCOPES = ("account", "user", "organization")
Filters = tuple[tuple[str, str], ...]

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
# The organization endpoint documents no account and zone filters, and no `product_category`.
_V2_ACCOUNT_ONLY = ["account_name", "audit_log_id", "zone_id", "zone_name"]


def _with_negations(names: list[str]) -> dict[str, str]:
    """Maps each Python name, and its negation ending in ``_not``, to the API's name."""
    return {name: name for name in names} | {f"{name}_not": f"{name}.not" for name in names}


_FILTERS: dict[tuple[str, str], dict[str, str]] = {
    (V1, ACCOUNT): _V1_FILTERS,
    (V1, USER): _V1_FILTERS,
    (V2, ACCOUNT): _with_negations(_V2_SHARED + _V2_ACCOUNT_ONLY) | {"product_category": "product_category"},
    (V2, ORGANIZATION): _with_negations(_V2_SHARED),
}
PATHS = {
    (V1, ACCOUNT): "/accounts/{id}/audit_logs",
    (V1, USER): "/user/audit_logs",
    (V2, ACCOUNT): "/accounts/{id}/logs/audit",
    (V2, ORGANIZATION): "/organizations/{id}/logs/audit",
}
# Not regular expressions: compiling one takes longer than everything else that parsing a DAG needs of this module.
_ACCOUNT_ID_LENGTH, _ORGANIZATION_ID_LENGTH = 32, 64
_HEXADECIMAL = frozenset("0123456789abcdef")
_WORD = frozenset(f"{string.ascii_letters}{string.digits}_-")


def name_audit_log(
    api_version: str | None,
    scope: str | None,
    *,
    account_id: str | None = None,
    organization_id: str | None = None,
    filters: Mapping[str, Any] | None = None,
) -> tuple[str, str, str, Filters]:
    """Returns version, scope, scope id and filters of one audit log, as ``AuditQuery`` has them.

    ``scope`` of None means the organization if only an organization id is given, else the account. ``api_version`` of
    None means version 2 for an organization, which version 1 does not have, else version 1. Raises
    ``ConfigurationError`` for an unknown version, a scope that the version does not have, a malformed or missing id,
    and a filter that the endpoint does not have.
    """
    api_version, scope = with_defaults(api_version, scope, account_id, organization_id)
    check_known("api_version", api_version, VERSIONS)
    check_known("scope", scope, SCOPES)
    if (api_version, scope) not in PATHS:
        scopes = " or ".join(repr(s) for v, s in PATHS if v == api_version)
        raise ConfigurationError(f"Version {api_version} of the API has no {scope} scope. Use scope={scopes}.")
    scope_id = _scope_id(scope, account_id, organization_id)
    return api_version, scope, scope_id, _filters(api_version, scope, filters)


def with_defaults(
    api_version: str | None, scope: str | None, account_id: object, organization_id: object
) -> tuple[str, str]:
    """Returns version and scope, where None is replaced by what the ids lead to."""
    if scope is None:
        scope = ORGANIZATION if organization_id and not account_id else ACCOUNT
    return api_version or (V2 if scope == ORGANIZATION else V1), scope


def check_known(name: str, given: object, known: tuple[str, ...]) -> None:
    """Raises ``ConfigurationError`` if a value is not one of the known ones."""
    if given not in known:
        raise ConfigurationError(f"{name} {given!r} is unknown. Give one of {', '.join(map(repr, known))}.")


def _scope_id(scope: str, account_id: str | None, organization_id: str | None) -> str:
    if scope == USER:
        return ""
    name = f"{scope}_id"
    given = str((account_id if scope == ACCOUNT else organization_id) or "")
    if not given:
        raise ConfigurationError(
            f"The {scope} scope needs {name}. Give it as an argument or in the connection's extra."
        )
    if not (_is_account_id(given) if scope == ACCOUNT else _is_organization_id(given)):
        raise ConfigurationError(
            f"{name} is malformed ({count_of(len(given), 'character')}). Copy the id from the Cloudflare dashboard; "
            f"{'an account id is 32 lower-case hexadecimal digits' if scope == ACCOUNT else 'it has no slashes'}."
        )
    return given


def _is_account_id(given: str) -> bool:
    return len(given) == _ACCOUNT_ID_LENGTH and _HEXADECIMAL.issuperset(given)


def _is_organization_id(given: str) -> bool:
    return len(given) <= _ORGANIZATION_ID_LENGTH and _WORD.issuperset(given)


def _filters(version: str, scope: str, filters: Mapping[str, Any] | None) -> Filters:
    """Converts Python names and values to the API's; a value of None means that the filter is not set."""
    known = _FILTERS[version, scope]
    params: dict[str, list[str]] = {}
    if filters is not None and not isinstance(filters, Mapping):
        raise ConfigurationError(f"filters is a {type(filters).__name__}. Give a dict of filter names and values.")
    for given, value in flat_filters(filters or {}):
        if value is None:
            continue
        name = known.get(given.replace(".", "_"))
        if name is None:
            raise ConfigurationError(_unknown_filter(version, scope, given))
        if name in params:
            raise ConfigurationError(f"Filter {given!r} is given twice, in two spellings. Give it once.")
        params[name] = _texts(version, given, value)
    return tuple(sorted((name, text) for name, texts in params.items() for text in texts))


def flat_filters(filters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields flat names and values: ``{"actor": {"email": "a"}}`` is ``actor.email`` with ``a``."""
    for name, value in filters.items():
        given = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from flat_filters(value, f"{given}.")
        else:
            yield given, value


def is_group_of_filters(given: str) -> bool:
    """Returns whether a name is no filter but begins the names of several, as ``actor`` begins ``actor.email``."""
    name = given.replace(".", "_")
    known = [filter_name for names in _FILTERS.values() for filter_name in names]
    return name not in known and any(filter_name.startswith(f"{name}_") for filter_name in known)


def _texts(version: str, name: str, value: Any) -> list[str]:
    """Returns the texts of one filter: version 2 repeats a key for each of several values, version 1 has one."""
    values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if version == V1 and len(values) != 1:
        raise ConfigurationError(
            f"Filter {name!r} takes one value in version 1 of the API. Give one value, or use version 2."
        )
    if not values:
        raise ConfigurationError(f"Filter {name!r} is an empty list. Give at least one value, or remove the filter.")
    return sorted(_text(name, item) for item in values)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int) and str(value).strip():
        return str(value)
    raise ConfigurationError(f"Filter {name!r} has the value {value!r}. Give a non-empty string, a number or a bool.")


def _unknown_filter(version: str, scope: str, given: str) -> str:
    # Imported only for an error, so that it does not slow down the parsing of every DAG.
    import difflib

    known = _FILTERS[version, scope]
    near = difflib.get_close_matches(given.replace(".", "_"), known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known filters: {', '.join(sorted(known))}."
    if any(given.replace(".", "_") in names for key, names in _FILTERS.items() if key != (version, scope)):
        hint = f"Another version or scope has it; remove it or change api_version. {hint}"
    return f"Version {version} of the API, {scope} scope, has no filter {given!r}. {hint}"
