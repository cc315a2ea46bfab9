"""Filters records for subscribers of a shared poll, which reads once for subscribers with different filters.

The API's own filters are not used for that: version 1 accepts one value for each, and one request cannot serve two
subscribers. Filters are checked while a DAG is parsed, so modules that only filtering needs are imported later.

Invariant: a filter that cannot be evaluated on records is rejected; no record is withheld because of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_audit_provider.core.api.endpoints import V1, V2, VERSIONS, check_known, flat_filters
from airflow_audit_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow_audit_provider.core.api.records import AuditRecord

# fmt: off
_PATHS: dict[str, dict[str, str]] = {
    V1: {
        "id": "id", "action_type": "action.type", "action_result": "action.result", "actor_email": "actor.email",
        "actor_id": "actor.id", "actor_ip": "actor.ip", "actor_type": "actor.type", "interface": "interface",
        "resource_id": "resource.id", "resource_type": "resource.type", "zone_name": "metadata.zone_name",
    },
    V2: {
        "id": "id", "account_name": "account.name", "action_result": "action.result", "action_type": "action.type",
        "actor_context": "actor.context", "actor_email": "actor.email", "actor_id": "actor.id",
        "actor_ip_address": "actor.ip_address", "actor_token_id": "actor.token_id",
        "actor_token_name": "actor.token_name", "actor_type": "actor.type", "raw_cf_ray_id": "raw.cf_ray_id",
        "raw_method": "raw.method", "raw_status_code": "raw.status_code", "raw_uri": "raw.uri",
        "resource_id": "resource.id", "resource_product": "resource.product", "resource_type": "resource.type",
        "zone_id": "zone.id", "zone_name": "zone.name",
    },
}
# fmt: on
_ADDRESSES = frozenset({"actor_ip", "actor_ip_address"})
_NOT = "_not"


class _Predicate(NamedTuple):
    """One filter: path of the field, texts in lower case that match, and whether a match is wanted or unwanted."""

    path: tuple[str, ...]
    texts: tuple[str, ...]
    is_wanted: bool
    is_address: bool

    def accepts(self, fields: Any) -> bool:
        """Returns whether a record's fields pass; a missing field matches no text."""
        value = _field_at(fields, self.path)
        matches = value is not None and any(self._matches(_text(value), text) for text in self.texts)
        return matches is self.is_wanted

    def _matches(self, value: str, text: str) -> bool:
        return value == text or (self.is_address and _is_in_network(value, text))


class RecordFilter:
    """Filters records; without filters, every record passes.

    ``filters`` is a mapping whose filters must all match, or a list of mappings of which one must. The value of a
    filter is a text, number, bool or a list of them, of which one must match; with ``name_not``, none may. Case is
    ignored. An address may be a network such as ``192.0.2.0/24``. Raises ``ConfigurationError`` for an unknown filter.
    """

    def __init__(self, version: str, filters: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None) -> None:
        check_known("api_version", version, VERSIONS)
        self.version = version
        alternatives = [filters] if isinstance(filters, Mapping) else list(filters or [])
        self._alternatives = [_predicates(version, mapping) for mapping in alternatives]

    def pick(self, records: Iterable[AuditRecord]) -> list[AuditRecord]:
        """Returns the records that pass, in their order."""
        from airflow_audit_provider.core.api.records import fields_of

        if not self._alternatives:
            return list(records)
        return [record for record in records if self.accepts(fields_of(record.raw))]

    def accepts(self, fields: Any) -> bool:
        """Returns whether a record with these fields passes."""
        return not self._alternatives or any(
            all(predicate.accepts(fields) for predicate in predicates) for predicates in self._alternatives
        )


def action_of(record: AuditRecord) -> str | None:
    """Returns a record's action type, None if it has none."""
    from airflow_audit_provider.core.api.records import fields_of

    action = _field_at(fields_of(record.raw), ("action", "type"))
    return None if action is None else str(action)


def _predicates(version: str, filters: object) -> list[_Predicate]:
    if not isinstance(filters, Mapping) or not filters:
        raise ConfigurationError(
            f"filters contains {filters!r}. Give a dict of filter names and values, or a list of dicts."
        )
    return [_predicate(version, given, value) for given, value in flat_filters(filters)]


def _predicate(version: str, given: str, value: Any) -> _Predicate:
    name = given.replace(".", "_")
    plain = name.removesuffix(_NOT)
    path = _PATHS[version].get(plain)
    if path is None:
        raise ConfigurationError(_unknown(version, given, plain))
    values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if not values or not all(isinstance(item, str | int) and str(item).strip() for item in values):
        raise ConfigurationError(f"Filter {given!r} has the value {value!r}. Give strings, numbers or bools.")
    return _Predicate(tuple(path.split(".")), tuple(map(_text, values)), plain == name, plain in _ADDRESSES)


def _unknown(version: str, given: str, plain: str) -> str:
    # Imported only for an error, so that it does not slow down the parsing of every DAG.
    import difflib

    near = difflib.get_close_matches(plain, _PATHS[version], n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known filters: {', '.join(sorted(_PATHS[version]))}."
    return f"A trigger on version {version} of the API cannot apply the filter {given!r}. Use another one. {hint}"


def _field_at(fields: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        fields = fields.get(name) if isinstance(fields, Mapping) else None
    return fields


def _text(value: Any) -> str:
    return str(value).strip().lower()


def _is_in_network(address: str, network: str) -> bool:
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False
