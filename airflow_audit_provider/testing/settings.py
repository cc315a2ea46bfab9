"""Settings of the fake.

Invariant: settings are frozen; only the misbehaviours of a fake can change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

ACCOUNT_ID = "7c5dae5552338874e5053f2534d2767a"
ORGANIZATION_ID = "9d2b1e60c4f84a7e8b3f5a6d7c8e9f01"
USER_ID = "1f7e2d3c4b5a69788796a5b4c3d2e1f0"
TOKEN = "fake-token-for-tests-0123456789abcdefghij"  # noqa: S105 - valid for the fake only

TOKEN_FORM = re.compile(r"[A-Za-z0-9_\-]{20,200}")
_IDENTIFIER_FORM = re.compile(r"[0-9a-f]{32}")


class TokenKind(StrEnum):
    """Permission of a token."""

    VALID = "valid"
    INVALID = "invalid"
    NO_PERMISSION = "no-permission"
    ACCOUNT = "account"


def check_token(token: str, kind: str) -> None:
    """Raises ``ValueError`` for an unknown kind, and for a malformed token, which the API answers with error 6003."""
    if TOKEN_FORM.fullmatch(token) is None:
        raise ValueError(f"a token of {len(token)} characters is malformed; give 20 to 200 letters, digits, '-' or '_'")
    if kind not in set(TokenKind):
        raise ValueError(f"the kind {kind!r} is unknown; give one of {', '.join(TokenKind)}")


def is_identifier(text: str) -> bool:
    """Returns whether a text is well-formed as an id; the API answers any other with error 7003."""
    return _IDENTIFIER_FORM.fullmatch(text) is not None


def check_identifier(text: str) -> None:
    """Raises ``ValueError`` for a malformed account or organization id."""
    if not is_identifier(text):
        raise ValueError(f"the id {text!r} has {len(text)} characters; give 32 hexadecimal digits in lower case")


class CursorEnd(StrEnum):
    """Cursor that version 2 returns on the last page; the real API's choice is undocumented."""

    OMITTED = "omitted"
    NULL = "null"
    EMPTY = "empty"


class CursorPlace(StrEnum):
    """Place of version 2's cursor: as documented, as SDK 5.9.0 reads it, or both."""

    DOCUMENTED = "cursor"
    SDK = "cursors.after"
    BOTH = "both"


@dataclass(frozen=True)
class Settings:
    """Settings of a fake, except its clock and its misbehaviours.

    ``records_per_day`` is the mean (0: only records added by hand); ``even_days`` makes it exact for every day.
    ``cache_bytes`` bounds the generated records kept in memory. ``block_seconds`` is how long a 429 lasts, in
    seconds of the fake's clock; ``requests_per_window`` None switches the rate limit off. Raises ``ValueError`` for a
    token, token kind or id that the fake would refuse in every request.
    """

    seed: int = 1
    account_ids: tuple[str, ...] = (ACCOUNT_ID,)
    organization_ids: tuple[str, ...] = (ORGANIZATION_ID,)
    user_id: str = USER_ID
    tokens: Mapping[str, TokenKind] = field(default_factory=lambda: {TOKEN: TokenKind.VALID})
    auth_email: str = "owner@example.com"
    auth_key: str = "fake-global-api-key-0123456789abcdef0"
    records_per_day: int = 1500
    even_days: bool = False
    v2_starts_on: date | None = None
    retention: timedelta = timedelta(days=548)
    cursor_place: CursorPlace = CursorPlace.DOCUMENTED
    cursor_end: CursorEnd = CursorEnd.OMITTED
    cursor_by_offset: bool = False
    requests_per_window: int | None = 1200
    window_seconds: float = 300.0
    block_seconds: float = 300.0
    gzip: bool = False
    latency_ms: float = 0.0
    cache_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        for token, kind in self.tokens.items():
            check_token(token, kind)
        for identifier in (*self.account_ids, *self.organization_ids):
            check_identifier(identifier)
