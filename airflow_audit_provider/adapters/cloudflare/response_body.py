"""Bodies of responses: content-decoded piece by piece, and never larger in memory than a limit.

httpx decodes each piece whole, with every coding that is installed: 64 KB of nested gzip or of zstd can be gigabytes.
The client asks for gzip and deflate alone, and each call decodes at most what is still allowed.

Invariant: at most one byte more than the limit is decoded.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from airflow_audit_provider.exceptions import SourceUnavailableError

ACCEPT_ENCODING = "gzip, deflate"
DEFAULT_MAX_RESPONSE_BYTES = 128 << 20
_GZIP_WINDOW, _ZLIB_WINDOW, _RAW_WINDOW = 31, 15, -15
_WINDOWS = {"gzip": _GZIP_WINDOW, "x-gzip": _GZIP_WINDOW, "deflate": _ZLIB_WINDOW}


class BodyDecoder:
    """Decodes a body by its ``Content-Encoding``; raises ``SourceUnavailableError`` for one that was not asked for."""

    def __init__(self, status: int, headers: Mapping[str, str], max_bytes: int) -> None:
        self._facts: dict[str, Any] = {"status": status, "ray_id": headers.get("cf-ray")}
        self._max_bytes = max_bytes
        coding = headers.get("content-encoding", "").strip().lower()
        if coding not in ("", "identity", *_WINDOWS):
            raise SourceUnavailableError(
                f"The API sent a body with the content coding {coding[:40]!r}, which was not requested. Retry later; "
                "if the error persists, check that no proxy changes the responses.",
                status=status,
                ray_id=headers.get("cf-ray"),
            )
        self._window = _WINDOWS.get(coding)
        self._decoder: zlib._Decompress | None = None

    def decode(self, piece: bytes, decoded_bytes: int = 0) -> bytes:
        """Returns the decoded bytes of the next piece, after ``decoded_bytes`` that count towards the limit.

        Raises ``SourceUnavailableError`` if they are too many, or if the piece cannot be decoded.
        """
        decoded = piece if self._window is None else self._decompress(piece, self._max_bytes + 1 - decoded_bytes)
        if decoded_bytes + len(decoded) > self._max_bytes:
            raise self._too_large()
        return decoded

    def check_received(self, byte_count: int) -> None:
        """Raises ``SourceUnavailableError`` if so many bytes, received or announced, are too many."""
        if byte_count > self._max_bytes:
            raise self._too_large()

    def check_end(self) -> None:
        """Raises ``SourceUnavailableError`` if the compressed body stops in the middle."""
        if self._decoder is not None:
            raise self._broken("it stops in the middle")

    def _decompress(self, piece: bytes, max_bytes: int) -> bytes:
        decoded: list[bytes] = []
        while piece and max_bytes > 0:
            self._decoder = decoder = self._decoder or self._new_decoder(piece)
            try:
                # With less output than allowed, the whole piece is consumed.
                decoded.append(decoder.decompress(piece, max_bytes))
            except zlib.error as error:
                raise self._broken(str(error)) from error
            max_bytes -= len(decoded[-1])
            # RFC 1952, 2.2: "A gzip file consists of a series of "members"", each of which is decoded.
            piece = b""
            if decoder.eof:
                piece, self._decoder = decoder.unused_data, None
        return b"".join(decoded)

    def _new_decoder(self, start: bytes) -> zlib._Decompress:
        window = self._window or _GZIP_WINDOW
        if window == _ZLIB_WINDOW and start[0] & 0x0F != zlib.DEFLATED:
            # RFC 9110, 8.4.1.2: "Some non-conformant implementations send the "deflate" compressed data without the
            # zlib wrapper."
            window = _RAW_WINDOW
        return zlib.decompressobj(window)

    def _too_large(self) -> SourceUnavailableError:
        return SourceUnavailableError(
            f"The API sent a response of more than {self._max_bytes} bytes, which is not read further. Retry later; if "
            "the pages of this log really are that large, raise max_response_bytes in the connection's extra.",
            **self._facts,
        )

    def _broken(self, reason: str) -> SourceUnavailableError:
        return SourceUnavailableError(
            f"The API sent a compressed body that cannot be decoded ({reason}). Retry later; if the error persists, "
            "check that no proxy changes the responses.",
            **self._facts,
        )


class Body:
    """Collects a whole body within the limit."""

    def __init__(self, status: int, headers: Mapping[str, str], max_bytes: int) -> None:
        self._decoder = BodyDecoder(status, headers, max_bytes)
        length = headers.get("content-length", "")
        self._decoder.check_received(int(length) if length.isdecimal() else 0)
        self._pieces: list[bytes] = []
        self._received_bytes = self._decoded_bytes = 0

    def add(self, piece: bytes) -> None:
        """Adds the next piece as it was received."""
        # Received bytes are limited as well: compressed blocks can be empty without end.
        self._received_bytes += len(piece)
        self._decoder.check_received(self._received_bytes)
        decoded = self._decoder.decode(piece, self._decoded_bytes)
        self._decoded_bytes += len(decoded)
        self._pieces.append(decoded)

    def complete(self) -> bytes:
        """Returns the whole decoded body."""
        self._decoder.check_end()
        return b"".join(self._pieces)
