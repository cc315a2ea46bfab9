"""Keeps secrets of a catalog's properties out of messages and out of the tracebacks behind them.

Invariant: no message quotes a secret as it is given, nor in a form in which libraries and servers repeat it: escaped,
percent-encoded or in base64.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

_SECRET_NAMES = ("secret", "password", "token", "credential", "key", "sas", "auth", "header.", "connection-string")
# Names that contain one of those above and have no secret as their value, such as `oauth2-server-uri`.
_PLAIN_NAMES = ("uri", "url", "type", "endpoint")
# Shorter values, such as true, are no secrets, and would be replaced inside of words.
_SHORTEST_SECRET = 6
# What separates the parts of a header (`Bearer …`), of a credential (`id:secret`) and of a connection string.
_SEPARATORS = re.compile(r"[\s;,]+")


def masked(text: str, properties: Mapping[str, Any]) -> str:
    """Returns a text with ``***`` for every secret of the properties."""
    for secret in sorted(_written_forms(properties), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def cause_without_secret(error: BaseException, properties: Mapping[str, Any]) -> BaseException | None:
    """Returns the error to chain a named one to, None if its traceback in the log would show a secret."""
    forms = _written_forms(properties)
    texts = [shown for one in _chain(error) for shown in (str(one), repr(one))]
    return None if any(form in text for form in forms for text in texts) else error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and those that a traceback shows before it."""
    seen = set[int]()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]


def _written_forms(properties: Mapping[str, Any]) -> set[str]:
    secrets = {secret for secret in _secrets(properties) if len(secret) >= _SHORTEST_SECRET}
    return {form for secret in secrets for form in _forms(secret)}


def _forms(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    plain = secret.encode("utf-8", "replace").decode()
    return {secret, repr(secret)[1:-1], quote(plain, safe=""), quote(plain), quote_plus(plain), encoded}


def _secrets(properties: Mapping[str, Any]) -> Iterator[str]:
    """Yields the values of the properties that are named as secrets and their parts, and passwords in URIs."""
    for name, value in properties.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif _is_secret_name(str(name)):
            yield from _with_parts(str(value))
        else:
            yield from _secrets_of_uri(str(value))


def _is_secret_name(name: str) -> bool:
    return any(known in name.lower() for known in _SECRET_NAMES) and not name.lower().endswith(_PLAIN_NAMES)


def _with_parts(value: str) -> Iterator[str]:
    """Yields a value, its words, and what follows the first ``:`` or ``=`` of each."""
    stripped = value.strip()
    yield from (value, stripped, " ".join(value.split()))
    for word in _SEPARATORS.split(stripped):
        yield word
        yield word.partition(":")[2]
        yield word.partition("=")[2]


def _secrets_of_uri(uri: str) -> Iterator[str]:
    """Yields the password of a URI, also with its user, and the secrets of its query."""
    try:
        parts = urlsplit(uri)
        user, password = parts.username or "", parts.password or ""
    except ValueError:
        return
    if password:
        yield from (password, unquote(password), f"{user}:{password}", f"{unquote(user)}:{unquote(password)}")
    yield from (value for name, value in parse_qsl(parts.query) if _is_secret_name(name))
