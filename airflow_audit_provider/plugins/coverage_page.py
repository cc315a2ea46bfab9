"""Plugin that adds the coverage page to Airflow's web interface: *Browse → Cloudflare audit logs*.

Every Airflow component imports plugins, tasks too. So the page, FastAPI and the object stores are imported when the API
server gets the first request for the page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_audit_provider._airflow.destinations import PAGE_PREFIX

_NAME = "Cloudflare audit logs"
_Message = MutableMapping[str, Any]


class LazyPage:
    """ASGI application that builds the coverage page at the first request."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answers one request."""
        if self._app is None:
            from airflow_audit_provider._airflow.coverage_page.routes import build

            self._app = build()
        await self._app(scope, receive, send)


def page_address() -> str:
    """Returns the address of the list of datasets on Airflow's own host."""
    return f"{urlsplit(conf.get('api', 'base_url', fallback='')).path.rstrip('/')}{PAGE_PREFIX}/"


class CoveragePagePlugin(AirflowPlugin):
    """Mounts the page, and adds it to the menu from Airflow 3.1 on."""

    name = "cloudflare_audit_logs_coverage"
    fastapi_apps = [{"app": LazyPage(), "url_prefix": PAGE_PREFIX, "name": _NAME}]  # noqa: RUF012 - Airflow's own attribute
    external_views = [  # noqa: RUF012 - Airflow's own attribute
        {
            "name": _NAME,
            "href": page_address(),
            "destination": "nav",
            "category": "browse",
            "url_route": "cloudflare_audit_logs",
        }
    ]
