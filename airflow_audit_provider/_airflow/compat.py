"""An Airflow connection read on an event loop, on every Airflow from 3.0.

Knows: which of Airflow's ways block and which do not. Must not know: what a connection says.
Its one rule: the loop, which a triggerer's triggers share, is never blocked.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat import connection as compat
from airflow.providers.common.compat.sdk import BaseHook, Connection
from asgiref.sync import sync_to_async


async def load_connection(conn_id: str, hook: type[BaseHook]) -> tuple[Connection, dict[str, Any]]:
    """Return a connection and its extra; raises what ``get_connection`` raises."""
    load_extra = getattr(compat, "get_async_extra_dejson", None)
    if load_extra is not None:
        conn = await compat.get_async_connection(conn_id)
        return conn, await load_extra(conn)
    # Older Airflow has no other way than a thread, and it has to be one of asgiref's: from there the supervisor is
    # asked on the triggerer's own loop.
    return await sync_to_async(_load)(conn_id, hook)


def _load(conn_id: str, hook: type[BaseHook]) -> tuple[Connection, dict[str, Any]]:
    conn = hook.get_connection(conn_id)
    return conn, conn.extra_dejson
