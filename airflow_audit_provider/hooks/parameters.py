"""Parameters of the hook's methods that read audit logs, with their types, for each version and scope of the API.

Type checkers, editors and the documentation read these classes. At run time the tables in ``core/api/endpoints``
decide; a test compares the two. None always means that a parameter is not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple, Required, TypeAlias, TypedDict

Bound: TypeAlias = datetime | date | str
"""A datetime, a date or RFC 3339 text; in UTC if it has no offset."""
FilterValues: TypeAlias = str | int | Sequence[str | int] | AbstractSet[str | int]
"""One value, or several of which one must match."""
ExcludedValues = TypedDict("ExcludedValues", {"not": FilterValues})
FilterValue: TypeAlias = FilterValues | ExcludedValues
"""What a filter of version 2 accepts: values, or values to leave out."""


class V1ActionFilters(TypedDict, total=False):
    """Nested filters of version 1: ``action={"type": …}``."""

    type: str


class V1ActorFilters(TypedDict, total=False):
    """Nested filters of version 1: ``actor={"email": …}``."""

    email: str
    ip: str


class V1ZoneFilters(TypedDict, total=False):
    """Nested filters of version 1: ``zone={"name": …}``."""

    name: str


class V2AccountFilters(TypedDict, total=False):
    """Nested filters of version 2: ``account={"name": …}``."""

    name: FilterValue


class V2ActionFilters(TypedDict, total=False):
    """Nested filters of version 2: ``action={"result": …}``."""

    result: FilterValue
    type: FilterValue


class V2ActorFilters(TypedDict, total=False):
    """Nested filters of version 2: ``actor={"context": …}``."""

    context: FilterValue
    email: FilterValue
    id: FilterValue
    ip_address: FilterValue
    token_id: FilterValue
    token_name: FilterValue
    type: FilterValue


class V2RawFilters(TypedDict, total=False):
    """Nested filters of version 2: ``raw={"cf_ray_id": …}``."""

    cf_ray_id: FilterValue
    method: FilterValue
    status_code: FilterValue
    uri: FilterValue


class V2ResourceFilters(TypedDict, total=False):
    """Nested filters of version 2: ``resource={"id": …}``."""

    id: FilterValue
    product: FilterValue
    scope: FilterValue
    type: FilterValue


class V2ZoneFilters(TypedDict, total=False):
    """Nested filters of version 2: ``zone={"id": …}``."""

    id: FilterValue
    name: FilterValue


class V1Filters(TypedDict, total=False):
    """Filters of version 1; each takes one value."""

    id: str | None
    """Id of the record."""
    action_type: str | None
    """Kind of action, such as ``add``, ``delete`` or ``login``."""
    actor_email: str | None
    """E-mail address of the actor."""
    actor_ip: str | None
    """IP address of the actor, or a network such as ``192.0.2.0/24``."""
    zone_name: str | None
    """Name of the zone."""
    hide_user_logs: bool | None
    """Leave out the audit logs of users."""
    action: V1ActionFilters | None
    """``action_type`` as a dict: ``action={"type": …}``."""
    actor: V1ActorFilters | None
    """``actor_email`` and ``actor_ip`` as a dict: ``actor={"email": …, "ip": …}``."""
    zone: V1ZoneFilters | None
    """``zone_name`` as a dict: ``zone={"name": …}``."""


class V2OrganizationFilters(TypedDict, total=False):
    """Filters of version 2 that both scopes have; each takes one value, several, or ``{"not": […]}``."""

    action_result: FilterValue | None
    """Outcome of the action: ``success`` or ``failure``."""
    action_result_not: FilterValues | None
    """Values of ``action_result`` to leave out."""
    action_type: FilterValue | None
    """Kind of action, such as ``create``, ``update``, ``delete``, ``view`` or ``login``."""
    action_type_not: FilterValues | None
    """Values of ``action_type`` to leave out."""
    actor_context: FilterValue | None
    """How the actor acted, such as ``dash``, ``api_token``, ``api_key`` or ``oauth``."""
    actor_context_not: FilterValues | None
    """Values of ``actor_context`` to leave out."""
    actor_email: FilterValue | None
    """E-mail address of the actor."""
    actor_email_not: FilterValues | None
    """Values of ``actor_email`` to leave out."""
    actor_id: FilterValue | None
    """Id of the actor."""
    actor_id_not: FilterValues | None
    """Values of ``actor_id`` to leave out."""
    actor_ip_address: FilterValue | None
    """IP address of the actor."""
    actor_ip_address_not: FilterValues | None
    """Values of ``actor_ip_address`` to leave out."""
    actor_token_id: FilterValue | None
    """Id of the API token that the actor used."""
    actor_token_id_not: FilterValues | None
    """Values of ``actor_token_id`` to leave out."""
    actor_token_name: FilterValue | None
    """Name of the API token that the actor used."""
    actor_token_name_not: FilterValues | None
    """Values of ``actor_token_name`` to leave out."""
    actor_type: FilterValue | None
    """Kind of actor, such as ``user``, ``account``, ``system`` or ``cloudflare_admin``."""
    actor_type_not: FilterValues | None
    """Values of ``actor_type`` to leave out."""
    id: FilterValue | None
    """Id of the record."""
    id_not: FilterValues | None
    """Values of ``id`` to leave out."""
    raw_cf_ray_id: FilterValue | None
    """Ray id of the request."""
    raw_cf_ray_id_not: FilterValues | None
    """Values of ``raw_cf_ray_id`` to leave out."""
    raw_method: FilterValue | None
    """HTTP method of the request."""
    raw_method_not: FilterValues | None
    """Values of ``raw_method`` to leave out."""
    raw_status_code: FilterValue | None
    """HTTP status of the response."""
    raw_status_code_not: FilterValues | None
    """Values of ``raw_status_code`` to leave out."""
    raw_uri: FilterValue | None
    """URI of the request."""
    raw_uri_not: FilterValues | None
    """Values of ``raw_uri`` to leave out."""
    resource_id: FilterValue | None
    """Id of the resource that was acted on."""
    resource_id_not: FilterValues | None
    """Values of ``resource_id`` to leave out."""
    resource_product: FilterValue | None
    """Cloudflare product of the resource."""
    resource_product_not: FilterValues | None
    """Values of ``resource_product`` to leave out."""
    resource_type: FilterValue | None
    """Kind of resource."""
    resource_type_not: FilterValues | None
    """Values of ``resource_type`` to leave out."""
    resource_scope: FilterValue | None
    """Where the resource lies, such as ``accounts``, ``zones``, ``user`` or ``memberships``."""
    resource_scope_not: FilterValues | None
    """Values of ``resource_scope`` to leave out."""
    action: V2ActionFilters | None
    """Filters whose names begin with ``action_``, as a dict: ``action={"type": …}``."""
    actor: V2ActorFilters | None
    """Filters whose names begin with ``actor_``, as a dict: ``actor={"email": …}``."""
    raw: V2RawFilters | None
    """Filters whose names begin with ``raw_``, as a dict: ``raw={"method": …}``."""
    resource: V2ResourceFilters | None
    """Filters whose names begin with ``resource_``, as a dict: ``resource={"id": …}``."""


class V2Filters(V2OrganizationFilters, total=False):
    """Filters of version 2 in the account scope."""

    account_name: FilterValue | None
    """Name of the account."""
    account_name_not: FilterValues | None
    """Values of ``account_name`` to leave out."""
    audit_log_id: FilterValue | None
    """Id of the record; the same as ``id``."""
    audit_log_id_not: FilterValues | None
    """Values of ``audit_log_id`` to leave out."""
    zone_id: FilterValue | None
    """Id of the zone."""
    zone_id_not: FilterValues | None
    """Values of ``zone_id`` to leave out."""
    zone_name: FilterValue | None
    """Name of the zone."""
    zone_name_not: FilterValues | None
    """Values of ``zone_name`` to leave out."""
    product_category: FilterValues | None
    """Category of Cloudflare products; the only filter of version 2 without a form with ``_not``."""
    account: V2AccountFilters | None
    """``account_name`` as a dict: ``account={"name": …}``."""
    zone: V2ZoneFilters | None
    """``zone_id`` and ``zone_name`` as a dict: ``zone={"id": …, "name": …}``."""


class _Range(TypedDict, total=False):
    since: Bound | None
    """Start of the half-open range ``[since, before)``; by default everything that the API keeps."""
    before: Bound | None
    """End of the range, exclusive; by default now."""


class V1ExportParameters(V1Filters, _Range, total=False):
    """Parameters of the CSV export, which only version 1 has."""

    api_version: Literal["v1"] | None
    """``v1`` or ``v2``; by default ``v2`` for an organization, else ``v1``."""
    account_id: str | None
    """Account whose log is read; by default the connection's."""
    scope: Literal["account", "user"] | None
    """Whose log: ``account``, ``user`` or ``organization``; by default decided by the id in the call, else by the id
    in the connection (``account`` if it has both)."""


