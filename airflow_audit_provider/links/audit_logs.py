"""Extra links of the operator in Airflow's UI: its manifest, the coverage page, and Cloudflare's dashboard.

Airflow builds a link in the worker when the task ends, from the operator's attributes. DAG files import this module, so
what only a link needs is imported where it is used.

Invariant: a link never fails a task.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink

__all__ = ["CloudflareDashboardLink", "CoverageLink", "ManifestLink"]


class ManifestLink(BaseOperatorLink):
    """Links to the window's manifest: its page in the web console of S3 or GCS, or its URI; empty if there is none."""

    name = "Manifest"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Returns the URL."""
        from airflow_audit_provider._airflow.page_addresses import object_page

        return object_page(getattr(operator, "manifest_uri", None) or "")


class CoverageLink(BaseOperatorLink):
    """Links to the window on this Airflow's coverage page, also for local files; empty if nothing was committed.

    The link of a load task leads to the window that the task has loaded, or to the dataset if it has loaded no window
    or several.
    """

    name = "Coverage"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Returns the URL."""
        from airflow_audit_provider._airflow.page_addresses import coverage_page, dataset_page

        loaded = getattr(operator, "covered", None)
        return dataset_page(*loaded) if loaded else coverage_page(getattr(operator, "manifest_uri", None) or "")


class CloudflareDashboardLink(BaseOperatorLink):
    """Links to the audit log in Cloudflare's dashboard: the account's, or a page to choose an account."""

    name = "Cloudflare dashboard"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Returns the URL."""
        from airflow_audit_provider._airflow.page_addresses import dashboard_page

        query = getattr(operator, "query", None)
        return dashboard_page("" if query is None else query.scope, "" if query is None else query.scope_id)
