"""Each operation of a store on S3 is one request, also in a long listing and in a directory bucket."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.s3_calls import S3Calls
from airflow_audit_provider.core.ports import Store
from tests.adapters.storage.store_fixtures import OpenStore, put

OPERATIONS: dict[str, tuple[Callable[[Store], object], list[str]]] = {
    "read": (lambda store: store.read("m/1"), ["GetObject"]),
    "read a missing object": (lambda store: store.read("m/none"), ["GetObject"]),
    "list": (lambda store: list(store.list_keys("m/")), ["ListObjectsV2"]),
    "list what is stated": (lambda store: list(store.list_objects("m/")), ["ListObjectsV2"]),
    "list an empty folder": (lambda store: list(store.list_keys("none/")), ["ListObjectsV2"]),
    "list folders": (lambda store: list(store.list_neighbours(["m/", "n/"])), ["ListObjectsV2"]),
    "look at the top": (lambda store: store.present(["m/", "n/"]), ["ListObjectsV2"]),
    "create": (lambda store: store.create("m/2", b"x"), ["PutObject"]),
    "create an existing object": (lambda store: store.create("m/1", b"x"), ["PutObject"]),
    "stage": (lambda store: put(store, "s/1"), ["PutObject"]),
    "publish": (lambda store: store.publish("m/1", "p/1"), ["CopyObject"]),
    "put": (lambda store: store.put("p/2", b"x"), ["PutObject"]),
    "remove": (lambda store: store.remove(["m/1"]), ["DeleteObject"]),
    "remove several": (lambda store: store.remove(["m/1", "m/none", "m/2"]), ["DeleteObjects"]),
}


@pytest.mark.integration
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_one_request(name: str, open_at: OpenStore) -> None:
    """No request precedes or follows the one that is needed."""
    store, sent = open_at("s3-moto", "/x"), []
    put(store, "m/1")
    operation, expected = OPERATIONS[name]

    def note(model: Any, **_: Any) -> None:
        sent.append(model.name)

    events = store._fs.s3.meta.events
    events.register("before-call.s3", note)
    try:
        operation(store)
    finally:
        events.unregister("before-call.s3", note)
    assert sent == expected


@pytest.mark.integration
@pytest.mark.parametrize("status", [400, 405, 501])
def test_server_without_a_removal_of_several_gets_one_by_one(
    status: int, open_at: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects are removed also if the server refuses to remove several by one request."""
    store = open_at("s3-moto", "/x")
    for key in ("a", "b"):
        put(store, key)

    response: Any = {"ResponseMetadata": {"HTTPStatusCode": status}}
    # botocore has no types.
    cause: Exception = import_module("botocore.exceptions").ClientError(response, "DeleteObjects")

    def refuse(_keys: object) -> None:
        error = OSError(22, "not implemented")
        error.__cause__ = cause
        raise error

    monkeypatch.setattr(store._s3, "remove", refuse)
    store.remove(["a", "b"])
    assert list(store.list_keys("")) == []


@pytest.mark.integration
def test_upload_is_confirmed_by_its_digest(open_at: OpenStore) -> None:
    """The digest in the server's response confirms an upload."""
    assert open_at("s3-moto", "/x").put("a", b"some records")


class FakeS3:
    """Answers the calls that :class:`S3Calls` makes, from some keys, with two keys a page."""

    version_aware = False

    def __init__(self, keys: list[str], bucket: str = "bucket", **answers: Any) -> None:
        self.keys = sorted(keys)
        self.asked: list[dict[str, Any]] = []
        self._bucket = bucket
        self._answers = answers
        self.s3 = SimpleNamespace(meta=SimpleNamespace(endpoint_url="https://s3.example.com"))

    def split_path(self, path: str) -> tuple[str, str, None]:
        """Splits off the bucket."""
        return self._bucket, path.removeprefix(self._bucket).lstrip("/"), None

    async def _cat_file(self, path: str) -> bytes:
        """Has the signature of an older release, which is all that is asked of it."""
        raise AssertionError(f"{path} is not to be read")

    def invalidate_cache(self) -> None:
        """Has none."""

    def call_s3(self, method: str, **asked: Any) -> Any:
        """Lists, or returns the answer that was given."""
        self.asked.append(asked)
        if method != "list_objects_v2":
            return self._answers[method]
        after = asked.get("ContinuationToken") or asked.get("StartAfter", "")
        keys = [key for key in self.keys if key.startswith(asked["Prefix"]) and key > after]
        page = [{"Key": key, "Size": 1, "ETag": '"e"'} for key in keys[:2]]
        return {
            "Contents": page,
            "IsTruncated": len(keys) > 2,
            "NextContinuationToken": page[-1]["Key"] if page else "",
        }


