"""Compressed parts are read by common tools."""

from __future__ import annotations

import gzip
import io

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.formats.compression import open_compressor, open_plain
from tests.hypothesis_profiles import examples


def compress(compression: str, *pieces: bytes) -> bytes:
    """Returns the compressed stream of these pieces."""
    compressor = open_compressor(compression)
    return b"".join([compressor.compress(piece) for piece in pieces] + [compressor.flush()])


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@examples(25)
@given(pieces=st.lists(st.binary(max_size=300), max_size=5))
def test_any_bytes_are_read_back(compression: str, pieces: list[bytes]) -> None:
    """Any bytes in any pieces are read back unchanged."""
    assert open_plain(compression, compress(compression, *pieces)).read() == b"".join(pieces)


def test_the_standard_library_reads_our_gzip() -> None:
    """The standard library reads a gzip part."""
    assert gzip.decompress(compress("gzip", b"a" * 100_000, b"b")) == b"a" * 100_000 + b"b"
    assert gzip.decompress(compress("gzip")) == b""


def test_zstandard_reads_our_zstd() -> None:
    """The zstandard library reads a zstd part as a stream."""
    content = compress("zstd", b"a" * 100_000, b"b")
    assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read() == b"a" * 100_000 + b"b"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_similar_lines_are_compressed(compression: str) -> None:
    """Similar lines become much smaller."""
    assert len(compress(compression, b'{"id":"a"}\n' * 10_000)) < 5_000
