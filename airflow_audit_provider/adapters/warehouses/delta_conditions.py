"""Finds S3 stores that ignore the condition of a write, in which two loaders could overwrite each other's Delta commit.

Invariant: an object is written twice under a name of its own with ``If-None-Match: *``; nothing else is touched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from airflow_audit_provider.exceptions import ConfigurationError, WarehouseUnavailableError

# The condition is not met, or another write of the same key runs (S3 API, PutObject, If-None-Match).
_REFUSALS = (412, 409)
_ENDPOINT = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "ENDPOINT_URL", "ENDPOINT")
_SECRETS = {
    "aws_access_key_id": ("AWS_ACCESS_KEY_ID", "ACCESS_KEY_ID"),
    "aws_secret_access_key": ("AWS_SECRET_ACCESS_KEY", "SECRET_ACCESS_KEY"),
    "aws_session_token": ("AWS_SESSION_TOKEN", "AWS_TOKEN", "SESSION_TOKEN"),
    "region_name": ("AWS_REGION", "AWS_DEFAULT_REGION", "REGION"),
}


def check_conditional_writes(uri: str, options: Mapping[str, str]) -> None:
    """Raises ``ConfigurationError`` if the table's S3 store lets an object be created twice.

    It checks stores with an endpoint of their own, because AWS S3 has the condition, and needs botocore, which comes
    with the extra ``s3``. An error of the first write is left to deltalake, which names it. Raises
    ``WarehouseUnavailableError`` if the second write fails for another reason than its condition. A login without the
    right to delete leaves the empty object, which no reader of a Delta log regards.
    """
    parts = urlsplit(uri)
    # As deltalake reads them: an option under any of its names before the variables, of which it reads AWS_ ones alone.
    given = (
        {name.upper(): value for name, value in options.items()},
        {name: value for name, value in os.environ.items() if name.startswith("AWS_")},
    )
    endpoint = _first(given, _ENDPOINT)
    if parts.scheme not in {"s3", "s3a"} or endpoint is None or find_spec("botocore") is None:
        return
    from botocore.exceptions import BotoCoreError, ClientError

    client = _client(endpoint, given)
    place = {"Bucket": parts.netloc, "Key": f"{parts.path.strip('/')}/_delta_log/_audit_write_{uuid4().hex}"}
    try:
        client.put_object(**place, Body=b"", IfNoneMatch="*")
    except (BotoCoreError, ClientError):
        return
    try:
        client.put_object(**place, Body=b"", IfNoneMatch="*")
    except (BotoCoreError, ClientError) as error:
        status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in _REFUSALS:
            return
        raise WarehouseUnavailableError(
            f"The object store at {endpoint} did not answer whether a file in the folder of the Delta table {uri} can "
            f"be created twice ({status or type(error).__name__}), so it is unknown whether it heeds If-None-Match. "
            "Nothing was loaded. Run the task again."
        ) from error
    finally:
        with suppress(BotoCoreError, ClientError):
            client.delete_object(**place)
    raise ConfigurationError(
        f"The object store at {endpoint} let a file in the folder of the Delta table {uri} be created twice: it "
        "ignores If-None-Match, so two loaders could overwrite each other's commit. Nothing was loaded. Put the table "
        "into a store with conditional writes: AWS S3, Cloudflare R2, MinIO, Google Cloud Storage, Azure or a local "
        "folder."
    )


def _first(given: Sequence[Mapping[str, str]], names: tuple[str, ...]) -> str | None:
    return next((known[name] for known in given for name in names if known.get(name)), None)


def _client(endpoint: str, given: Sequence[Mapping[str, str]]) -> Any:
    """Returns a client of the store that sends each request once and names the bucket in the path."""
    from botocore.config import Config
    from botocore.session import get_session

    arguments: dict[str, Any] = {name: _first(given, names) for name, names in _SECRETS.items()}
    arguments["region_name"] = arguments["region_name"] or "us-east-1"
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, signature_version="s3v4")
    return get_session().create_client("s3", endpoint_url=endpoint, config=config, **arguments)
