"""Fields of Logpush's two audit log datasets, and the field of an API record that each of them stands for.

Source: Cloudflare docs, Logpush datasets ``audit_logs`` and ``audit_logs_v2``. The names of the fields inside the
objects ``Raw`` and ``ActorTokenDetails`` are not documented, so their parts are found by name without case and
punctuation, and a part that a row does not have is not compared.

Invariant: a column stands for the same fact on both sides; what only one side has is no column.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion


class Kind(StrEnum):
    """How the values of a column are compared."""

    TEXT = "text"
    FLAG = "flag"
    JSON = "json"
    TIME = "time"
    SCOPE = "scope"


class Column(NamedTuple):
    """A field that both sides have: its name in Logpush, the path of it in an API record, and how it is compared.

    ``part`` is the name inside a Logpush object, empty for the whole field. ``other_path`` is a second field of an API
    record that Logpush may show instead, empty if there is none.
    """

    name: str
    path: tuple[str, ...]
    kind: Kind = Kind.TEXT
    part: str = ""
    other_path: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name in reports."""
        return f"{self.name}.{self.part}" if self.part else self.name


class LogpushDataset(NamedTuple):
    """A dataset of Logpush: the version of the API with the same records, and its fields.

    ``field_names`` are all documented ones, in the order of Cloudflare's page. ``columns`` are those that are compared.
    """

    name: str
    version: ApiVersion
    id_field: str
    time_field: str
    field_names: tuple[str, ...]
    columns: tuple[Column, ...]


def _column(name: str, path: str, kind: Kind = Kind.TEXT, *, part: str = "", other: str = "") -> Column:
    return Column(name, tuple(path.split(".")), kind, part, tuple(other.split(".")) if other else ())


_AUDIT_LOGS = LogpushDataset(
    "audit_logs",
    ApiVersion.V1,
    "ID",
    "When",
    tuple(
        "ActionResult ActionType ActorEmail ActorID ActorIP ActorType ID Interface Metadata NewValue OldValue OwnerID "
        "ResourceID ResourceType When".split()
    ),
    (
        _column("When", "when", Kind.TIME),
        _column("ActionResult", "action.result", Kind.FLAG),
        _column("ActionType", "action.type"),
        _column("ActorEmail", "actor.email"),
        _column("ActorID", "actor.id"),
        _column("ActorIP", "actor.ip"),
        _column("ActorType", "actor.type"),
        _column("Interface", "interface"),
        _column("Metadata", "metadata", Kind.JSON),
        # Observed: API records have the value as text, and often also as JSON in a field of its own.
        _column("NewValue", "newValueJson", Kind.JSON, other="newValue"),
        _column("OldValue", "oldValueJson", Kind.JSON, other="oldValue"),
        _column("OwnerID", "owner.id"),
        _column("ResourceID", "resource.id"),
        _column("ResourceType", "resource.type"),
    ),
)
_AUDIT_LOGS_V2 = LogpushDataset(
    "audit_logs_v2",
    ApiVersion.V2,
    "AuditLogID",
    "ActionTimestamp",
    tuple(
        "AccountID AccountName ActionDescription ActionResult ActionTimestamp ActionType ActorContext ActorEmail "
        "ActorID ActorIPAddress ActorTokenDetails ActorType AuditLogID Raw ResourceID ResourceProduct ResourceRequest "
        "ResourceResponse ResourceScope ResourceType ResourceValue ZoneID ZoneName".split()
    ),
    # ResourceValue is missing here: no field of an API record is documented to be the same.
    (
        _column("ActionTimestamp", "action.time", Kind.TIME),
        _column("AccountID", "account.id"),
        _column("AccountName", "account.name"),
        _column("ActionDescription", "action.description"),
        _column("ActionResult", "action.result", Kind.FLAG),
        _column("ActionType", "action.type"),
        _column("ActorContext", "actor.context"),
        _column("ActorEmail", "actor.email"),
        _column("ActorID", "actor.id"),
        _column("ActorIPAddress", "actor.ip_address"),
        _column("ActorTokenDetails", "actor.token_id", part="token_id"),
        _column("ActorTokenDetails", "actor.token_name", part="token_name"),
        _column("ActorType", "actor.type"),
        _column("Raw", "raw.cf_ray_id", part="cf_ray_id"),
        _column("Raw", "raw.method", part="method"),
        _column("Raw", "raw.status_code", part="status_code"),
        _column("Raw", "raw.uri", part="uri"),
        _column("Raw", "raw.user_agent", part="user_agent"),
        _column("ResourceID", "resource.id"),
        _column("ResourceProduct", "resource.product"),
        _column("ResourceRequest", "resource.request", Kind.JSON),
        _column("ResourceResponse", "resource.response", Kind.JSON),
        _column("ResourceScope", "resource.scope", Kind.SCOPE),
        _column("ResourceType", "resource.type"),
        _column("ZoneID", "zone.id"),
        _column("ZoneName", "zone.name"),
    ),
)
DATASETS = {one.version: one for one in (_AUDIT_LOGS, _AUDIT_LOGS_V2)}
ALL_FIELD_NAMES = frozenset(name for one in DATASETS.values() for name in one.field_names)
_PUNCTUATION = re.compile(r"[\W_]+")


def plain_name(name: str) -> str:
    """Returns a name without case and punctuation: ``CFRayID`` and ``cf_ray_id`` are one name."""
    return _PUNCTUATION.sub("", name).lower()