class V1Parameters(V1ExportParameters, total=False):
    """Parameters of version 1."""

    direction: Literal["asc", "desc"] | None
    """Order by event time; by default ``desc``, as in the API."""
    per_page: int | None
    """Page size to request, 1 to 1000; by default 1000."""
    page: int | None
    """Number of a page: only this page is returned, exactly as the API sends it."""


class _V2Paging(_Range, total=False):
    direction: Literal["asc", "desc"] | None
    """Order by event time; by default ``desc``, as in the API."""
    limit: int | None
    """Page size to request, 1 to 1000; by default 1000."""
    cursor: str | None
    """Cursor of a page: only this page is returned, exactly as the API sends it."""


class V2Parameters(V2Filters, _V2Paging, total=False):
    """Parameters of version 2 in the account scope."""

    api_version: Required[Literal["v2"]]
    """``v1`` or ``v2``; by default ``v2`` for an organization, else ``v1``."""
    account_id: str | None
    """Account whose log is read; by default the connection's."""
    scope: Literal["account"] | None
    """Whose log: ``account``, ``user`` or ``organization``; by default decided by the id in the call, else by the id
    in the connection (``account`` if it has both)."""


class V2OrganizationParameters(V2OrganizationFilters, _V2Paging, total=False):
    """Parameters of version 2 for an organization that is given by its id."""

    api_version: Literal["v2"] | None
    """``v1`` or ``v2``; by default ``v2`` for an organization, else ``v1``."""
    organization_id: Required[str]
    """Organization whose log is read; by default the connection's."""
    scope: Literal["organization"] | None
    """Whose log: ``account``, ``user`` or ``organization``; by default decided by the id in the call, else by the id
    in the connection (``account`` if it has both)."""


