"""Credential checks.

Invariant: a credential that was sent never leaves this module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.testing.envelopes import failure
from airflow_audit_provider.testing.routes import Endpoint, Route
from airflow_audit_provider.testing.settings import TOKEN_FORM, Settings, TokenKind, is_identifier

_BEARER = re.compile(rf"Bearer ({TOKEN_FORM.pattern})")


class Gate:
    """Accepts a request, or returns the error response."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scopes = {"user"}
        self._scopes |= {f"accounts/{known}" for known in settings.account_ids}
        self._scopes |= {f"organizations/{known}" for known in settings.organization_ids}

    def refusal(self, headers: Mapping[str, str], route: Route, path: str) -> Response | None:
        """Returns the error response for a request, None if its credential is accepted."""
        identifier = route.scope.partition("/")[2]
        if identifier and not is_identifier(identifier):
            return no_route(path)
        refused = self._credential(headers, route)
        if refused is None and route.scope not in self._scopes:
            return failure(403, [(9109, "Unauthorized to access requested resource")])
        return refused

    def _credential(self, headers: Mapping[str, str], route: Route) -> Response | None:
        """Checks the credential; the global key takes precedence over a token, as in the official SDK."""
        email, key = headers.get("x-auth-email"), headers.get("x-auth-key")
        if email is not None or key is not None:
            known = (email, key) == (self._settings.auth_email, self._settings.auth_key)
            return None if known else failure(403, [(9103, "Unknown X-Auth-Key or X-Auth-Email")])
        sent = headers.get("authorization")
        if sent is None:
            return failure(401, [(10000, "Authentication error")])
        bearer = _BEARER.fullmatch(sent)
        if not bearer:
            chain = [(6111, "Invalid format for Authorization header")]
            return failure(400, [(6003, "Invalid request headers")], chain=chain)
        return _token(self._settings.tokens.get(bearer.group(1)), route)


def _token(kind: TokenKind | None, route: Route) -> Response | None:
    """Returns the error response for a token of this kind at this endpoint; an unknown token is always refused."""
    if route.endpoint is Endpoint.VERIFY:
        wanted = (TokenKind.VALID, TokenKind.NO_PERMISSION) if route.scope == "user" else (TokenKind.ACCOUNT,)
        return None if kind in wanted else failure(401, [(1000, "Invalid API Token")])
    if kind is None:
        return failure(403, [(9109, "Invalid access token")])
    if kind == TokenKind.INVALID:
        return failure(401, [(10000, "Authentication error")])
    if kind == TokenKind.NO_PERMISSION or (kind == TokenKind.ACCOUNT and route.scope == "user"):
        return failure(403, [(10000, "Authentication error")])
    return None


def no_route(path: str) -> Response:
    """Returns the response for an unknown path, often caused by a wrong account id."""
    problem = f"Could not route to {path}, perhaps your object identifier is invalid?"
    return failure(404, [(7003, problem), (7000, "No route for that URI")])
