"""ClickHouse's HTTP interface: statements as text, Arrow tables and JSON lines as the body of an INSERT.

The interface is documented (https://clickhouse.com/docs/interfaces/http), so no library of ClickHouse is needed. The
one that exists repeats a request whose connection was closed; here, a request is sent once.

Invariant: no request is repeated, and every error becomes a named one that has no password in its text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.request import getproxies

import httpx

from airflow_audit_provider.adapters.cloudflare.certificates import check_trusted, trust, trust_nobody
from airflow_audit_provider.adapters.cloudflare.proxies import choose_proxy
from airflow_audit_provider.adapters.warehouses.clickhouse_errors import refusal, unreachable

# A statement of a load takes seconds; a server that is busy with merges delays an INSERT.
_TIMEOUT = httpx.Timeout(600.0, connect=20.0)
_OK = 200
_PIECE_BYTES = 1 << 18
# The whole result before the status line, so that an error in the middle of a statement has an error's status; numbers
# of 64 bits as numbers; and reads of a cluster that include every write that was acknowledged.
_SETTINGS = {
    "wait_end_of_query": "1",
    "default_format": "JSONCompactEachRow",
    "output_format_json_quote_64bit_integers": "0",
    "select_sequential_consistency": "1",
}
# An asynchronous INSERT is acknowledged before it is written.
_INSERT_SETTINGS = {"wait_end_of_query": "1", "async_insert": "0", "insert_deduplicate": "1"}
# Values of parameters are written as in the format TabSeparated.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


class ClickHouseServer(NamedTuple):
    """Address and login of a server; without ``is_verified`` any certificate is accepted."""

    url: str
    login: str = "default"
    password: str = ""
    is_verified: bool = True

    def __repr__(self) -> str:
        return f"ClickHouseServer({self.url!r})"


class ClickHouseClient:
    """One client of a server, which keeps its connections open until ``close``."""

    def __init__(self, server: ClickHouseServer) -> None:
        self._url = server.url
        self._insert_settings = _INSERT_SETTINGS
        context = trust(None, os.environ) if server.is_verified and self._url.startswith("https") else trust_nobody()
        proxy = choose_proxy(self._url, None, getproxies())
        self._client = httpx.Client(
            # Base64 takes every character. A header refuses some, and the error would quote the password.
            auth=httpx.BasicAuth(server.login, server.password),
            timeout=_TIMEOUT,
            verify=context if server.is_verified else False,
            proxy=httpx.Proxy(proxy.url, auth=proxy.auth) if proxy else None,
            trust_env=False,
        )

    def execute(self, statement: str, **parameters: str | int) -> list[list[Any]]:
        """Runs one statement with ``{name:Type}`` for each parameter; returns its rows."""
        settings = {f"param_{name}": str(value).translate(_ESCAPES) for name, value in parameters.items()}
        content = self._post({**_SETTINGS, **settings}, statement.encode())
        try:
            return [list(json.loads(line)) for line in content.splitlines() if line]
        except (ValueError, TypeError) as error:
            raise refusal(self._url, _OK, "", content.decode(errors="replace")) from error

    def require_deduplication(self) -> None:
        """Lets tokens count on newer servers too, where ``deduplicate_insert`` supersedes ``insert_deduplicate``."""
        if self.execute("SELECT name FROM system.settings WHERE name = 'deduplicate_insert'"):
            self._insert_settings = {**_INSERT_SETTINGS, "deduplicate_insert": "enable"}

    def insert(self, statement: str, content: bytes | memoryview, token: str) -> None:
        """Runs an INSERT whose rows are the content.

        The server ignores the rows if it has inserted others with the same token, as long as the table remembers it.
        """
        self._post({**self._insert_settings, "insert_deduplication_token": token, "query": statement}, content)

    def _post(self, parameters: Mapping[str, str], content: bytes | memoryview) -> bytes:
        view = memoryview(content)
        headers = {"Content-Length": str(view.nbytes)}
        try:
            response = self._client.post(self._url, params=dict(parameters), content=_pieces(view), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            check_trusted(error, self._client.base_url.host or self._url, has_extra=False)
            raise unreachable(self._url, error) from error
        code = response.headers.get("X-ClickHouse-Exception-Code", "")
        if response.status_code != _OK or code:
            raise refusal(self._url, response.status_code, code, response.text)
        return response.content

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def _pieces(content: memoryview) -> Iterator[bytes]:
    """Yields the content in pieces: httpx and h11 copy what they send, and copies of 16 MiB take 200 MB in the end."""
    for start in range(0, content.nbytes, _PIECE_BYTES):
        yield bytes(content[start : start + _PIECE_BYTES])
