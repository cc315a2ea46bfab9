"""Finds the real Cloudflare account that the environment names, if any."""

from __future__ import annotations

from collections.abc import Mapping

from demo.preflight import RefusalError
from harness.cloudflare_account import CloudflareAccount


def named_account(environ: Mapping[str, str]) -> CloudflareAccount | None:
    """Returns the real account the environment names, or None; raises RefusalError if only half of it is set."""
    token, account_id = environ.get("CLOUDFLARE_API_TOKEN", ""), environ.get("CLOUDFLARE_ACCOUNT_ID", "")
    if not token and not account_id:
        return None
    if not token or not account_id:
        missing = "CLOUDFLARE_ACCOUNT_ID" if token else "CLOUDFLARE_API_TOKEN"
        raise RefusalError(f"{missing} is not set: set it as well for a real account, or unset both to use the fake.")
    return CloudflareAccount(account_id, token, environ.get("CLOUDFLARE_BASE_URL") or None, None)
