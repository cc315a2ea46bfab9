"""TLS inside a stream that is encrypted already: https through a tunnel of a proxy that is reached by https itself.

httpcore's own stream for this waits anew for each piece of a record, so a server that sends it byte by byte is waited
for without end. Here every wait is one of the outer stream, which knows the deadline.

Invariant: the certificate and the host's name are checked as for any other stream.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

import httpcore

_RECORD_BYTES = 16_384
# A length of time that httpcore calls a timeout; None for no limit.
_Seconds: TypeAlias = float | None
_Result = TypeVar("_Result")


class NestedTls(httpcore.NetworkStream):
    """An encrypted stream inside another stream; raises ``ConnectError`` if TLS cannot be negotiated."""

    def __init__(
        self, outer: httpcore.NetworkStream, context: ssl.SSLContext, host: str | None, timeout: _Seconds
    ) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        try:
            self._perform(self._tls.do_handshake, timeout)
        except ssl.SSLError as error:
            outer.close()
            raise httpcore.ConnectError(str(error)) from error
        except BaseException:
            outer.close()
            raise

    def read(self, max_bytes: int, timeout: _Seconds = None) -> bytes:
        """Returns what has arrived, nothing once the other end has closed."""
        try:
            return self._perform(partial(self._tls.read, max_bytes), timeout)
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: _Seconds = None) -> None:
        """Sends all bytes."""
        try:
            self._perform(partial(self._tls.write, buffer), timeout)
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Closes the socket."""
        self._outer.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: _Seconds = None
    ) -> httpcore.NetworkStream:
        """Returns a stream encrypted once more."""
        return NestedTls(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, name: str) -> Any:
        """Returns a fact about the connection."""
        return self._tls if name == "ssl_object" else self._outer.get_extra_info(name)

    def _perform(self, action: Callable[[], _Result], timeout: _Seconds) -> _Result:
        """Performs an action, and exchanges with the other end what it needs."""
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self._send_pending(timeout)
                self._receive(timeout)
            else:
                self._send_pending(timeout)
                return result

    def _send_pending(self, timeout: _Seconds) -> None:
        if self._outgoing.pending:
            self._outer.write(self._outgoing.read(), timeout)

    def _receive(self, timeout: _Seconds) -> None:
        received = self._outer.read(_RECORD_BYTES, timeout)
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()
