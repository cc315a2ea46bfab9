"""Hook for Cloudflare: reads audit logs with the credential of an Airflow connection.

It translates the API's own parameters; ``core.paging`` decides which pages are requested.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack, overload

import httpx
from airflow.providers.common.compat.sdk import BaseHook

from airflow_audit_provider._airflow.api_parameters import LogParameters, shows_parameters_of
from airflow_audit_provider._airflow.category_check import CategoryCheck, list_reader
from airflow_audit_provider._airflow.config import history_starts_at
from airflow_audit_provider._airflow.connection import (
    ConnectionFields,
    ConnectionSettings,
    aget_connection,
    get_connection,
    name_connection,
    read_connection,
)
from airflow_audit_provider._airflow.connection_check import answer_of, check_connection
from airflow_audit_provider._airflow.connection_form import field_behaviour, form_widgets
from airflow_audit_provider._airflow.secrets import mask
from airflow_audit_provider._airflow.shared_budget import budget_server, open_rate_limiter
from airflow_audit_provider.adapters.budget.redis_store import RedisServer
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.cloudflare.http import (
    AsyncHttpTransport,
    HttpTransport,
    open_async_client,
    open_client,
)
from airflow_audit_provider.adapters.cloudflare.reader import AsyncAuditLogReader, AuditLogReader
from airflow_audit_provider.core.api.categories import categories_query, wanted_categories
from airflow_audit_provider.core.api.query import AuditQuery, audit_query
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.records import mapping_of
from airflow_audit_provider.core.api.retry import NO_RETRY
from airflow_audit_provider.core.limits import CONN_TYPE, DEFAULT_CONN_ID
from airflow_audit_provider.core.paging.fetch import Send, Wait
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.windows.run_window import Bound, read_bound
from airflow_audit_provider.hooks.parameters import (
    HistoryParameters,
    PlanOptions,
    ResourceHistory,
    V1ExportParameters,
    V1Parameters,
    V2ConnectionParameters,
    V2OrganizationParameters,
    V2Parameters,
)

if TYPE_CHECKING:
    from airflow_audit_provider.pipelines.plan import PlanRequest
    from airflow_audit_provider.pipelines.plan_report import Plan

_CREATE_BUDGET_CONNECTION = (
    "Create it with type redis, or remove rate_limit_conn_id from the extra of the Cloudflare connection."
)
_CREATE_CONNECTION = "Create it with type cloudflare, the API token as password and the account_id in extra."


class CloudflareHook(BaseHook):
    """Reads Cloudflare audit logs with the credential of an Airflow connection.

    :param cloudflare_conn_id: id of a connection of type ``cloudflare``. Its password is the API token. For a
        Global API Key, its login is the e-mail address and its password the key. Its extra holds ``account_id`` and
        ``organization_id``.
    :param transport: an httpx transport to use instead of the network, blocking or async as the called method needs.
    :param clock: a clock to use instead of the system clock.

    All reads of one hook share one rate limiter. All hooks with the same token share one request budget, on one machine
    or on the server of the connection's extra ``rate_limit_conn_id``, except those with a ``transport`` or ``clock`` of
    their own. Errors are those of :mod:`airflow_audit_provider.exceptions`.
    """

    conn_name_attr = "cloudflare_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = "Cloudflare"

    def __init__(
        self,
        cloudflare_conn_id: str = default_conn_name,
        *,
        transport: Any = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.cloudflare_conn_id = cloudflare_conn_id
        self.clock: Clock = clock or SystemClock()
        self._transport = transport
        self._category_check = CategoryCheck(self.log)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Returns the connection form's extra fields, for Airflow before 3.2."""
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Returns labels and placeholders of the connection form's standard fields, for Airflow before 3.2."""
        return field_behaviour()

    # -- connection ---------------------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The checked settings of the connection, read once."""
        conn = get_connection(self.cloudflare_conn_id, _CREATE_CONNECTION, self)
        return self._settings_in(conn, conn.extra_dejson)

    async def load_settings(self) -> ConnectionSettings:
        """Reads the connection without blocking the event loop; afterwards ``settings`` does not read it again."""
        if "settings" not in self.__dict__:
            conn, extra = await aget_connection(self.cloudflare_conn_id, _CREATE_CONNECTION, self)
            # Masking may send a request to the supervisor, which blocks.
            self.__dict__["settings"] = await asyncio.to_thread(self._settings_in, conn, extra)
        conn_id = self.settings.rate_limit_conn_id
        if conn_id is not None and "_budget_server" not in self.__dict__:
            conn, extra = await aget_connection(conn_id, _CREATE_BUDGET_CONNECTION, self)
            self.__dict__["_budget_server"] = budget_server(conn_id, conn, extra)
        return self.settings

    def _settings_in(self, conn: Any, extra: dict[str, Any]) -> ConnectionSettings:
        fields = ConnectionFields(conn.host, conn.login, conn.password, conn.port, extra)
        settings = read_connection(self.cloudflare_conn_id, fields)
        secret = settings.endpoint.credentials.secret
        if secret != conn.password:
            # Airflow masks the password as it is in the connection; without its line break it is another text.
            mask(secret)
        if settings.endpoint.proxy is not None:
            mask(settings.endpoint.proxy)
        return settings

    @cached_property
    def _client(self) -> httpx.Client:
        return open_client(self.settings.endpoint, self._transport)

    def get_conn(self) -> httpx.Client:
        """Returns the httpx client with base URL and credential; it follows no redirects."""
        return self._client

    def _http(self) -> HttpTransport:
        return HttpTransport(self.get_conn(), self.settings.max_response_bytes)

    def close(self) -> None:
        """Closes the client's connections; the next use of the hook opens new ones."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def test_connection(self) -> tuple[bool, str]:
        """Checks the credential and its permission; returns whether both are valid, and a sentence for the user."""

        def check() -> tuple[bool, str]:
            # First, because a client that cannot be opened is named before an account that is missing.
            transport = self._http()
            return check_connection(self.settings, self.query(), transport, self.reader())

        return answer_of(check)

    # -- reading ------------------------------------------------------------------------------------------------

    def reader(
        self, on_step: Callable[[Send | Wait], None] | None = None, *, with_retries: bool = True
    ) -> AuditLogReader:
        """Returns a blocking reader on this hook's rate limiter; it calls ``on_step`` before each request and wait.

        Without retries, each request is sent once: a caller that can wait elsewhere gets the error at once.
        """

        def log_and_report(step: Send | Wait) -> None:
            self._log_wait(step)
            if on_step is not None:
                on_step(step)

        transport = self._http()
        limits = self.settings.retry_limits() if with_retries else NO_RETRY
        return AuditLogReader(
            transport, self.clock, self._rate_limiter, limits, log_and_report, connection=self.cloudflare_conn_id
        )

    def async_reader(self, client: httpx.AsyncClient) -> AsyncAuditLogReader:
        """Returns a reader for an event loop over an open client (see :meth:`open_async_conn`)."""
        transport = AsyncHttpTransport(client, self.settings.max_response_bytes)
        limits = self.settings.retry_limits()
        return AsyncAuditLogReader(
            transport, self.clock, self._rate_limiter, limits, self._log_wait, connection=self.cloudflare_conn_id
        )

    async def open_async_conn(self) -> httpx.AsyncClient:
        """Returns a new async client; use it as a context manager."""
        settings = await self.load_settings()
        # Building a client loads the TLS certificates, which would block the shared loop for tens of milliseconds.
        return await asyncio.to_thread(open_async_client, settings.endpoint, self._transport)

    @cached_property
    def _rate_limiter(self) -> RateLimiter:
        if self._transport is not None or not isinstance(self.clock, SystemClock):
            # Requests that do not reach the network, or are not sent in real time, count against nothing.
            return RateLimiter(self.settings.limit)
        return open_rate_limiter(self.settings, self.cloudflare_conn_id, self.clock, self.log, self._budget_server)

    @cached_property
    def _budget_server(self) -> RedisServer | None:
        conn_id = self.settings.rate_limit_conn_id
        if conn_id is None:
            return None
        conn = get_connection(conn_id, _CREATE_BUDGET_CONNECTION, self)
        return budget_server(conn_id, conn, conn.extra_dejson)

    def query(
        self,
        api_version: str | None = None,
        scope: str | None = None,
        *,
        account_id: str | None = None,
        organization_id: str | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> AuditQuery:
        """Returns a checked query; ids that are not given are taken from the connection's extra."""
        if scope is None and not (account_id or organization_id):
            account_id, organization_id = self.settings.account_id, self.settings.organization_id
        return audit_query(
            api_version,
            scope,
            account_id=account_id or (self.settings.account_id if scope == "account" else None),
            organization_id=organization_id or (self.settings.organization_id if scope == "organization" else None),
            filters=filters,
        )

    @overload
    def iter_audit_logs(
        self, *, export: bool | None = None, **parameters: Unpack[V1Parameters]
    ) -> Iterator[dict[str, Any]]: ...
    @overload
    def iter_audit_logs(self, **parameters: Unpack[V2Parameters]) -> Iterator[dict[str, Any]]: ...
    @overload
    def iter_audit_logs(self, **parameters: Unpack[V2OrganizationParameters]) -> Iterator[dict[str, Any]]: ...
    @overload
    def iter_audit_logs(self, **parameters: Unpack[V2ConnectionParameters]) -> Iterator[dict[str, Any]]: ...
    @shows_parameters_of(V1Parameters, V2Parameters, V2OrganizationParameters)
    def iter_audit_logs(self, *, export: bool | None = None, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Yields audit records as dicts, each id once, in time order. Parameters are the API's own, as Python names.

        - ``api_version``: ``v1`` or ``v2``; by default ``v2`` for an organization, else ``v1``.
        - ``account_id``, ``organization_id``: whose log is read; by default the connection's.
        - ``scope``: ``account``, ``user`` (version 1) or ``organization`` (version 2); by default the scope of the
          given id, else of the connection's id (``account`` if the connection has both).
        - ``since``, ``before``: the half-open range ``[since, before)``, each a datetime, date or RFC 3339 text; by
          default everything that the API keeps.
        - ``direction``: ``desc`` (default, as the API's) or ``asc``.
        - ``per_page`` (version 1), ``limit`` (version 2): the page size to request, 1 to 1000 (default 1000).
        - ``page`` (version 1), ``cursor`` (version 2): return exactly that one page as the API returns it.
        - ``export`` (version 1): ``True`` for the rows of :meth:`export_audit_logs`.

        Filters of both versions: ``id``, ``action_type``, ``actor_email``; except for an organization also
        ``zone_name``.

        Filters of version 1, one value each: ``actor_ip``, an address or a network; ``hide_user_logs``.

        Filters of version 2, one value or several: ``action_result``, ``actor_context``, ``actor_id``,
        ``actor_ip_address``, ``actor_token_id``, ``actor_token_name``, ``actor_type``, ``raw_cf_ray_id``,
        ``raw_method``, ``raw_status_code``, ``raw_uri``, ``resource_id``, ``resource_product``, ``resource_scope``,
        ``resource_type``; except for an organization also ``account_name``, ``audit_log_id``, ``product_category``,
        ``zone_id``. Each of them except ``product_category`` has a form that ends in ``_not``, for values to leave out.

        Nested filters: ``account``, ``action``, ``actor``, ``raw``, ``resource``, ``zone``. For example
        ``actor={"email": "ann@example.com"}`` is ``actor_email="ann@example.com"``.

        The classes in :mod:`airflow_audit_provider.hooks.parameters` describe each parameter and its type. Raises
        ``ConfigurationError`` before any request for a parameter that the version does not have, and
        ``RetentionExceededError`` for a ``since`` before what the API keeps or a range before version 2's history.
        """
        if export:
            yield from self.export_audit_logs(**parameters)
            return
        log_parameters = LogParameters.parse(parameters)
        query, window_reader = log_parameters.query_and_reader(self.query, self.clock.now(), history_starts_at)
        self._check_categories(query)
        for records in self.reader().read(query, window_reader):
            yield from (mapping_of(record.raw) for record in records)

    @overload
    def aiter_audit_logs(self, **parameters: Unpack[V1Parameters]) -> AsyncIterator[dict[str, Any]]: ...
    @overload
    def aiter_audit_logs(self, **parameters: Unpack[V2Parameters]) -> AsyncIterator[dict[str, Any]]: ...
    @overload
    def aiter_audit_logs(self, **parameters: Unpack[V2OrganizationParameters]) -> AsyncIterator[dict[str, Any]]: ...
    @overload
    def aiter_audit_logs(self, **parameters: Unpack[V2ConnectionParameters]) -> AsyncIterator[dict[str, Any]]: ...
    @shows_parameters_of(V1Parameters, V2Parameters, V2OrganizationParameters)
    async def aiter_audit_logs(self, **parameters: Any) -> AsyncIterator[dict[str, Any]]:
        """Yields the same as :meth:`iter_audit_logs` without blocking the event loop; it has no ``export``."""
        log_parameters = LogParameters.parse(parameters)
        log_parameters.check_no_export()
        async with await self.open_async_conn() as client:
            query, window_reader = log_parameters.query_and_reader(self.query, self.clock.now(), history_starts_at)
            if wanted_categories(query):
                await asyncio.to_thread(self._check_categories, query)
            async for records in self.async_reader(client).read(query, window_reader):
                for record in records:
                    yield mapping_of(record.raw)

    @shows_parameters_of(V1ExportParameters)
    def export_audit_logs(self, **parameters: Unpack[V1ExportParameters]) -> Iterator[dict[str, str]]:
        """Yields the rows of the API's own CSV export as dicts of texts, streamed; version 1 only.

        Takes the parameters of :meth:`iter_audit_logs` except paging. The columns are the API's and undocumented, and
        large exports are known to fail: use :meth:`iter_audit_logs` or the operator to archive records. The API
        gets ``since`` and ``before`` in whole seconds; whether it returns the right rows is not checked.
        """
        request = LogParameters.parse(parameters).export_request(self.query, self.clock.now())
        with name_connection(self.cloudflare_conn_id):
            yield from self._http().stream_csv(request, self.clock.now())

    @shows_parameters_of(HistoryParameters)
    def resource_history(
        self, record_id: str, action_time: datetime | str, **parameters: Unpack[HistoryParameters]
    ) -> ResourceHistory:
        """Returns the records about the resource of one version 2 record, and how the API identified the resource.

        The API finds the resource by the record, and returns all records about it.

        :param record_id: ``id`` of the record.
        :param action_time: ``action.time`` of the record, by which the API finds it.
        :param parameters: see :class:`~airflow_audit_provider.hooks.parameters.HistoryParameters`.

        A record that the API does not find, or that names no resource, is not an error: ``status`` states it.
        """
        log_parameters = LogParameters.parse(parameters)
        query, reader = log_parameters.history_query_and_reader(self.query, self.clock.now(), record_id, action_time)
        records = [mapping_of(record.raw) for found in self.reader().read(query, reader) for record in found]
        return ResourceHistory(str(reader.history_status), records)

    @shows_parameters_of(HistoryParameters)
    async def aresource_history(
        self, record_id: str, action_time: datetime | str, **parameters: Unpack[HistoryParameters]
    ) -> ResourceHistory:
        """Returns the same as :meth:`resource_history` without blocking the event loop."""
        log_parameters = LogParameters.parse(parameters)
        async with await self.open_async_conn() as client:
            now = self.clock.now()
            query, reader = log_parameters.history_query_and_reader(self.query, now, record_id, action_time)
            found = [records async for records in self.async_reader(client).read(query, reader)]
        return ResourceHistory(
            str(reader.history_status), [mapping_of(one.raw) for records in found for one in records]
        )

    def product_categories(self, account_id: str | None = None) -> list[dict[str, Any]]:
        """Returns the product categories of an account as the API lists them; the filter accepts their ``value``.

        :param account_id: the account; by default the connection's.
        """
        query = categories_query(self.query("v2", "account", account_id=account_id))
        found = self.reader().read(query, list_reader(self.clock.now()))
        return [mapping_of(entry.raw) for entries in found for entry in entries]

    async def aproduct_categories(self, account_id: str | None = None) -> list[dict[str, Any]]:
        """Returns the same as :meth:`product_categories` without blocking the event loop.

        :param account_id: the account; by default the connection's.
        """
        async with await self.open_async_conn() as client:
            query = categories_query(self.query("v2", "account", account_id=account_id))
            found = self.async_reader(client).read(query, list_reader(self.clock.now()))
            return [mapping_of(entry.raw) async for entries in found for entry in entries]

    def checked_query(self, *log: str | None, **options: Any) -> AuditQuery:
        """Returns the same as :meth:`query`, after a check of the filter ``product_category`` if it has one.

        The check needs the account's product categories, which are requested once. Raises ``ConfigurationError`` with
        the nearest name for an unknown one. If the list cannot be read, a warning says so, and the API decides.
        """
        query = self.query(*log, **options)
        self._check_categories(query)
        return query

    def _check_categories(self, query: AuditQuery) -> None:
        if wanted_categories(query):
            self._category_check.check(query, self.reader(with_retries=False))

    # -- planning -----------------------------------------------------------------------------------------------

    def plan_request(
        self, query: AuditQuery, start: Bound = None, end: Bound = None, **options: Unpack[PlanOptions]
    ) -> PlanRequest:
        """Returns the request for a backfill's plan; raises ``ConfigurationError`` for an impossible option."""
        from airflow_audit_provider.pipelines.plan import PlanRequest

        timezone = options.get("timezone", "UTC")
        first_at, last_at = read_bound("start", start, timezone), read_bound("end", end, timezone)
        begins_at = history_starts_at(query.version)
        return PlanRequest(query, start=first_at, end=last_at, history_starts_at=begins_at, **options)

    def plan_backfill(
        self,
        destination: str,
        destination_conn_id: str | None = None,
        *,
        query: AuditQuery | None = None,
        start: Bound = None,
        end: Bound = None,
        **options: Unpack[PlanOptions],
    ) -> Plan:
        """Returns the plan of a backfill into a destination: which windows are missing, and what they need.

        It sends at most ``sample_count`` requests, or three times ``sample_count`` if the backfill needs more than 100
        times ``sample_count`` requests.

        :param destination: URI of the folder that the backfill fills.
        :param destination_conn_id: the connection of the destination's object store.
        :param query: the log, as :meth:`query` returns it; by default the connection's.
        :param start: start of the range; by default that of the oldest window that the API still has whole.
        :param end: end of the range, exclusive; by default that of the last window that is settled.
        :param options: see :class:`~airflow_audit_provider.hooks.parameters.PlanOptions`.
        """
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.pipelines.plan import plan_backfill

        store = store_from_connection(destination, destination_conn_id)
        request = self.plan_request(query or self.query(), start, end, **options)
        return plan_backfill(store, self.reader(), request)

    def _log_wait(self, step: Send | Wait) -> None:
        if isinstance(step, Send):
            return
        if step.reason is not None:
            self.log.warning("Retrying in %.1f s: %s", step.seconds, step.reason)
        elif step.seconds >= 1:
            self.log.info("Waiting %.1f s for the rate limit", step.seconds)
