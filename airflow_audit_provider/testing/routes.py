"""Routes: which endpoint a path addresses.

Invariant: any other path has no route.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from airflow_audit_provider.testing.records import Feed

BASE_PATH = "/client/v4"


class Endpoint(Enum):
    """Endpoints of the API."""

    RECORDS = auto()
    CATEGORIES = auto()
    HISTORY = auto()
    VERIFY = auto()


class Route(NamedTuple):
    """An endpoint of a scope (``accounts/<id>``, ``organizations/<id>`` or ``user``) in a version.

    ``record_id`` is the record in the path of a resource history.
    """

    endpoint: Endpoint
    version: str
    scope: str
    record_id: str = ""

    @property
    def feed(self) -> Feed:
        """Feed of records of this route."""
        return Feed(self.version, self.scope)


_ROUTES = (
    (re.compile(r"(accounts/[^/]+|user)/audit_logs"), Endpoint.RECORDS, "v1"),
    (re.compile(r"((?:accounts|organizations)/[^/]+)/logs/audit"), Endpoint.RECORDS, "v2"),
    (re.compile(r"(accounts/[^/]+)/logs/audit/product_categories"), Endpoint.CATEGORIES, "v2"),
    (re.compile(r"((?:accounts|organizations)/[^/]+)/logs/audit/([^/]+)/history"), Endpoint.HISTORY, "v2"),
    (re.compile(r"(accounts/[^/]+|user)/tokens/verify"), Endpoint.VERIFY, "v1"),
)


def route_of(path: str) -> Route | None:
    """Returns the route of a full path, None if there is none."""
    below = path.removeprefix(BASE_PATH + "/")
    if below == path:
        return None
    for pattern, endpoint, version in _ROUTES:
        found = pattern.fullmatch(below)
        if found:
            return Route(endpoint, version, *found.groups())
    return None
