"""``python -m airflow_audit_provider.testing``: command line of the fake server.

Invariant: standard output has one line of JSON with the address, and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.instants import EPOCH, parse_instant
from airflow_audit_provider.testing.misbehaviour import MEANINGS, parse_switch
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import (
    CursorEnd,
    CursorPlace,
    Settings,
    TokenKind,
    check_identifier,
    check_token,
)

_DEFAULTS = Settings()
_KINDS, _PLACES, _ENDS = (", ".join(names) for names in (TokenKind, CursorPlace, CursorEnd))
_DESCRIPTION = """Serves a fake Cloudflare Audit Logs API. Prints one line of JSON with its base URL, account id and
token, then serves until it is interrupted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until interrupted or terminated; returns the exit status."""
    asked = _parser().parse_args(arguments)
    if asked.list_misbehaviours:
        for kind, meaning in MEANINGS.items():
            print(f"{kind.value:28}{meaning}")
        return 0
    fake = FakeCloudflare(_clock(asked.now), _settings(asked), asked.misbehave)
    asyncio.run(_serve(FakeServer(fake, asked.host, asked.port)))
    return 0


async def _serve(server: FakeServer) -> None:
    """Prints the address, then serves until a signal."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.serve(lambda: _announce(server), stop)


def _announce(server: FakeServer) -> None:
    settings = server.fake.settings
    announcement = {
        "base_url": server.base_url,
        "account_id": settings.account_ids[0],
        "token": next(iter(settings.tokens)),
        "organization_id": settings.organization_ids[0] if settings.organization_ids else None,
        "truth_url": server.control_url + "truth",
    }
    print(json.dumps(announcement), flush=True)


def _clock(start: str | None) -> Callable[[], datetime]:
    """Returns the system clock, shifted to start at ``start`` if given."""
    shift = timedelta()
    if start:
        wanted = EPOCH + timedelta(microseconds=parse_instant(start) // 1000)
        shift = wanted - datetime.now(UTC)  # noqa: TID251 - the fake's entry point reads the clock
    return lambda: datetime.now(UTC) + shift  # noqa: TID251 - the fake's entry point reads the clock


def _settings(asked: argparse.Namespace) -> Settings:
    tokens = dict(asked.token) if asked.token else dict(_DEFAULTS.tokens)
    return Settings(
        seed=asked.seed,
        account_ids=tuple(asked.account_id or _DEFAULTS.account_ids),
        organization_ids=tuple(asked.organization_id or _DEFAULTS.organization_ids),
        tokens=tokens,
        records_per_day=asked.records_per_day,
        even_days=asked.even_days,
        v2_starts_on=asked.v2_starts_on,
        retention=timedelta(days=asked.retention_days),
        cursor_place=asked.cursor_place,
        cursor_end=asked.cursor_end,
        cursor_by_offset=asked.cursor_by_offset,
        requests_per_window=asked.requests_per_window or None,
        block_seconds=asked.block_seconds,
        gzip=asked.gzip,
        latency_ms=asked.latency_ms,
        cache_bytes=asked.cache_mb * 1024 * 1024,
    )


def _token(text: str) -> tuple[str, TokenKind]:
    """Returns a token and its kind; raises for a token that the API refuses as malformed before it looks it up."""
    token, _, kind = text.partition(":")
    try:
        check_token(token, kind or TokenKind.VALID)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return token, TokenKind(kind or TokenKind.VALID)


def _identifier(text: str) -> str:
    """Returns an account or organization id; raises for one that the API has no route for."""
    try:
        check_identifier(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m airflow_audit_provider.testing", description=_DESCRIPTION)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="port to listen on; 0 picks a free one")
    add("--seed", type=int, default=_DEFAULTS.seed, help="the same seed gives the same records")
    add("--now", help="start time of the fake's clock, RFC 3339; default: the system time")
    add("--account-id", action="append", type=_identifier, help="account id, 32 hexadecimal digits; may be repeated")
    add(
        "--organization-id",
        action="append",
        type=_identifier,
        help="organization id, 32 hexadecimal digits; may be repeated",
    )
    add("--token", action="append", type=_token, help=f"TOKEN or TOKEN:KIND, with KIND of {_KINDS}; may be repeated")
    add("--records-per-day", type=int, default=_DEFAULTS.records_per_day, help="mean number of records per day and log")
    add("--even-days", action="store_true", help="every day has exactly RECORDS_PER_DAY records")
    add("--v2-starts-on", type=date.fromisoformat, help="first day of version 2, e.g. 2026-03-10")
    add("--retention-days", type=int, default=_DEFAULTS.retention.days, help="retention in days")
    add("--cursor-place", type=CursorPlace, default=_DEFAULTS.cursor_place, help=f"place of a cursor: {_PLACES}")
    add("--cursor-end", type=CursorEnd, default=_DEFAULTS.cursor_end, help=f"cursor of the last page: {_ENDS}")
    add("--cursor-by-offset", action="store_true", help="version 2 cursors store an offset instead of the last record")
    add("--requests-per-window", type=int, default=_DEFAULTS.requests_per_window, help="requests in 300 s; 0: no limit")
    add("--block-seconds", type=float, default=_DEFAULTS.block_seconds, help="seconds for which 429 is returned")
    add("--gzip", action="store_true", help="compress responses for clients that accept it")
    add("--latency-ms", type=float, default=0.0, help="delay of every response in milliseconds")
    add("--cache-mb", type=int, default=_DEFAULTS.cache_bytes // 1024 // 1024, help="MB of records kept in memory")
    add(
        "--misbehave",
        action="append",
        type=parse_switch,
        default=[],
        metavar="KIND=VALUE,every=N",
        help="switch on a misbehaviour; may be repeated",
    )
    add("--list-misbehaviours", action="store_true", help="print every misbehaviour and exit")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
