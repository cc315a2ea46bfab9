"""Index of seals: a copy of the seals up to one number with their signatures and time stamps, read by one request.

::

    _seals/index/000540.json   seals 1 to 540 ◄── seal 541 ◄── seal 542
                                    copied            read themselves

A seal contains the digest of the seal before it, so the first seal after the copies proves each of them; if there is
none, the newest seal is read and compared with its copy. Signatures prove themselves.

Invariant: an index is never the truth. One that disagrees with the listing or with the chain is ignored and reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.object_keys import seal_index_number, seal_key, seal_number
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding

_INDEX_VERSION = 1
# The first index has this many seals. After it, each run that adds a seal writes one, unless the index is large: then
# so many runs share its bytes, because reading a few seals costs less than writing it again.
_MOST_UNINDEXED = 4
_SMALL_BYTES = 4 << 20
# Removing older indexes is one call, so several runs share it.
_OLDER_COUNT = 16
_OLDER_BYTES = 32 << 20


class _Copy(msgspec.Struct, frozen=True):
    """Copy of an object; its content is base64 in the JSON."""

    key: str
    content: bytes


class _Index(msgspec.Struct, frozen=True):
    copies: tuple[_Copy, ...]
    index_version: int


class _Link(msgspec.Struct, frozen=True):
    """The fields of a seal that link it to the seal before it; decoding the others would take most of the time."""

    number: int
    previous_sha256: str | None


class UsableIndex(NamedTuple):
    """Copies by key, and the number of the newest copied seal; ``findings`` are about an index that was ignored."""

    copies: Mapping[str, bytes]
    number: int = 0
    findings: tuple[Finding, ...] = ()


def write_index(objects: Mapping[str, bytes]) -> bytes:
    """Returns the content of an index of these seals, signatures and time stamps."""
    copies = tuple(_Copy(key, objects[key]) for key in sorted(objects))
    return msgspec.json.encode(_Index(copies, _INDEX_VERSION))


def is_worth_writing(unindexed_count: int, index_bytes: int) -> bool:
    """Returns whether to write an index if so many seals are not in the one that was read, whose size this is.

    ``index_bytes`` is 0 without an index.
    """
    return unindexed_count >= (1 if 0 < index_bytes <= _SMALL_BYTES else _MOST_UNINDEXED)


def removable_indexes(sizes: Mapping[str, int]) -> list[str]:
    """Returns the keys of older indexes if they are many or large, else none.

    ``sizes`` are those of the objects that were listed among the seals before the newest index was written.
    """
    older = {key: size for key, size in sizes.items() if seal_index_number(key) is not None}
    return sorted(older) if len(older) >= _OLDER_COUNT or sum(older.values()) >= _OLDER_BYTES else []


def unwritten(key: str, error: Exception) -> tuple[Finding, ...]:
    """Returns the finding about an index that the store did not take."""
    return (finding(FindingKind.SEAL_INDEX_UNWRITTEN, key, f"The index of seals was not written. {error}"),)


def newest_index(sizes: Mapping[str, int]) -> str | None:
    """Returns the key of the newest index that is not newer than the newest seal; ``sizes`` are of listed objects."""
    last_number = _last_number(sizes)
    numbered = [(number, key) for key in sizes if (number := seal_index_number(key)) and number <= last_number]
    return max(numbered)[1] if numbered else None


def newer_index(sizes: Mapping[str, int]) -> tuple[Finding, ...]:
    """Returns a finding about the newest index if it is newer than the newest seal; ``sizes`` are of listed objects.

    A run writes an index after its seals, so the seals were removed, or no run has written this index.
    """
    numbered = [(number, key) for key in sizes if (number := seal_index_number(key))]
    number, key = max(numbered, default=(0, ""))
    is_newer = number > _last_number(sizes)
    problem = "it is newer than the newest seal. Compare this seal with the digest that you keep elsewhere."
    return _ignored(key, problem) if is_newer else ()


def _last_number(sizes: Mapping[str, int]) -> int:
    return max((number for key in sizes if (number := seal_number(key)) and key == seal_key(number)), default=0)


def oversized_index(key: str, sizes: Mapping[str, int]) -> UsableIndex | None:
    """Returns the finding about an index that is larger than copies of all listed objects up to its number, else None.

    No run writes such an index, and somebody could make it so large that a worker has no memory to read it.
    """
    number = seal_index_number(key) or 0
    copied = ((each, size) for each, size in sizes.items() if 0 < (seal_number(each) or 0) <= number)
    # No comma follows the last copy.
    most_bytes = len(write_index({})) + sum(_copy_bytes(each, size) for each, size in copied) - 1
    problem = "it is larger than copies of the listed objects: one of them is missing, or no run has written the index."
    return UsableIndex({}, findings=_ignored(key, problem)) if sizes[key] > most_bytes else None


def refused_index(key: str, reason: str) -> UsableIndex:
    """Returns the finding about an index that the store refuses to read."""
    return UsableIndex({}, findings=_ignored(key, f"it cannot be read. {reason}"))


def _copy_bytes(key: str, size_bytes: int) -> int:
    """Returns the size of a copy in an index with the comma after it: base64 makes four bytes of three or fewer."""
    return len(msgspec.json.encode(_Copy(key, b""))) + 1 + -(-size_bytes // 3) * 4


def read_index(key: str, content: bytes | None, sizes: Mapping[str, int]) -> UsableIndex:
    """Returns the copies of an index that agree with the listing and with each other; nothing proves them yet.

    ``sizes`` are those of all objects that are listed among the seals.
    """
    if content is None:
        # A run that wrote a newer one removed it.
        return UsableIndex({})
    number = seal_index_number(key) or 0
    copies = _read(content)
    problem = copies if isinstance(copies, str) else _problem(copies, number, sizes)
    if problem is not None or isinstance(copies, str):
        return UsableIndex({}, findings=_ignored(key, problem or ""))
    return UsableIndex(copies, number)


def proved_index(index: UsableIndex, key: str, newest: bytes | None, *, is_copied: bool) -> UsableIndex:
    """Returns the index if the seal that proves it continues its copies.

    ``newest`` are the bytes of the first seal after the copies or, if there is none (``is_copied``), those of the
    newest copied seal.
    """
    if not index.number:
        return index
    copy = index.copies[seal_key(index.number)]
    linked = newest is not None and _link(newest) == _Link(index.number + 1, hashlib.sha256(copy).hexdigest())
    if newest == copy if is_copied else linked:
        return index
    return UsableIndex({}, findings=_ignored(key, "the newest seal does not continue the copied ones."))


def differing_copies(copies: Mapping[str, bytes], key: str, objects: Mapping[str, bytes]) -> tuple[Finding, ...]:
    """Returns a finding about an index if one of its copies differs from the object itself."""
    differing = min((copied for copied, content in copies.items() if objects.get(copied) != content), default=None)
    return () if differing is None else _ignored(key, f"its copy of {differing} differs from the object.")


def _ignored(key: str, problem: str) -> tuple[Finding, ...]:
    return (finding(FindingKind.SEAL_INDEX_IGNORED, key, f"The index of seals is ignored: {problem}"),)


def _read(content: bytes) -> dict[str, bytes] | str:
    try:
        index = msgspec.json.decode(content, type=_Index)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return f"it cannot be read ({error})."
    if index.index_version != _INDEX_VERSION:
        return f"it has version {index.index_version}, which this release of the provider does not support."
    return {copy.key: copy.content for copy in index.copies}


def _problem(copies: Mapping[str, bytes], number: int, sizes: Mapping[str, int]) -> str | None:
    """Returns why copies are not used, as the end of a sentence."""
    for key, content in copies.items():
        copied = seal_number(key)
        if copied is None or copied > number:
            return f"it holds {key[:100]!r}, which does not belong there."
        if sizes.get(key) != len(content):
            return f"{key} is missing, or has another size than its copy."
    digest = None
    for each in range(1, number + 1):
        copy = copies.get(seal_key(each))
        if copy is None or _link(copy) != _Link(each, digest):
            return f"the copies of the seals up to {each} are no chain."
        digest = hashlib.sha256(copy).hexdigest()
    return None


def _link(content: bytes) -> _Link | None:
    try:
        return msgspec.json.decode(content, type=_Link)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
