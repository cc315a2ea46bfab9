"""What a record changed: the value before and after, for records of both versions.

Version 1 has both values in the record. Version 2 has the request and the response; the value before is that which the
earlier records of the same resource left. A value that is not known is ``UNSET``, never an empty one.

Invariant: no record raises. A value is stated only if the records show it; ``history_status`` says why one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Any

import msgspec
from msgspec import UNSET

from airflow_audit_provider.core.api.difference import changed_fields
from airflow_audit_provider.core.api.history import HistoryStatus
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, mapping_of

_OLD, _NEW = ("oldValueJson", "oldValue"), ("newValueJson", "newValue")
_WHOLE_METHODS = ("PUT", "POST")


class ChangeStatus(StrEnum):
    """How the values of a change are known, or why the value before is not.

    ``recorded``, ``missing``: a record of version 1 has the values, or has none. ``exact``, ``approximate``: the API's
    statement about the history that has the value before. ``unavailable``, ``not_found``: the API's statement that
    there is no history. ``expired``: the history begins with this record, which creates nothing. ``no_state``: earlier
    records show no value. ``ambiguous``: another record of the resource has the same time. ``forbidden``: the API
    refuses the history. ``not_asked``: no history was given.
    """

    RECORDED = "recorded"
    MISSING = "missing"
    EXACT = "exact"
    APPROXIMATE = "approximate"
    UNAVAILABLE = "unavailable"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    NO_STATE = "no_state"
    AMBIGUOUS = "ambiguous"
    FORBIDDEN = "forbidden"
    NOT_ASKED = "not_asked"


class Change(msgspec.Struct, frozen=True):
    """The values of one resource around one record.

    ``before`` and ``after`` are JSON values: None means that there is no resource, ``UNSET`` that the value is not
    known. ``fields`` are the paths that differ, of two known values. ``source`` is ``record`` or ``history``.
    """

    before: Any
    after: Any
    fields: tuple[str, ...]
    source: str
    history_status: str


class History(msgspec.Struct, frozen=True):
    """The records of one resource, sorted by time, and what is known about them."""

    status: str
    records: tuple[AuditRecord, ...] = ()


def change_of(version: ApiVersion, record: AuditRecord, history: History | None = None) -> Change:
    """Returns what a record changed; ``history`` is that of its resource, which only version 2 needs."""
    return changes_of(version, [record], history)[0]


def changes_of(version: ApiVersion, records: Sequence[AuditRecord], history: History | None = None) -> list[Change]:
    """Returns what some records of one resource changed; each record of the history is read once for all of them."""
    if version is ApiVersion.V1:
        return [_recorded_change(mapping_of(record.raw)) for record in records]
    known = history or History(ChangeStatus.NOT_ASKED)
    wanted = {record.id for record in records}
    merged = sorted({record.id: record for record in (*known.records, *records)}.values())
    derived: dict[str, Change] = {}
    state = _State(known.status)
    for _, group in groupby(merged, key=lambda record: record.event_ns):
        at_once = list(group)
        derived |= {
            record.id: state.change_by(mapping_of(record.raw), is_tied=len(at_once) > 1)
            for record in at_once
            if record.id in wanted
        }
        state.follow(at_once)
    return [derived[record.id] for record in records]


def resource_of(record: AuditRecord) -> tuple[str, ...] | None:
    """Returns what identifies the resource of a record of version 2, None if the record does not."""
    fields = mapping_of(record.raw)
    identity = _at(fields, "resource", "id") or _at(fields, "raw", "uri")
    if identity is None:
        return None
    # The name of a setting, such as "ssl", is the id of one resource in each zone.
    place = (_at(fields, "account", "id"), _at(fields, "zone", "id"), _at(fields, "resource", "scope"))
    kind = (_at(fields, "resource", "product"), _at(fields, "resource", "type"))
    return tuple(str(one) for one in (*place, *kind, identity))


def shows_value(record: AuditRecord) -> bool:
    """Returns whether a record of version 2 shows the whole value after it, whatever the value before was."""
    fields = mapping_of(record.raw)
    return _at(fields, "action", "result") != "failure" and _after(fields, UNSET) is not UNSET


def _recorded_change(fields: Mapping[str, Any]) -> Change:
    before, after = _value_of(fields, _OLD), _value_of(fields, _NEW)
    is_known = before is not UNSET or after is not UNSET
    status = ChangeStatus.RECORDED if is_known else ChangeStatus.MISSING
    return Change(before, after, _fields(before, after), "record", status)


def _value_of(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Returns a value of version 1; observed: a JSON object, its text, other text, ``"null"`` and an empty text."""
    for name in names:
        given = fields.get(name)
        if isinstance(given, str) and given:
            return _parsed(given)
        if given is not None and given != "":
            return given
    return UNSET


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text


class _State:
    """The value of a resource as its records go by in the order of time, and why it is not known."""

    def __init__(self, stated: str) -> None:
        self._stated = stated
        self._value: Any = UNSET
        self._reason: str = ChangeStatus.EXPIRED

    def change_by(self, fields: Mapping[str, Any], *, is_tied: bool) -> Change:
        """Returns the change of the next record; one of several at the same time has no certain value before."""
        has_history = self._stated in (HistoryStatus.EXACT, HistoryStatus.APPROXIMATE)
        before = None if _is_creation(fields) else self._value if has_history and not is_tied else UNSET
        after = _after(fields, before)
        status = self._stated
        if has_history and before is UNSET:
            status = ChangeStatus.AMBIGUOUS if is_tied else self._reason
        return Change(before, after, _fields(before, after), "history", status)

    def follow(self, at_once: Sequence[AuditRecord]) -> None:
        """Moves on past the records of one instant; which of several was the last is not known."""
        if len(at_once) > 1:
            self._value, self._reason = UNSET, ChangeStatus.AMBIGUOUS
        else:
            self._value, self._reason = _after(mapping_of(at_once[0].raw), self._value), ChangeStatus.NO_STATE


def _after(fields: Mapping[str, Any], before: Any) -> Any:
    """Returns the value after one record: that of the response, or what the request makes of the value before."""
    if _at(fields, "action", "result") == "failure":
        return before
    if _is_removal(fields):
        return None
    result = _at(fields, "resource", "response", "result")
    if isinstance(result, Mapping) and len(result) > 1:
        return result
    request = _at(fields, "resource", "request")
    if not isinstance(request, Mapping) or not request:
        return UNSET
    method = _at(fields, "raw", "method")
    if method == "PATCH":
        return {**before, **request} if isinstance(before, Mapping) else UNSET
    return request if method in _WHOLE_METHODS else UNSET


def _is_creation(fields: Mapping[str, Any]) -> bool:
    return bool(_at(fields, "action", "type") == "create" and _at(fields, "action", "result") != "failure")


def _is_removal(fields: Mapping[str, Any]) -> bool:
    return bool(_at(fields, "action", "type") == "delete")


def _at(fields: Any, *path: str) -> Any:
    for name in path:
        fields = fields.get(name) if isinstance(fields, Mapping) else None
    return fields


def _fields(before: Any, after: Any) -> tuple[str, ...]:
    return () if before is UNSET or after is UNSET else changed_fields(before, after)
