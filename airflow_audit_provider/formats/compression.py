"""Stream compressors for text formats: gzip by ISA-L, zstd, or none.

Invariant: the output depends on the input and the library's version alone. It has no time and no file name.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, Protocol

_GZIP_LEVEL = 1
_ZSTD_LEVEL = 1
# zlib manual, deflateInit2: 15 bits of window plus 16 for a gzip header and trailer. Its header's time is zero.
_GZIP_WINDOW_BITS = 31


class Compressor(Protocol):
    """Compresses a stream of bytes."""

    def compress(self, content: bytes, /) -> bytes:
        """Takes bytes in; returns the compressed bytes that are ready."""
        ...

    def flush(self) -> bytes:
        """Ends the stream; returns its last bytes."""
        ...


class _Plain:
    """Passes bytes on as they are."""

    def compress(self, content: bytes, /) -> bytes:
        return content

    def flush(self) -> bytes:
        return b""


def open_compressor(compression: str) -> Compressor:
    """Returns a new stream compressor for ``gzip``, ``zstd`` or ``none``."""
    if compression == "gzip":
        from isal import isal_zlib

        stream: Compressor = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW_BITS)
        return stream
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
    return _Plain()


def open_plain(compression: str, content: bytes) -> BinaryIO:
    """Returns a compressed object's content as a file.

    It is decompressed while it is read, because the plain content is ten times the compressed size.
    """
    compressed = io.BytesIO(content)
    if compression == "gzip":
        from isal import igzip

        plain: Any = igzip.GzipFile(fileobj=compressed)  # type: ignore[no-untyped-call]  # isal has no types here
        return io.BufferedReader(plain)
    if compression == "zstd":
        import zstandard

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(compressed))
    return compressed
