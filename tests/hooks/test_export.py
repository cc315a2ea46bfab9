"""Tests of the CSV export: streamed rows, and a named error for an incomplete CSV."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    SourceAuthError,
    SourceProtocolError,
    SourceUnavailableError,
)
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from tests.operators.task_setup import END, START, TaskSetup

DAY: dict[str, Any] = {"since": START, "before": END}


class CountingBody(httpx.SyncByteStream):
    """A body that counts the pieces it has sent."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.given_count = 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.given_count += 1
            yield piece


def _hook(task_setup: TaskSetup, body: httpx.SyncByteStream, kind: str = "text/csv") -> CloudflareHook:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": kind}, stream=body)

    return CloudflareHook(transport=httpx.MockTransport(answer), clock=task_setup.clock)


def test_export_yields_a_row_for_each_record(task_setup: TaskSetup) -> None:
    """Yields every record that the API selects, with its columns by name."""
    rows = list(task_setup.hook().export_audit_logs(**DAY))
    assert set(task_setup.ids()) <= {row["id"] for row in rows}
    assert all(None not in row.values() for row in rows)
    assert ("export", "true") in task_setup.fake.requests[0].params


def test_iter_audit_logs_with_export_yields_the_same_rows(task_setup: TaskSetup) -> None:
    """The async method raises, because it has no export."""
    assert list(task_setup.hook().iter_audit_logs(**DAY, export=True)) == list(
        task_setup.hook().export_audit_logs(**DAY)
    )

    async def read() -> None:
        everything: dict[str, Any] = {**DAY, "export": True}
        async for _ in task_setup.hook().aiter_audit_logs(**everything):
            pass

    with pytest.raises(ConfigurationError, match="thread"):
        asyncio.run(read())


def test_export_yields_rows_while_the_body_arrives(task_setup: TaskSetup) -> None:
    """Yields rows before the last byte, whatever the length."""
    line = b"%06d," + b"x" * 1000 + b"\r\n"
    body = CountingBody([b"id,text\r\n", *(line % number for number in range(1000))])
    rows = _hook(task_setup, body).export_audit_logs(**DAY)
    assert next(rows)["id"] == "000000"
    assert body.given_count < 100
    assert sum(1 for _ in rows) == 999


def test_quoted_line_break_stays_in_its_field(task_setup: TaskSetup) -> None:
    """Keeps line breaks and quotes in one value, also across pieces of the body."""
    body = CountingBody([b"\xef\xbb\xbfid,te", b'xt\r\n1,"a\r\n', b'b ""q"" \xc3', b'\xa9"\r\n2,c\r\n'])
    rows = list(_hook(task_setup, body).export_audit_logs(**DAY))
    assert rows == [{"id": "1", "text": 'a\r\nb "q" é'}, {"id": "2", "text": "c"}]


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("wrong_length", SourceUnavailableError),
        ("cut_connection", SourceUnavailableError),
        ("no_answer", SourceUnavailableError),
        ("status=503", SourceUnavailableError),
        ("status=403", SourceAuthError),
        ("success_false", SourceUnavailableError),
        ("html=200", SourceUnavailableError),
        ("redirect", SourceProtocolError),
    ],
)
def test_incomplete_csv_is_a_named_error(task_setup: TaskSetup, spec: str, kind: type[AuditProviderError]) -> None:
    """Raises an error with a remedy for a cut, refused or replaced export."""
    task_setup.misbehave(spec)
    with pytest.raises(kind):
        list(task_setup.hook().export_audit_logs(**DAY))


@pytest.mark.parametrize(
    "line", [b"1," + b"x" * 200_000, b"1,\xff", b"1"], ids=["a long field", "no UTF-8", "half a row"]
)
def test_invalid_row_is_a_named_error(task_setup: TaskSetup, line: bytes) -> None:
    """Raises a named error for too long a field, invalid text or half a row."""
    try:
        rows = list(_hook(task_setup, CountingBody([b"id,text\r\n", line + b"\r\n"])).export_audit_logs(**DAY))
    except AuditProviderError:
        return
    assert all(None not in row.values() for row in rows)
