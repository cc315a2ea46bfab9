"""Extra links of the operator in Airflow's UI: its manifest, and the audit log in Cloudflare's dashboard.

Airflow builds a link in the worker when the task ends, from the operator's attributes.

Invariant: a link never fails a task.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

__all__ = ["CloudflareDashboardLink", "ManifestLink"]
_DASHBOARD = "https://dash.cloudflare.com"


class ManifestLink(BaseOperatorLink):
    """Links to the window's manifest: its page in the web console of S3 or GCS, or its URI; empty if there is none."""

    name = "Manifest"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Returns the URL."""
        return object_page(getattr(operator, "manifest_uri", None) or "")


class CloudflareDashboardLink(BaseOperatorLink):
    """Links to the audit log in Cloudflare's dashboard: the account's, or a page to choose an account."""

    name = "Cloudflare dashboard"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Returns the URL."""
        query = getattr(operator, "query", None)
        if query is not None and query.scope == "account":
            return f"{_DASHBOARD}/{query.scope_id}/audit-log"
        return f"{_DASHBOARD}/?to=/:account/audit-log"


def object_page(uri: str) -> str:
    """Returns the URL of an object in its store's web console, or the URI itself for other stores."""
    parts = urlsplit(uri)
    key = parts.path.lstrip("/")
    if parts.scheme in ("s3", "s3a"):
        return f"https://s3.console.aws.amazon.com/s3/object/{parts.netloc}?prefix={quote(key)}"
    if parts.scheme in ("gs", "gcs"):
        return f"https://console.cloud.google.com/storage/browser/_details/{parts.netloc}/{quote(key)}"
    return uri
