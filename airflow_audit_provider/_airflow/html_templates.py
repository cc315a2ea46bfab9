"""Templates of HTML that shows texts from a destination.

Invariant: each value passes autoescaping, and characters that are not visible are shown as escapes, so that neither
HTML nor a mark that turns text around can come from a record, a key or a message.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from airflow_audit_provider.core.verification.findings import printable


@cache
def templates_of(package: str) -> Environment:
    """Returns the templates in the folder ``templates`` of a package."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: Any) -> Any:
    """Returns a value with escapes for characters that are not visible; the templates' own HTML stays as it is."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)