def test_range_of_folders_ends_with_the_last_of_them() -> None:
    """Pages after the last folder are not requested, and what lies before the first is left out by the server."""
    fs = FakeS3([f"root/m/dt={day}/{number}" for day in range(10, 30) for number in range(3)])
    assert list(S3Calls(fs, "bucket/root").list_neighbours(["m/dt=14/", "m/dt=15/"])) == [
        f"m/dt={day}/{number}" for day in (14, 15) for number in range(3)
    ]
    assert [asked.get("StartAfter") for asked in fs.asked] == ["root/m/dt=14/"] * 4
    assert "MaxKeys" not in fs.asked[-1]
    assert {asked["Prefix"] for asked in fs.asked} == {"root/m/dt=1"}


class _EncodingS3(FakeS3):
    """Leaves out of a range all keys that have an equals sign before the range's first, as LocalStack 4.10 does."""

    def call_s3(self, method: str, **asked: Any) -> Any:
        """Answers with nothing if the range begins behind an equals sign."""
        if "=" in asked.get("StartAfter", ""):
            self.asked.append(asked)
            return {"IsTruncated": False}
        return super().call_s3(method, **asked)


def test_folders_are_listed_one_by_one_if_the_server_has_no_ranges() -> None:
    """An empty range is believed only if nothing is there; what the server can is asked once."""
    fs = _EncodingS3([f"m/dt={day}/{number}" for day in (14, 15, 16) for number in range(2)])
    calls = S3Calls(fs, "bucket")
    expected = [f"m/dt={day}/{number}" for day in (15, 16) for number in range(2)]
    assert calls.list_neighbours(["m/dt=15/", "m/dt=16/"]) == expected
    assert calls.list_neighbours(["m/dt=15/", "m/dt=16/"]) == expected
    assert ["StartAfter" in asked for asked in fs.asked].count(True) == 1
    assert S3Calls(_EncodingS3([]), "bucket").list_neighbours(["m/dt=15/", "m/dt=16/"]) == []


def test_folders_of_a_directory_bucket_are_listed_one_by_one() -> None:
    """A directory bucket lists its keys in no order, so that no key ends a range."""
    fs = FakeS3(["m/dt=1/a", "m/dt=2/b", "m/dt=3/c"], "bucket--use1-az4--x-s3")
    assert list(S3Calls(fs, "bucket--use1-az4--x-s3/").list_neighbours(["m/dt=1/", "m/dt=2/"])) == [
        "m/dt=1/a",
        "m/dt=2/b",
    ]
    assert [(asked["Prefix"], "StartAfter" in asked) for asked in fs.asked] == [("m/dt=1/", False), ("m/dt=2/", False)]


@pytest.mark.parametrize(
    ("answer", "is_confirmed"),
    [
        ({"ETag": '"9dd4e461268c8034f5c8564e155c67a6"'}, True),
        ({"ETag": '"kms"', "ChecksumCRC32": "jNwWgw=="}, True),
        ({"ETag": '"kms"'}, False),
        ({}, False),
    ],
)
def test_upload_without_the_digest_of_its_bytes_is_not_confirmed(answer: dict[str, str], is_confirmed: bool) -> None:
    """An entity tag that is an MD5 digest confirms the bytes, and so does the CRC32 of an object with SSE-KMS."""
    assert S3Calls(FakeS3([], put_object=answer), "bucket/root").put("a", b"x") is is_confirmed


@pytest.mark.parametrize(("code", "is_error"), [("AccessDenied", True), ("InternalError", True), ("NoSuchKey", False)])
def test_refused_removal_of_one_of_several_is_an_error(code: str, is_error: bool) -> None:
    """S3 answers 200 if it refuses some of the keys, and lists them."""
    errors = [{"Code": code, "Message": "no", "Key": "root/b"}]
    calls = S3Calls(FakeS3([], delete_objects={"Errors": errors}), "bucket/root")
    if not is_error:
        calls.remove(["a", "b"])
        return
    with pytest.raises(OSError, match=rf"{code}: no \(root/b\)") as caught:
        calls.remove(["a", "b"])
    assert isinstance(caught.value, PermissionError) is (code == "AccessDenied")
