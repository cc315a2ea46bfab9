"""Stream compressors for text formats, deterministic for one version of their library.

Knows: gzip (ISA-L), zstd, none. Must not know: what is compressed.
Its one rule: no clock and no file name in the output.
"""

from __future__ import annotations

import importlib
import io
from types import ModuleType
from typing import Any, BinaryIO, Protocol

_GZIP_LEVEL = 1
_ZSTD_LEVEL = 1
# zlib's window size for a gzip wrapper: 15 bits and 16 for the header and trailer, which carry no time.
_GZIP_WINDOW_BITS = 31


class Compressor(Protocol):
    """Takes bytes, gives compressed bytes; ``flush`` ends the stream."""

    def compress(self, content: bytes, /) -> bytes:
        """Take bytes in; return what is ready."""
        ...

    def flush(self) -> bytes:
        """End the stream; return its last bytes."""
        ...


class _Plain:
    """No compression."""

    def compress(self, content: bytes, /) -> bytes:
        return content

    def flush(self) -> bytes:
        return b""


def open_compressor(compression: str) -> Compressor:
    """Return a new stream compressor for ``gzip``, ``zstd`` or ``none``."""
    if compression == "gzip":
        from isal import isal_zlib

        stream: Compressor = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW_BITS)
        return stream
    if compression == "zstd":
        zstd_stream: Compressor = _zstandard().ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
        return zstd_stream
    return _Plain()


def open_plain(compression: str, content: bytes) -> BinaryIO:
    """Return a compressed object's content as a file, decompressed while it is read: plain it is ten times its size."""
    compressed = io.BytesIO(content)
    if compression == "gzip":
        from isal import igzip

        plain: Any = igzip.GzipFile(fileobj=compressed)  # type: ignore[no-untyped-call]  # isal has no types here
        return io.BufferedReader(plain)
    if compression == "zstd":
        return io.BufferedReader(_zstandard().ZstdDecompressor().stream_reader(compressed))
    return compressed


def _zstandard() -> ModuleType:
    """Import the library when it is used; ``part_format`` has looked for it before."""
    return importlib.import_module("zstandard")
