"""The run of the command ``plan``, and the connection to Cloudflare that it shares with other commands.

It is imported when the command runs, because Airflow takes seconds to import and the other commands do without it.

Invariant: a token is taken from the environment or from an Airflow connection, never from an argument, which other
users of the machine could read.
"""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from typing import Any, TextIO, cast

from airflow.providers.common.compat.sdk import Connection

from airflow_audit_provider._airflow.connection import get_connection
from airflow_audit_provider.adapters.storage.lake_store import destination_from_uri
from airflow_audit_provider.cli.progress import ReadProgress
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.limits import CONN_TYPE, DEFAULT_CONN_ID
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.hooks.parameters import PlanOptions
from airflow_audit_provider.pipelines.plan import held_query, plan_backfill
from airflow_audit_provider.pipelines.plan_report import Plan

# The names that Cloudflare's own tools use.
TOKEN_VARIABLE, BASE_URL_VARIABLE = "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_BASE_URL"
_NO_CREDENTIAL = "Set the environment variable CLOUDFLARE_API_TOKEN to an API token, or give a connection by --conn-id."
_QUERY_OPTIONS = ("api_version", "scope", "account_id", "organization_id")


class EnvironmentHook(CloudflareHook):
    """Hook whose connection is the token in the environment, so that no Airflow connection is needed."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Returns a connection with the token and, for another server than Cloudflare's, its base URL."""
        host = os.environ.get(BASE_URL_VARIABLE)
        return Connection(conn_id=conn_id, conn_type=CONN_TYPE, host=host, password=os.environ.get(TOKEN_VARIABLE))


def hook_for(options: argparse.Namespace) -> CloudflareHook:
    """Returns the hook of ``--conn-id``; without it that of the token in the environment, else of the default id."""
    if options.conn_id is None and os.environ.get(TOKEN_VARIABLE):
        return EnvironmentHook(TOKEN_VARIABLE)
    if options.conn_id is None:
        # Without Airflow there is no such connection: the hook's own error would not name the variable.
        get_connection(DEFAULT_CONN_ID, _NO_CREDENTIAL)
    return CloudflareHook(options.conn_id or DEFAULT_CONN_ID)


def make_plan(options: argparse.Namespace, output: TextIO) -> Plan:
    """Plans a backfill as the arguments say, and shows the progress on ``output``."""
    store = destination_from_uri(options.destination)
    named = {name: getattr(options, name) for name in PlanOptions.__optional_keys__}
    given = cast("PlanOptions", {name: value for name, value in named.items() if value is not None})
    with closing(hook_for(options)) as hook:
        request = hook.plan_request(_query(hook, store, options), options.start, options.end, **given)
        with ReadProgress(output, hook.clock) as progress:
            return plan_backfill(progress.observed(store), hook.reader(progress.on_step), request)


def named_log(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments that name an audit log; without any, the destination or the connection names it."""
    return {name: value for name in _QUERY_OPTIONS if (value := getattr(options, name)) is not None}


def _query(hook: CloudflareHook, store: Store, options: argparse.Namespace) -> AuditQuery:
    """Returns the log that the arguments name; without any, the one that the destination holds."""
    given = named_log(options)
    held = None if given else held_query(store)
    return held or hook.query(**given)
