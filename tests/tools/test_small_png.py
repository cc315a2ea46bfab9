"""A picture is written again with the same pixels."""

from __future__ import annotations

import struct
import zlib

import pytest

from tools.small_png import pixel_rows, small

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(rows: bytes, height: int, *, depth: int = 8) -> bytes:
    """Returns a picture of two pixels in a row, whose rows begin with their filters."""
    header = struct.pack(">IIBBBBB", 2, height, depth, 2, 0, 0, 0)
    pieces = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in pieces
    )


def test_small_png_has_the_pixels_of_each_filter() -> None:
    """Each row is given with another filter, and all of them are the same row."""
    plain = bytes([10, 20, 30, 11, 22, 33])
    lines = [
        b"\0" + plain,
        b"\1" + bytes([10, 20, 30, 1, 2, 3]),
        b"\2" + bytes(6),
        b"\3" + bytes([5, 10, 15, 1, 1, 2]),
        b"\4" + bytes([0, 0, 0, 0, 0, 0]),
    ]
    found = small(png(b"".join(lines), len(lines)))
    assert pixel_rows(found)[1] == [plain] * len(lines)
    assert small(found) == found


def test_small_png_refuses_another_form() -> None:
    """A picture with 16 bits a sample is none of a browser."""
    with pytest.raises(ValueError, match="8 bits"):
        small(png(b"", 1, depth=16))
