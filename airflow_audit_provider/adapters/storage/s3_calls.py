"""Calls to S3 that s3fs makes of several requests: here each of them is one.

s3fs sends HEAD before a read and a copy, and HEAD and another listing after an empty listing. None of these answers is
needed.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from inspect import signature
from itertools import takewhile
from typing import Any

from airflow_audit_provider.core.ports import ListedObject

# S3's API reference on DeleteObjects: "The request can contain a list of up to 1,000 keys that you want to delete."
_REMOVED_AT_ONCE = 1000
# Amazon's guide to S3 on directory buckets: ListObjectsV2 returns their keys in no order, without ``start-after``.
_DIRECTORY_BUCKET = "--x-s3"
_AMAZON = ".amazonaws.com"


class S3Calls:
    """Requests for the keys below ``root`` of an s3fs file system."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs = fs
        self._bucket, base, _ = fs.split_path(root)
        self._base = f"{base}/" if base else ""
        # Whether a listing can begin at a key, None if that is not known. LocalStack 4.10 compares the key with those
        # that it has encoded for the response, and leaves out all that have a character before it that it encodes.
        self._has_ranges = False if self._bucket.endswith(_DIRECTORY_BUCKET) else None
        # Newer releases ask for the size first, to read a large object in pieces, unless they are given one connection;
        # older ones refuse the argument.
        parameters = signature(fs._cat_file).parameters  # noqa: SLF001 - the public cat_file takes any arguments
        self._whole = {"max_concurrency": 1} if "max_concurrency" in parameters else {}

    @property
    def can_list(self) -> bool:
        """Whether a listing has the current versions only; a version-aware file system needs that of s3fs."""
        return not self._fs.version_aware

    def read(self, path: str) -> bytes:
        """Returns an object's bytes; raises ``FileNotFoundError`` if it does not exist."""
        content: bytes = self._fs.cat_file(path, **self._whole)
        return content

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """Yields the keys below a prefix with their sizes and entity tags, see :meth:`present`."""
        return (ListedObject(key, entry["Size"], entry["ETag"].strip('"')) for key, entry in self._objects(prefix))

    def list_neighbours(self, prefixes: Sequence[str]) -> list[str]:
        """Returns the keys below several prefixes by one listing of the range from the first to the last, if possible.

        Keys between them are left out. The range ends at the latest where the prefixes' common beginning ends.
        """
        if self._has_ranges is not False:
            found = list(self._range(prefixes))
            self._has_ranges = bool(self._has_ranges or found or _AMAZON in str(self._fs.s3.meta.endpoint_url)) or None
            if self._has_ranges or not self._has_any(_common_beginning(prefixes)):
                return [key for key in found if key.startswith(tuple(prefixes))]
        keys = [key for prefix in prefixes for key, _ in self._objects(prefix)]
        if keys:
            self._has_ranges = False
        return keys

    def present(self, names: Collection[str]) -> dict[str, str | None]:
        """Returns which of these names of objects and folders exist, with the entity tag of each object.

        S3's API reference on the entity tag: "Objects created by the PUT Object, POST Object, or Copy operation, or
        through the AWS Management Console, and are encrypted by SSE-S3 or plaintext, have ETags that are an MD5 digest
        of their object data." Other tags equal no MD5 digest of the caller.
        """
        found: dict[str, str | None] = {}
        for page in self._pages(_common_beginning(names), Delimiter="/"):
            found.update((entry["Prefix"].removeprefix(self._base), None) for entry in page.get("CommonPrefixes", ()))
            found.update(
                (entry["Key"].removeprefix(self._base), entry["ETag"].strip('"')) for entry in page.get("Contents", ())
            )
        return {name: tag for name, tag in found.items() if name in names}

    def put(self, key: str, content: bytes) -> bool:
        """Writes an object by one request; returns whether the response has the digest of these bytes."""
        # call_s3 does not reset the cache of s3fs, as its own methods do.
        self._fs.invalidate_cache()
        out = self._fs.call_s3("put_object", Bucket=self._bucket, Key=self._base + key, Body=content)
        crc32 = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return out.get("ChecksumCRC32") == crc32 or str(out.get("ETag")).strip('"') == md5

    def copy(self, source: str, target: str) -> None:
        """Copies an object of less than 5 GB; raises ``FileNotFoundError`` if it does not exist."""
        place = {"Bucket": self._bucket, "Key": self._base + source}
        self._fs.call_s3("copy_object", Bucket=self._bucket, Key=self._base + target, CopySource=place)

    def remove(self, keys: Iterable[str]) -> None:
        """Removes objects, a thousand by one request; raises ``OSError`` for the first that the server refuses."""
        named_keys = [{"Key": self._base + key} for key in keys]
        for start in range(0, len(named_keys), _REMOVED_AT_ONCE):
            named = {"Objects": named_keys[start : start + _REMOVED_AT_ONCE], "Quiet": True}
            out = self._fs.call_s3("delete_objects", Bucket=self._bucket, Delete=named)
            for error in out.get("Errors", ()):
                if error.get("Code") != "NoSuchKey":
                    raise _refusal(error)

    def _range(self, prefixes: Sequence[str]) -> Iterator[str]:
        last = max(prefixes)
        for key, _ in self._objects(_common_beginning(prefixes), StartAfter=self._base + min(prefixes)):
            yield key
            if key > last and not key.startswith(last):
                return

    def _has_any(self, prefix: str) -> bool:
        return any(page.get("Contents") for page in self._pages(prefix, MaxKeys=1))

    def _objects(self, prefix: str, **range_: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for page in self._pages(prefix, **range_):
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(self._base), entry

    def _pages(self, prefix: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Yields the pages of a listing; a bucket that does not exist has none."""
        while True:
            try:
                page = self._fs.call_s3(
                    "list_objects_v2",
                    Bucket=self._bucket,
                    Prefix=self._base + prefix,
                    **{**getattr(self._fs, "req_kw", {}), **parameters},
                )
            except FileNotFoundError:
                return
            yield page
            if not page.get("IsTruncated"):
                return
            parameters["ContinuationToken"] = page["NextContinuationToken"]


def _common_beginning(names: Collection[str]) -> str:
    """Returns the characters with which all names begin."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same)


def _refusal(error: dict[str, Any]) -> OSError:
    text = f"{error.get('Code')}: {error.get('Message')} ({error.get('Key')})"
    return PermissionError(text) if error.get("Code") == "AccessDenied" else OSError(5, text)
