"""What the connection is called: its type, and the id a task takes that names none.

Knows: two names. Must not know: how a connection is read or used.
Its one rule: nothing is imported, so that a DAG can name the connection without what reads from it.
"""

from __future__ import annotations

CONN_TYPE = "cloudflare"
DEFAULT_CONN_ID = "cloudflare_default"
