"""Addresses of pages about a window: of its manifest, of this Airflow's coverage page, of Cloudflare's dashboard.

Invariant: nothing here fails, because a link never fails a task; what has no page has an empty address.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from airflow.configuration import conf

from airflow_audit_provider._airflow.destinations import PAGE_PREFIX, dataset_id, dataset_uri
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, WindowKeys, window_in
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

_DASHBOARD = "https://dash.cloudflare.com"


def coverage_page(manifest_uri: str) -> str:
    """Returns the URL of a window on the coverage page by its manifest, of the dataset for several windows."""
    destination, _, key = manifest_uri.rpartition(f"/{MANIFEST_FOLDER}")
    return dataset_page(destination, window_in(key))


def dataset_page(destination: str, window: TimeWindow | None = None) -> str:
    """Returns the URL of a dataset on the coverage page, or of one window of it."""
    try:
        uri = dataset_uri(destination) if destination else ""
    except ConfigurationError:
        return ""
    if not uri:
        return ""
    place = f"/w/{WindowKeys(window, window.start.date()).name}" if window else ""
    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}{PAGE_PREFIX}/d/{dataset_id(uri)}{place}"


def dashboard_page(scope: str, scope_id: str) -> str:
    """Returns the URL of an account's audit log in Cloudflare's dashboard, for others a page to choose an account."""
    if scope == "account":
        return f"{_DASHBOARD}/{quote(scope_id, safe='')}/audit-log"
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
