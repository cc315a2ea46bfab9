"""Settings of the fake.

Invariant: settings are frozen; only the misbehaviours of a fake can change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

ACCOUNT_ID = "7c5dae5552338874e5053f2534d2767a"
ORGANIZATION_ID = "9d2b1e60c4f84a7e8b3f5a6d7c8e9f01"
USER_ID = "1f7e2d3c4b5a69788796a5b4c3d2e1f0"
TOKEN = "fake-token-for-tests-0123456789abcdefghij"  # noqa: S105 - valid for the fake only


class TokenKind(StrEnum):
    """What a token may do."""

    VALID = "valid"
    INVALID = "invalid"
    NO_PERMISSION = "no-permission"
    ACCOUNT = "account"


class CursorEnd(StrEnum):
    """What version 2 returns in place of the cursor on the last page; the real API's choice is undocumented."""

    OMITTED = "omitted"
    NULL = "null"
    EMPTY = "empty"


class CursorPlace(StrEnum):
    """Where version 2 returns its cursor: as documented, as SDK 5.9.0 reads it, or both."""

    DOCUMENTED = "cursor"
    SDK = "cursors.after"
    BOTH = "both"


@dataclass(frozen=True)
class Settings:
    """Settings of a fake, except its clock and its misbehaviours.

    ``records_per_day`` is the mean (0: only records added by hand); ``even_days`` makes it exact for every day.
    ``cache_bytes`` bounds the generated records kept in memory. ``block_seconds`` is how long a 429 lasts, in
    seconds of the fake's clock; ``requests_per_window`` None switches the rate limit off.
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
