"""Which records does a watcher want? Filters judged here, because one reading serves watchers with different ones.

Knows: where a record of each version keeps what a filter names. Must not know: how records are read.
Its one rule: a filter that cannot be judged is refused; in doubt a record counts, it is never kept from anybody.

Filters are checked wherever a DAG is parsed, so what only judges records is imported when one is judged.

The API's own filters are not used: version 1 takes one value each, and no request can serve two watchers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_audit_provider.core.api.endpoints import V1, V2, VERSIONS, check_known
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
    """One filter: where to look, which texts (in lower case) count, and whether they are wanted or unwanted."""

    path: tuple[str, ...]
    texts: tuple[str, ...]
    is_wanted: bool
    is_address: bool

    def accepts(self, fields: Any) -> bool:
        """Say whether a record's fields fit; a field that is missing is none of the texts."""
        found = _at(fields, self.path)
        fits = found is not None and any(self._fits(_text(found), text) for text in self.texts)
        return fits is self.is_wanted

    def _fits(self, found: str, text: str) -> bool:
        return found == text or (self.is_address and _is_inside(found, text))


class RecordFilter:
    """Judges records by alternatives of filters; without any, every record counts.

    ``filters`` is a mapping, whose filters must all fit, or a list of such, of which one must. A filter's value is a
    text, number, bool or a list of them; ``name_not`` wants none of them; case does not matter; an address may be a
    network such as ``192.0.2.0/24``. Raises ``ConfigurationError`` for a filter that cannot be judged.
    """

    def __init__(self, version: str, filters: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None) -> None:
        check_known("api_version", version, VERSIONS)
        alternatives = [filters] if isinstance(filters, Mapping) else list(filters or [])
        self._alternatives = [_predicates(version, wanted) for wanted in alternatives]

    def pick(self, records: Iterable[AuditRecord]) -> list[AuditRecord]:
        """Return the records that count, in their order."""
        from airflow_audit_provider.core.api.records import fields_of

        if not self._alternatives:
            return list(records)
        return [record for record in records if self.accepts(fields_of(record.raw))]

    def accepts(self, fields: Any) -> bool:
        """Say whether a record of these fields counts."""
        return not self._alternatives or any(
            all(wish.accepts(fields) for wish in wishes) for wishes in self._alternatives
        )


def action_of(record: AuditRecord) -> str | None:
    """Return a record's action type, None where it has none."""
    from airflow_audit_provider.core.api.records import fields_of

    found = _at(fields_of(record.raw), ("action", "type"))
    return None if found is None else str(found)


def _predicates(version: str, wanted: object) -> list[_Predicate]:
    if not isinstance(wanted, Mapping) or not wanted:
        raise ConfigurationError(f"filters hold {wanted!r}. Give a dict of filter names and values, or a list of such.")
    return [_predicate(version, str(given), value) for given, value in wanted.items()]


def _predicate(version: str, given: str, value: Any) -> _Predicate:
    name = given.replace(".", "_")
    plain = name.removesuffix(_NOT)
    path = _PATHS[version].get(plain)
    if path is None:
        raise ConfigurationError(_unknown(version, given, plain))
    values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if not values or not all(isinstance(item, str | int) and str(item).strip() for item in values):
        raise ConfigurationError(f"Filter {given!r} has the value {value!r}. Give texts, numbers or bools.")
    return _Predicate(tuple(path.split(".")), tuple(map(_text, values)), plain == name, plain in _ADDRESSES)


def _unknown(version: str, given: str, plain: str) -> str:
    # Needed for a refusal alone, and no DAG should take longer to parse for it.
    import difflib

    near = difflib.get_close_matches(plain, _PATHS[version], n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known filters: {', '.join(sorted(_PATHS[version]))}."
    return f"A watcher of version {version} of the API cannot judge the filter {given!r}. Take another. {hint}"


def _at(fields: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        fields = fields.get(name) if isinstance(fields, Mapping) else None
    return fields


def _text(value: Any) -> str:
    return str(value).strip().lower()


def _is_inside(address: str, network: str) -> bool:
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False
