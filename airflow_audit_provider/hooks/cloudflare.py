"""The hook: an Airflow connection turned into readings of audit logs.

Knows: Airflow's hooks and connections. Must not know: paging, retries, files.
Its one rule: it translates the API's own parameters; the page protocol below it decides what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import httpx
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_audit_provider._airflow.api_parameters import LogParameters
from airflow_audit_provider._airflow.compat import load_connection
from airflow_audit_provider._airflow.connection import ConnectionFields, ConnectionSettings, read_connection
from airflow_audit_provider._airflow.connection_form import field_behaviour, form_widgets
from airflow_audit_provider._airflow.connection_test import test_connection
from airflow_audit_provider._airflow.secrets import mask
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.cloudflare.http import (
    AsyncHttpTransport,
    HttpTransport,
    open_async_client,
    open_client,
)
from airflow_audit_provider.adapters.cloudflare.reader import AsyncAuditLogReader, AuditLogReader
from airflow_audit_provider.core.api.query import AuditQuery, audit_query
from airflow_audit_provider.core.api.records import fields_of
from airflow_audit_provider.core.api.retry import NO_RETRY
from airflow_audit_provider.core.limits import CONN_TYPE, DEFAULT_CONN_ID
from airflow_audit_provider.core.paging.fetch import Send, Wait
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError


class CloudflareHook(BaseHook):
    """Reads Cloudflare audit logs with the credential of an Airflow connection.

    :param cloudflare_conn_id: id of a connection of type ``cloudflare``: password is the API token, or login the
        e-mail and password the Global API Key; extra holds ``account_id`` and ``organization_id``.
    :param transport: an httpx transport to use instead of the network, blocking or async as the method called needs.
    :param clock: a clock to use instead of the machine's.

    One hook has one rate budget. Its errors are those of :mod:`airflow_audit_provider.exceptions`.
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

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the connection form's extra fields; Airflow before 3.2 looks for this in the class itself."""
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the connection form's standard fields are shown, for Airflow before 3.2."""
        return field_behaviour()

    # -- connection ---------------------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The checked connection; read once."""
        with self._named_absence():
            conn = self.get_connection(self.cloudflare_conn_id)
        return self._read(conn, conn.extra_dejson)

    async def load_settings(self) -> ConnectionSettings:
        """Read the connection without blocking the event loop; afterwards ``settings`` is at hand."""
        if "settings" not in self.__dict__:
            with self._named_absence():
                conn, extra = await load_connection(self.cloudflare_conn_id, type(self))
            # Masking may ask the supervisor, which blocks.
            self.__dict__["settings"] = await asyncio.to_thread(self._read, conn, extra)
        return self.settings

    def _read(self, conn: Any, extra: dict[str, Any]) -> ConnectionSettings:
        fields = ConnectionFields(conn.host, conn.login, conn.password, conn.port, extra)
        settings = read_connection(self.cloudflare_conn_id, fields)
        secret = settings.endpoint.credentials.secret
        if secret != conn.password:
            # Airflow masks the password as it stands in the connection; without its line break it is another text.
            mask(secret)
        return settings

    @contextmanager
    def _named_absence(self) -> Iterator[None]:
        try:
            yield
        except AirflowNotFoundException as error:
            raise ConfigurationError(
                f"There is no connection {self.cloudflare_conn_id!r}. Create it with type cloudflare, the API token as "
                "password and the account_id in extra."
            ) from error

    @cached_property
    def _client(self) -> httpx.Client:
        return open_client(self.settings.endpoint, self._transport)

    def get_conn(self) -> httpx.Client:
        """Return the httpx client: base URL and credential set, redirects off; relative URLs are below the base URL."""
        return self._client

    def close(self) -> None:
        """Close the client's connections; the hook opens new ones when it is used again."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def test_connection(self) -> tuple[bool, str]:
        """Check the credential and the permission; return whether both are there, and which is missing."""
        try:
            transport = HttpTransport(self.get_conn())
            return test_connection(self.settings, self.query(), transport, self.source())
        except AuditProviderError as error:
            return False, str(error)

    # -- reading ------------------------------------------------------------------------------------------------

    def source(
        self, observe: Callable[[Send | Wait], None] | None = None, *, is_patient: bool = True
    ) -> AuditLogReader:
        """Return a blocking reader with this hook's rate budget; ``observe`` is told of requests and waits.

        One that is not patient tries each request once: whoever else can wait better is to be told at once.
        """

        def log_and_tell(step: Send | Wait) -> None:
            self._log_wait(step)
            if observe is not None:
                observe(step)

        transport = HttpTransport(self.get_conn())
        policy = self.settings.retry_policy() if is_patient else NO_RETRY
        return AuditLogReader(transport, self.clock, self._budget, policy, log_and_tell)

    def async_source(self, client: httpx.AsyncClient) -> AsyncAuditLogReader:
        """Return a reader for an event loop over an open client (see :meth:`open_async_conn`)."""
        transport = AsyncHttpTransport(client)
        return AsyncAuditLogReader(transport, self.clock, self._budget, self.settings.retry_policy(), self._log_wait)

    async def open_async_conn(self) -> httpx.AsyncClient:
        """Return a new async client; use it as a context manager."""
        settings = await self.load_settings()
        # Building a client loads the TLS certificates, tens of milliseconds that a shared loop should not wait.
        return await asyncio.to_thread(open_async_client, settings.endpoint, self._transport)

    @cached_property
    def _budget(self) -> Any:
        return self.settings.budget()

    def query(
        self,
        api_version: str = "v1",
        scope: str | None = None,
        *,
        account_id: str | None = None,
        organization_id: str | None = None,
        filters: dict[str, Any] | None = None,
    ) -> AuditQuery:
        """Return a checked query; ids that are not given come from the connection's extra."""
        if scope is None and not (account_id or organization_id):
            account_id, organization_id = self.settings.account_id, self.settings.organization_id
        return audit_query(
            api_version,
            scope,
            account_id=account_id or (self.settings.account_id if scope == "account" else None),
            organization_id=organization_id or (self.settings.organization_id if scope == "organization" else None),
            filters=filters,
        )

    def iter_audit_logs(self, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Yield audit records as dicts, each id once, in time order; parameters are the API's own, as Python names.

        :param parameters: ``account_id``, ``organization_id``, ``scope`` (``account``, ``user``, ``organization``),
            ``api_version`` (``v1``, ``v2``); ``since`` and ``before``, half-open ``[since, before)``, as datetime, date
            or RFC 3339 text, by default all that the API keeps; ``direction`` (``desc`` by default, as the API's);
            ``per_page`` or ``limit``, 1 to 1000, the size of the pages asked for (1000); every filter of the version
            and scope (``action_type``, ``actor_email``, ``zone_name``, …, on version 2 with ``_not`` twins and lists).
            With ``page`` (version 1) or ``cursor`` (version 2) exactly that one page is yielded as the API gives it.
            With ``export=True`` it is :meth:`export_audit_logs`.

        Raises ``ConfigurationError`` before any request for a parameter the version does not have.
        """
        plan = LogParameters.parse(parameters)
        if plan.export:
            yield from self.export_audit_logs(**plan.without_export())
            return
        query, reading = plan.reading(self.query, self.clock.now())
        for records in self.source().read(query, reading):
            yield from (fields_of(record.raw) for record in records)

    async def aiter_audit_logs(self, **parameters: Any) -> AsyncIterator[dict[str, Any]]:
        """Yield the same as :meth:`iter_audit_logs`, without blocking the event loop; ``export`` is not offered."""
        plan = LogParameters.parse(parameters)
        plan.check_no_export()
        async with await self.open_async_conn() as client:
            query, reading = plan.reading(self.query, self.clock.now())
            async for records in self.async_source(client).read(query, reading):
                for record in records:
                    yield fields_of(record.raw)

    def export_audit_logs(self, **parameters: Any) -> Iterator[dict[str, str]]:
        """Yield the rows of the API's own CSV export as dicts of texts, streamed; version 1 only.

        Takes the parameters of :meth:`iter_audit_logs` but for paging. The columns are the API's and undocumented,
        large exports are known to fail: to land records, read them, do not export them. The export cannot be filtered
        to the sub-second: rows are those the API selects for ``since`` and ``before`` in whole seconds.
        """
        request = LogParameters.parse(parameters).export_request(self.query, self.clock.now())
        yield from HttpTransport(self.get_conn()).stream_csv(request, self.clock.now())

    def _log_wait(self, step: Send | Wait) -> None:
        if isinstance(step, Send):
            return
        if step.reason is not None:
            self.log.warning("Waiting %.1f s before trying again: %s", step.seconds, step.reason)
        elif step.seconds >= 1:
            self.log.info("Waiting %.1f s for the rate limit", step.seconds)
