"""Object Lock of S3: until when the bucket keeps each object, and what it asks of uploads.

The quoted sentences without a source are from Amazon's guide to S3, "Managing Amazon S3 object locks".
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_audit_provider.adapters.storage.errors import status_of, translate_storage_errors
from airflow_audit_provider.core.ports import ObjectLock

# The requests wait for the network; s3fs keeps ten connections.
_CONCURRENT_REQUESTS = 8
_KEYS_AT_ONCE = 100
_UPLOADS = ("PutObject", "UploadPart")
# The beginnings of S3's names for what a caller may send instead.
_INTEGRITY_PARAMETERS = tuple("ContentMD5 ChecksumAlgorithm ChecksumCRC ChecksumMD5 ChecksumSHA ChecksumXXHASH".split())


def is_s3(fs: Any) -> bool:
    """Returns whether an fsspec file system is s3fs, which has a method for each operation of S3's API."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return "s3" in protocols and hasattr(fs, "call_s3")


def send_crc32_in_headers(fs: Any) -> None:
    """Lets the client of an s3fs file system send the CRC32 of each upload in a header; idempotent.

    Over TLS, botocore appends it to the body, as a trailer. S3's API reference says of the header Content-MD5 of
    UploadPart "This parameter is required if object lock parameters are specified", and S3 refuses other parts (issue
    1436 of s3cmd): "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Part requests with Object Lock
    parameters". Pull request 1363 of clickhouse-backup reports the same for parts with a trailer. A header serves every
    bucket.
    """
    events = fs.s3.meta.events
    for operation in _UPLOADS:
        unique_id = f"airflow-audit-provider-{operation}"
        events.register(f"before-parameter-build.s3.{operation}", _add_crc32, unique_id=unique_id)


def _add_crc32(params: dict[str, Any], context: Any, **_: Any) -> None:
    """Adds what botocore would append, unless the caller or the connection chooses otherwise."""
    body = params.get("Body")
    is_wanted = context["client_config"].request_checksum_calculation != "when_required"
    has_other = any(name.startswith(_INTEGRITY_PARAMETERS) for name in params)
    if is_wanted and not has_other and isinstance(body, bytes | bytearray | memoryview):
        params["ChecksumAlgorithm"] = "CRC32"
        params["ChecksumCRC32"] = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


class S3ObjectLocks:
    """Implements :class:`~airflow_audit_provider.core.ports.ObjectLockReader` for a bucket, or an S3-compatible one."""

    def __init__(self, fs: Any, path_of: Callable[[str], str]) -> None:
        self._fs = fs
        self._path_of = path_of

    def is_enabled(self) -> bool:
        """Returns False if the bucket has no Object Lock configuration, or its server does not know Object Lock.

        "If you make a request for an Object Lock configuration against a bucket that doesn't have S3 Object Lock
        enabled, Amazon S3 returns an error": 404. It needs the permission s3:GetBucketObjectLockConfiguration; without
        it (403) the objects are asked one by one.
        """
        with translate_storage_errors("asked for its lock", "the bucket"):
            try:
                found = self._fs.call_s3("get_object_lock_configuration", Bucket=self._split("")[0])
            except OSError as error:
                status = status_of(error)
                if status not in {400, 403, 404, 405, 501}:
                    raise
                return status == 403
            return bool(found["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled")

    def read(self, keys: Iterable[str]) -> Iterator[tuple[str, ObjectLock]]:
        """Yields the lock of the current version of each object, by HeadObject.

        "If you GET or HEAD an object version but don't have the necessary permissions to view its lock status, the
        request succeeds. However, it doesn't return information that you don't have permission to view": the object
        then looks as if it had no lock.
        """
        asked = list(keys)
        with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as requests:
            # Not all at once, so that an error does not leave thousands of requests to wait for.
            for start in range(0, len(asked), _KEYS_AT_ONCE):
                some = asked[start : start + _KEYS_AT_ONCE]
                locks = zip(some, requests.map(self._lock_of, some), strict=True)
                yield from ((key, lock) for key, lock in locks if lock is not None)

    def _lock_of(self, key: str) -> ObjectLock | None:
        bucket, name = self._split(key)
        with translate_storage_errors("asked for its lock", key):
            try:
                head = self._fs.call_s3("head_object", Bucket=bucket, Key=name)
            except FileNotFoundError:
                return None
        return ObjectLock(
            mode=head.get("ObjectLockMode"),
            until=head.get("ObjectLockRetainUntilDate"),
            has_legal_hold=head.get("ObjectLockLegalHoldStatus") == "ON",
        )

    def _split(self, key: str) -> tuple[str, str]:
        bucket, name, _ = self._fs.split_path(self._path_of(key))
        return bucket, name
