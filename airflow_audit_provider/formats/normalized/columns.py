"""Columns of the schema ``normalized``: one table for records of both API versions.

Each column has its type, its meaning and its path in a record of each version. ``decode`` takes the values out.

Invariant: within a major version a column never changes its name, type or meaning. A new column is a new minor
version.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.warehouse.port import ColumnType

MAJOR, MINOR = 1, 0
RAW_COLUMN = "raw"


class TableColumn(NamedTuple):
    """A column of the table.

    ``v1`` and ``v2`` are the dotted paths of its value in a record, ``""`` where a version has none. Of paths with a
    bar between them, the first that has a value is taken. ``resource[zone].id`` is the id of a resource whose type is
    ``zone``. ``repeats`` states that few distinct values are usual. ``since`` is the minor version that added the
    column.
    """

    name: str
    type: ColumnType
    v1: str
    v2: str
    meaning: str
    nullable: bool = True
    repeats: bool = False
    since: int = 0

    def is_absent_from(self, version: ApiVersion) -> bool:
        """Returns whether the column is null in all records of a version."""
        return self.nullable and not self.path(version)

    def path(self, version: ApiVersion) -> str:
        """Returns the path in a record of a version, empty where the version has none."""
        return self.v1 if version is ApiVersion.V1 else self.v2


def _text(name: str, v1: str, v2: str, meaning: str, *, repeats: bool = True) -> TableColumn:
    return TableColumn(name, ColumnType.TEXT, v1, v2, meaning, repeats=repeats)


def _json(name: str, v1: str, v2: str, meaning: str, *, repeats: bool = False) -> TableColumn:
    return TableColumn(name, ColumnType.JSON, v1, v2, meaning, repeats=repeats)


COLUMNS: tuple[TableColumn, ...] = (
    TableColumn(
        "id",
        ColumnType.TEXT,
        "id",
        "id",
        "the record's id; for one that has none, the digest of its text",
        nullable=False,
    ),
    TableColumn("event_time", ColumnType.TIMESTAMP, "when", "action.time", "time of the action", nullable=False),
    TableColumn("api_version", ColumnType.TEXT, "", "", "`v1` or `v2`", nullable=False, repeats=True),
    # who
    _text("actor_id", "actor.id", "actor.id", "id of the actor"),
    _text("actor_type", "actor.type", "actor.type", "`user`, `system`, `account`, …, in the API's words"),
    _text("actor_email", "actor.email", "actor.email", "e-mail address of the actor"),
    _text("actor_token_id", "", "actor.token_id", "id of the API token that the actor used"),
    _text("actor_token_name", "", "actor.token_name", "name of that token"),
    # where from
    _text("actor_ip", "actor.ip", "actor.ip_address", "IP address from which the request came"),
    _text("interface", "interface", "actor.context", "interface used: `UI`, `API`; `dash`, `api_token`, …"),
    _text("user_agent", "", "raw.user_agent", "the program that sent the request"),
    # what
    _text("action_type", "action.type", "action.type", "the action, in the API's words"),
    _text("action_description", "action.info", "action.description", "description of the action, for people to read"),
    TableColumn(
        "action_succeeded",
        ColumnType.BOOLEAN,
        "action.result",
        "action.result",
        "`success` is true, `failure` is false",
    ),
    # on which resource
    _text(
        "owner_id",
        "owner.id",
        "account.id|organization.id",
        "id of the account; in a user's own log, of the user; in an organization's log, of the organization",
    ),
    _text("owner_name", "", "account.name", "name of that account"),
    _text("zone_id", "metadata.zone_id|metadata.zone_tag|resource[zone].id", "zone.id", "id of the zone"),
    _text("zone_name", "metadata.zone_name", "zone.name", "name of the zone"),
    _text("resource_id", "resource.id", "resource.id", "id of the resource that was acted on", repeats=False),
    _text("resource_type", "resource.type", "resource.type", "kind of resource"),
    _text("resource_product", "", "resource.product", "Cloudflare product of the resource"),
    _json(
        "resource_scope", "", "resource.scope", "place of the resource in the API: a text or an object", repeats=True
    ),
    # the request
    _text("request_method", "", "raw.method", "HTTP method"),
    _text("request_uri", "", "raw.uri", "path of the request", repeats=False),
    TableColumn("request_status", ColumnType.INTEGER, "", "raw.status_code", "HTTP status of the response"),
    _text("ray_id", "", "raw.cf_ray_id", "the request's id at Cloudflare", repeats=False),
    _json("request_body", "", "resource.request", "body of the request"),
    _json("response_body", "", "resource.response", "body of the response"),
    # before and after
    _json("before", "oldValueJson|oldValue", "", "value before the change; version 2 has none"),
    _json("after", "newValueJson|newValue", "", "value after the change; version 2 has none"),
    _json("metadata", "metadata", "", "further details of the action"),
    TableColumn(RAW_COLUMN, ColumnType.TEXT, "", "", "the whole record, as the API sent it", nullable=False),
)

# Values that the table has no column for and OCSF events have an attribute for.
EVENT_ONLY: tuple[TableColumn, ...] = (_text("organization_id", "", "organization.id", "id of the organization"),)


def columns_of(minor: int = MINOR) -> tuple[TableColumn, ...]:
    """Returns the columns of a minor version in order, ``raw`` last."""
    known = [column for column in COLUMNS if column.since <= minor]
    return tuple(sorted(known, key=lambda column: (column.name == RAW_COLUMN, column.since)))
