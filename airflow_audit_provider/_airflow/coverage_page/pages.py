"""Renders the templates with the headers that every answer of the page has."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import Response
from fastapi.responses import HTMLResponse

from airflow_audit_provider._airflow.html_templates import templates_of

_PACKAGE = "airflow_audit_provider._airflow.coverage_page"
_TYPES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "backfill.js": "text/javascript",
    "theme.js": "text/javascript",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(template: str, root: str, *, status: int = 200, refresh: str = "", **values: Any) -> Response:
    """Returns a page; ``root`` is the relative address of the list of datasets, such as ``../``.

    ``refresh`` makes the browser open a page again: after so many seconds, with ``;url=`` at another address.
    """
    text = templates_of(_PACKAGE).get_template(template).render(root=root, refresh=refresh, **values)
    return HTMLResponse(text, status_code=status, headers=HEADERS)


def static_file(name: str) -> Response | None:
    """Returns a style sheet or script of the page, None for any other name."""
    if name not in _TYPES:
        return None
    content = files(_PACKAGE).joinpath("static", name).read_bytes()
    return Response(content, media_type=_TYPES[name], headers={**HEADERS, "Cache-Control": "max-age=300"})