class V2ConnectionParameters(V2OrganizationFilters, _V2Paging, total=False):
    """Parameters of version 2 for the organization of the connection."""

    api_version: Literal["v2"] | None
    """``v1`` or ``v2``; by default ``v2`` for an organization, else ``v1``."""
    organization_id: str | None
    """Organization whose log is read; by default the connection's."""
    scope: Required[Literal["organization"]]
    """Whose log: ``account``, ``user`` or ``organization``; by default decided by the id in the call, else by the id
    in the connection (``account`` if it has both)."""


class HistoryParameters(_Range, total=False):
    """Parameters of a resource history; the endpoint has no filters."""

    direction: Literal["asc", "desc"] | None
    """Order by event time; by default ``desc``, as in the API."""
    limit: int | None
    """Page size to request, 1 to 1000; by default 1000."""
    account_id: str | None
    """Account whose log has the record; by default the connection's."""
    organization_id: str | None
    """Organization whose log has the record; by default the connection's."""
    scope: Literal["account", "organization"] | None
    """Whose log: ``account`` or ``organization``; by default decided by the id in the call, else by the id in the
    connection (``account`` if it has both)."""


class ResourceHistory(NamedTuple):
    """The audit records of one resource, and how the API identified it."""

    status: str
    """``exact``, ``approximate``, ``unavailable`` or ``not_found``; the last two have no records."""
    records: list[dict[str, Any]]
    """The records, each id once, in the order that was asked for."""


class PlanOptions(TypedDict, total=False):
    """Options of a backfill's plan."""

    division: Literal["hour", "day", "month"]
    """Length of a window, which is the schedule of the backfill's DAG; by default ``day``."""
    timezone: str
    """IANA zone of the windows, and of bounds without an offset; by default UTC."""
    settle_delay: timedelta
    """How long after its end a window is read; by default 15 minutes."""
    sample_count: int
    """Maximum number of pages of the log that are first requested as samples, 6 to 300; by default 30.

    If these samples show that the backfill needs more than 100 times ``sample_count`` requests (by default 3000), at
    most twice ``sample_count`` more pages are then requested as samples (by default 60).
    """
    verify: Literal["edges", "recount", "none"] | None
    """The ``verify`` of the land operator; the plan includes the requests of the verification."""
    concurrency: int
    """The ``concurrency`` of the land operator; by default 6."""
    dag_id: str
    """DAG of the command that is printed; by default ``cloudflare_audit_backfill``."""
