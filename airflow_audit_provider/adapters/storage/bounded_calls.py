"""Reads and lists through an fsspec file system no more than a bound, by what each library offers for it.

fsspec's own ``find`` collects every page of a listing, and ``cat_file`` a whole object.

Invariant: what is requested from S3, Google Cloud Storage and Azure has the bound plus at most one page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from airflow_audit_provider.adapters.storage.errors import status_of
from airflow_audit_provider.adapters.storage.read_bounds import ReadMeter
from airflow_audit_provider.exceptions import ReadLimitExceededError


def read_beginning(fs: Any, path: str, most_bytes: int) -> bytes:
    """Returns so many bytes of an object on S3 at most, by one request."""
    try:
        content: bytes = fs.cat_file(path, start=0, end=most_bytes)
    except Exception as error:
        # RFC 9110, 14.1.2: no range of an empty object can be satisfied.
        if status_of(error) == 416:
            return b""
        raise
    return content


def read_known(fs: Any, path: str, key: str, meter: ReadMeter, most_bytes: int) -> bytes:
    """Returns so many bytes of an object at most; the store states its size first.

    Raises ``FileNotFoundError`` for a folder, and ``ReadLimitExceededError`` for an object that the library would
    decompress while it reads, because nothing states the size of that.
    """
    fs.invalidate_cache()
    stated = fs.info(path)
    if stated.get("type") == "directory":
        raise FileNotFoundError(path)
    meter.check_object(key, int(stated["size"]))
    if _encoding(stated):
        raise ReadLimitExceededError(
            f"The object {key!r} has the content encoding {_encoding(stated)!r}, so it is not read here. No run writes "
            "such an object. Find out who wrote it, and move it out of the destination.",
            key=key,
        )
    content: bytes = fs.cat_file(path, start=0, end=most_bytes) if stated["size"] else b""
    return content


def find_at_most(fs: Any, path: str, most_count: int) -> dict[str, dict[str, Any]] | None:
    """Returns so many entries below a folder at most; None for a library that cannot end a listing."""
    if hasattr(fs, "service_client"):
        container, _, folder = path.strip("/").partition("/")
        blobs = _find_blobs(fs, container, f"{folder}/" if folder else "", most_count)
        return asyncio.run_coroutine_threadsafe(blobs, fs.loop).result()
    if "gs" in fs.protocol:
        try:
            entries = fs.ls(path, detail=True, delimiter="", max_results=most_count)
        except FileNotFoundError:
            return {}
        return {entry["name"]: entry for entry in entries}
    return None


async def _find_blobs(fs: Any, container: str, prefix: str, most_count: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    async with fs.service_client.get_container_client(container=container) as client:
        try:
            async for blob in client.list_blobs(include=["metadata"], name_starts_with=prefix):
                # A folder of an account with a hierarchical namespace is such a blob.
                is_folder = (blob.metadata or {}).get("hdi_isfolder") == "true"
                found[f"{container}/{blob.name}"] = {
                    "size": blob.size or 0,
                    "type": "directory" if is_folder else "file",
                }
                if len(found) >= most_count:
                    break
        except Exception as error:
            if status_of(error) != 404:
                raise
    return found


def _encoding(stated: Mapping[str, Any]) -> str | None:
    """Returns the content encoding that GCS or Azure states, by which a library decompresses an object."""
    return stated.get("contentEncoding") or getattr(stated.get("content_settings"), "content_encoding", None) or None
