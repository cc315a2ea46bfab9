"""The buttons beside a task in Airflow's pages: its manifest, and the audit log in Cloudflare's dashboard.

Knows: Airflow's links, web addresses of object stores and of the dashboard. Must not know: how a window is landed.
Its one rule: a link is made in the worker when the task ends, from what the operator kept; it never fails a task.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

__all__ = ["CloudflareDashboardLink", "ManifestLink"]
_DASHBOARD = "https://dash.cloudflare.com"


class ManifestLink(BaseOperatorLink):
    """Leads to the manifest of the window: in the web console of S3 and GCS, elsewhere its URI; empty without one."""

    name = "Manifest"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the final URL."""
        return object_page(getattr(operator, "manifest_uri", None) or "")


class CloudflareDashboardLink(BaseOperatorLink):
    """Leads to the audit log in Cloudflare's dashboard: the account's, or of an account the visitor chooses."""

    name = "Cloudflare dashboard"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the final URL."""
        query = getattr(operator, "query", None)
        if query is not None and query.scope == "account":
            return f"{_DASHBOARD}/{query.scope_id}/audit-log"
        return f"{_DASHBOARD}/?to=/:account/audit-log"


def object_page(uri: str) -> str:
    """Return the address of an object's page in its store's web console, else the URI itself."""
    parts = urlsplit(uri)
    key = parts.path.lstrip("/")
    if parts.scheme in ("s3", "s3a"):
        return f"https://s3.console.aws.amazon.com/s3/object/{parts.netloc}?prefix={quote(key)}"
    if parts.scheme in ("gs", "gcs"):
        return f"https://console.cloud.google.com/storage/browser/_details/{parts.netloc}/{quote(key)}"
    return uri
