"""Uploads to S3 carry their CRC32 in a header, also over TLS."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import FsspecStore
from airflow_audit_provider.exceptions import StorageUnavailableError

pytestmark = pytest.mark.integration
BODY = b"some records"
CRC32 = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
MULTIPART = {"PartNumber": 1, "UploadId": "one"}
Sent = Callable[..., Mapping[str, Any]]


class _NotSentError(Exception):
    """Replaces the sending of a request."""


def _open(**options: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Opens s3fs on an endpoint with TLS that does not exist; returns the headers that each request would have."""
    where = {"endpoint_url": "https://127.0.0.1:9", "region_name": "us-east-1"}
    options = {"client_kwargs": where, "skip_instance_cache": True, **options}
    fs, headers = fsspec.filesystem("s3", key="test", secret="test", **options), []

    def keep(request: Any, **_: Any) -> None:
        headers.append({name.lower(): value for name, value in request.headers.items()})
        raise _NotSentError

    fs.s3.meta.events.register("before-send.s3", keep)
    return fs, headers


def _headers(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.mark.parametrize(("operation", "more"), [("put_object", {}), ("upload_part", MULTIPART)])
def test_crc32_of_an_upload_is_a_header(operation: str, more: dict[str, Any]) -> None:
    """The store's client sends the CRC32 and its name as headers, and no trailer."""
    fs, headers = _open()
    with pytest.raises(StorageUnavailableError):
        FsspecStore(fs, "bucket/x").create("key", BODY)
    with pytest.raises(_NotSentError):
        fs.call_s3(operation, Bucket="bucket", Key="key", Body=BODY, **more)
    for sent in (headers[0], headers[-1]):
        assert _headers(sent["x-amz-checksum-crc32"]) == CRC32
        assert _headers(sent["x-amz-sdk-checksum-algorithm"]) == "CRC32"
        assert "x-amz-trailer" not in sent


def test_library_alone_would_send_a_trailer() -> None:
    """Without the store, botocore appends it to the body; if that changes, the handler is not needed."""
    fs, headers = _open()
    with pytest.raises(_NotSentError):
        fs.call_s3("put_object", Bucket="bucket", Key="key", Body=BODY)
    assert _headers(headers[0]["x-amz-trailer"]) == "x-amz-checksum-crc32"
    assert "x-amz-checksum-crc32" not in headers[0]


@pytest.mark.parametrize(
    ("options", "more", "name"),
    [
        ({"config_kwargs": {"request_checksum_calculation": "when_required"}}, {}, None),
        ({}, {"ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, "content-md5"),
        ({}, {"ChecksumSHA256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, "x-amz-checksum-sha256"),
    ],
    ids=["switched off", "MD5", "SHA256"],
)
def test_other_choice_of_the_caller_is_kept(options: dict[str, Any], more: dict[str, Any], name: str | None) -> None:
    """A connection that switches it off sends none; a caller's own header stays the only one."""
    fs, headers = _open(**options)
    with suppress(StorageUnavailableError):
        FsspecStore(fs, "bucket/x").create("key", BODY)
    with pytest.raises(_NotSentError):
        fs.call_s3("put_object", Bucket="bucket", Key="key", Body=BODY, **more)
    assert "x-amz-checksum-crc32" not in headers[-1]
    assert name is None or name in headers[-1]
