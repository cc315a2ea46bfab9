"""Index of manifests: copies of the newest manifests of a month, read by one request.

::

    _manifest_index/2026-11.jsonl.gz   {"index_version":1}
                                       {"key":"_manifests/dt=2026-11-01/….g0001.json","manifest":{…}}
                                       …

A copy is used only if the listing shows its manifest with the copy's size, and with its digest where a listing has one.
Other readers, such as DuckDB, can read the lines after the first one, too.

Invariant: an index is never the truth. One that disagrees with the listing is ignored and reported, and each manifest
without a copy is read itself.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, PARTITION_START, manifest_index_month
from airflow_audit_provider.core.ports import ListedObject
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding

# A run that has read fewer manifests without a copy does not write an index: reading them again costs less.
MOST_UNINDEXED = 16
_INDEX_VERSION = 1
# A month of windows of a quarter hour has 3 MB. Anyone who can write to the store could write an index that fills the
# memory when it is decompressed.
_MOST_BYTES = 128 << 20
# zlib manual, inflateInit2: 15 bits of window plus 16 for a gzip header, whose time zlib leaves at zero.
_GZIP_WINDOW_BITS = 31


class _Header(msgspec.Struct, frozen=True):
    index_version: int


class _Copy(msgspec.Struct, frozen=True):
    """Copy of a manifest; ``manifest`` are its bytes, which are the JSON of one object in one line."""

    key: str
    manifest: msgspec.Raw


class Copies(NamedTuple):
    """Copies of manifests by key, and why they are not used, as the end of a sentence."""

    contents: Mapping[str, bytes]
    problem: str | None = None


_HEADER_DECODER = msgspec.json.Decoder(_Header)
_COPY_DECODER = msgspec.json.Decoder(_Copy)


def write_index(contents: Mapping[str, bytes]) -> bytes | None:
    """Returns the content of an index with copies of these manifests, None if it would be too large.

    Older generations are left out, and so are manifests whose bytes cannot be copied into a line.
    """
    copies = [_Copy(key, msgspec.Raw(contents[key])) for key in sorted(newest(contents)) if _is_line(contents[key])]
    lines = msgspec.json.Encoder().encode_lines([_Header(_INDEX_VERSION), *copies])
    if len(lines) > _MOST_BYTES:
        return None
    return compressed(lines)


def newest(keys: Iterable[str]) -> set[str]:
    """Returns the key of the newest generation of each window among keys of manifests."""
    found: dict[str, tuple[int, str]] = {}
    for key in keys:
        window = key.rpartition(".g")[0]
        found[window] = max(found.get(window, (0, "")), (len(key), key))
    return {key for _, key in found.values()}


def _is_line(content: bytes) -> bool:
    return content.startswith(b"{") and content.endswith(b"}") and b"\n" not in content


def read_index(key: str, content: bytes, most_bytes: int = _MOST_BYTES) -> Copies:
    """Returns the copies in an index by the keys of their manifests, or why it cannot be read.

    Of an index with more than ``most_bytes``, nothing is kept.
    """
    lines = decompressed(content, min(most_bytes, _MOST_BYTES))
    if lines is None:
        return Copies({}, "it is cut, too large, or not compressed by gzip.")
    header, _, rest = lines.partition(b"\n")
    try:
        version = _HEADER_DECODER.decode(header).index_version
        if version != _INDEX_VERSION:
            return Copies({}, f"it has version {version}, which this release of the provider does not support.")
        copies = {copy.key: bytes(copy.manifest) for copy in _COPY_DECODER.decode_lines(rest)}
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return Copies({}, f"it cannot be read ({error}).")
    folders = f"{MANIFEST_FOLDER}{PARTITION_START}{manifest_index_month(key)}-"
    strange = next((copied for copied in copies if not copied.startswith(folders)), None)
    return (
        Copies(copies) if strange is None else Copies({}, f"it holds {strange[:100]!r}, which does not belong there.")
    )


def compressed(content: bytes) -> bytes:
    """Returns bytes as one gzip member, which depends on nothing but the bytes and the version of zlib."""
    stream = zlib.compressobj(wbits=_GZIP_WINDOW_BITS)
    return stream.compress(content) + stream.flush()


def decompressed(content: bytes, most_bytes: int = _MOST_BYTES) -> bytes | None:
    """Returns decompressed bytes, None if they are not exactly one gzip member of a sensible size."""
    stream = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        lines = stream.decompress(content, most_bytes)
    except zlib.error:
        return None
    return lines if stream.eof and not stream.unused_data else None


def problem_with(copies: Mapping[str, bytes], listed: Mapping[str, ListedObject]) -> str | None:
    """Returns how copies disagree with the listed manifests, as the end of a sentence; digests are not compared."""
    for key, content in copies.items():
        stated = listed.get(key)
        if stated is None:
            return f"it has a copy of {key}, which does not exist."
        if stated.size_bytes != len(content):
            return f"its copy of {key} has another size than the manifest."
    return None


def unproved(copies: Mapping[str, bytes], listed: Mapping[str, ListedObject]) -> list[str]:
    """Returns the keys of copies whose digest is not the one that the listing states; those without one are left out.

    S3 with SSE-KMS or SSE-C states another text than the MD5 digest, so such a copy may still be right.
    """
    return [
        key for key, content in copies.items() if (stated := listed[key].md5) is not None and md5_of(content) != stated
    ]


def md5_of(content: bytes) -> str:
    """Returns the digest that a listing states."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def differing(key: str) -> str:
    """Returns the problem of an index whose copy of a manifest differs from it, as the end of a sentence."""
    return f"its copy of {key} differs from the manifest."


def ignored(key: str, problem: str) -> Finding:
    """Returns the finding about an index that was not used."""
    return finding(FindingKind.MANIFEST_INDEX_IGNORED, key, f"The index of manifests is ignored: {problem}")


def unwritten(key: str, error: Exception) -> Finding:
    """Returns the finding about an index that the store did not take."""
    return finding(FindingKind.MANIFEST_INDEX_UNWRITTEN, key, f"The index of manifests was not written. {error}")
