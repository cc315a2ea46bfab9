"""Filters of both versions: which records a query keeps.

Invariant: a record without the field is dropped by a filter and kept by its negation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.testing.records import Row
from airflow_audit_provider.testing.shapes_v2 import CATEGORIES

Params = Sequence[tuple[str, str]]
Test = Callable[[Any], bool]

_V1_PATHS = {
    "id": ("id",),
    "action.type": ("action", "type"),
    "actor.email": ("actor", "email"),
    "zone.name": ("metadata", "zone_name"),
}
_V2_NAMES = (
    "account_name", "action_result", "action_type", "actor_context", "actor_email", "actor_id", "actor_ip_address",
    "actor_token_id", "actor_token_name", "actor_type", "id", "raw_cf_ray_id", "raw_method", "raw_status_code",
    "raw_uri", "resource_id", "resource_product", "resource_type", "resource_scope", "zone_id", "zone_name",
)  # fmt: skip
_V2_PATHS = {name: tuple(name.split("_", 1)) for name in _V2_NAMES} | {"audit_log_id": ("id",)}
ORGANIZATION_LACKS = frozenset({"account_name", "audit_log_id", "zone_id", "zone_name", "product_category"})


class BadQueryError(Exception):
    """The query is invalid; the response is a 400 with this message."""


class Filter(NamedTuple):
    """A named test of records; every needle must occur in the raw bytes."""

    name: str
    tests: tuple[Test, ...]
    needles: tuple[bytes, ...] = ()

    def keep(self, row: Row) -> bool:
        """Returns whether a record passes; most are dropped by a byte search before decoding."""
        if any(needle not in row.raw for needle in self.needles):
            return False
        record = msgspec.json.decode(row.raw)
        return all(test(record) for test in self.tests)


def without_id(wanted: Filter | None, record_id: str) -> Filter:
    """Returns a filter that also drops one record."""
    name, tests, needles = wanted or Filter("", ())
    return Filter(f"{name} without {record_id}", (*tests, lambda record: look(record, ("id",)) != record_id), needles)


def look(record: Any, path: tuple[str, ...]) -> Any:
    """Returns the value at a path, None if there is none."""
    for step in path:
        record = record.get(step) if isinstance(record, dict) else None
    return record


def filter_v1(params: Params) -> Filter | None:
    """Returns version 1's filter, None without filter parameters; raises BadQueryError for an invalid address."""
    asked = {key: value for key, value in params if value}
    tests: list[Test] = []
    needles: list[bytes] = []
    for key, path in _V1_PATHS.items():
        if key in asked:
            tests.append(_equals(path, asked[key]))
            needles += _needle(asked[key])
    if "actor.ip" in asked:
        tests.append(_in_network(asked["actor.ip"]))
    if asked.get("hide_user_logs", "").lower() == "true":
        tests.append(lambda record: look(record, ("resource", "type")) != "user")
    name = repr([(key, asked[key]) for key in (*_V1_PATHS, "actor.ip", "hide_user_logs") if key in asked])
    return Filter(name, tuple(tests), tuple(needles)) if tests else None


def filter_v2(params: Params, *, organization: bool) -> Filter | None:
    """Returns version 2's filter, None without filter parameters.

    Raises BadQueryError for one the scope does not have.
    """
    wanted: dict[str, set[str]] = {}
    for key, value in params:
        plain = key.removesuffix(".not")
        if organization and plain in ORGANIZATION_LACKS:
            raise BadQueryError(f"{key} is not supported for organizations")
        if plain in _V2_PATHS and value:
            wanted.setdefault(key, set()).add(value)
        elif key == "product_category":
            wanted.setdefault("resource_product", set()).update(_products(value))
    tests = [_one_of(key, values) for key, values in wanted.items()]
    name = repr(sorted((key, sorted(values)) for key, values in wanted.items()))
    return Filter(name, tuple(tests)) if tests else None


def _equals(path: tuple[str, ...], wanted: str) -> Test:
    return lambda record: look(record, path) == wanted


def _needle(text: str) -> list[bytes]:
    """Returns bytes that a matching record must contain, if JSON can encode this text in one way only."""
    return [text.encode()] if text.isascii() and text.isprintable() and not set(text) & set('"\\/') else []


def _in_network(text: str) -> Test:
    """Returns a test for an address or a CIDR range, IPv4 or IPv6."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise BadQueryError(f"actor.ip is neither an address nor a CIDR range: {text!r}") from None

    def inside(record: Any) -> bool:
        address = look(record, ("actor", "ip"))
        return isinstance(address, str) and ip_address(address) in network

    return inside


def _one_of(key: str, values: set[str]) -> Test:
    """Returns a test for a repeatable filter: any of its values, or none of them for its negation."""
    plain = key.removesuffix(".not")
    path = _V2_PATHS[plain]

    def matches(record: Any) -> bool:
        found = look(record, path)
        if plain == "resource_scope" and isinstance(found, dict):
            found = found.get("name")
        return str(found) in values

    return matches if plain == key else lambda record: not matches(record)


def _products(category: str) -> list[str]:
    """Returns the products of a category, case-insensitive; raises BadQueryError for an unknown one."""
    try:
        return list(CATEGORIES[category.lower()][1])
    except KeyError:
        raise BadQueryError(f"unknown product_category: {category!r}") from None
