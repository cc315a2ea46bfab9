"""An Airflow connection read on an event loop, on every Airflow from 3.0.

Knows: which of Airflow's ways block and which do not. Must not know: what a connection says.
Its one rule: the loop, which a triggerer's triggers share, is never blocked.
"""

from __future__ import annotations

import asyncio
from typing import Any

from airflow.providers.common.compat import connection as compat
from airflow.providers.common.compat.sdk import BaseHook, Connection


async def load_connection(conn_id: str, hook: type[BaseHook]) -> tuple[Connection, dict[str, Any]]:
    """Return a connection and its extra; raises what ``get_connection`` raises."""
    conn = await compat.get_async_connection(conn_id, hook=hook)
    load_extra = getattr(compat, "get_async_extra_dejson", None)
    if load_extra is not None:
        return conn, await load_extra(conn)
    # Masking the extra's secrets asks the supervisor, which blocks; older Airflow has no other way than a thread.
    return conn, await asyncio.to_thread(lambda: conn.extra_dejson)
