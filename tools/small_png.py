"""Writes a PNG of a browser again with fewer bytes and the same pixels: ``python -m tools.small_png IN OUT``.

Browsers compress screenshots quickly and with a filter for each row. A page has large areas of one colour and the same
letters many times, so zlib finds more repetitions in rows without a filter.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# PNG specification, 11.2.2: bytes of a pixel by colour type, for 8 bits a sample.
_PIXEL_BYTES = {2: 3, 6: 4}
_HEADER = struct.Struct(">IIBBBBB")


def small(content: bytes) -> bytes:
    """Returns a PNG with the same pixels; raises ``ValueError`` for a form that browsers do not write."""
    header, rows = pixel_rows(content)
    stream = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9)
    packed = stream.compress(b"".join(b"\0" + row for row in rows)) + stream.flush()
    pieces = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return _SIGNATURE + b"".join(_piece(name, body) for name, body in pieces)


def pixel_rows(content: bytes) -> tuple[bytes, list[bytes]]:
    """Returns the header of a PNG and the bytes of its pixels, row by row."""
    pieces = list(_pieces(content))
    header = next(body for name, body in pieces if name == b"IHDR")
    width, height, depth, colour, _, _, interlaced = _HEADER.unpack(header)
    if depth != 8 or interlaced or colour not in _PIXEL_BYTES:
        raise ValueError("The PNG is not one of 8 bits in true colour without interlacing.")
    step, packed = _PIXEL_BYTES[colour], b"".join(body for name, body in pieces if name == b"IDAT")
    filtered, length, row = zlib.decompress(packed), width * step, bytes(width * step)
    rows = []
    for start in range(0, height * (length + 1), length + 1):
        row = _unfiltered(filtered[start], filtered[start + 1 : start + 1 + length], row, step)
        rows.append(row)
    return header, rows


def _pieces(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        yield content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        at += length + 12


def _piece(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _unfiltered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    """Returns the bytes of a row; PNG specification, 9.2."""
    found = bytearray(line)
    for at, up in enumerate(above):
        left, corner = (found[at - step], above[at - step]) if at >= step else (0, 0)
        added = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]
        found[at] = (found[at] + added) & 255
    return bytes(found)


def _paeth(left: int, up: int, corner: int) -> int:
    """Returns the neighbour that is nearest to their linear estimate; PNG specification, 9.4."""
    estimate = left + up - corner
    return min((left, up, corner), key=lambda one: abs(estimate - one))


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(small(Path(sys.argv[1]).read_bytes()))
