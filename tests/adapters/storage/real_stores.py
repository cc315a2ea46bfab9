"""Real object-store servers for the store contract, with a raw client and an Airflow connection of each.

The raw clients use neither the package nor fsspec, so that they can check what a server itself guarantees.
"""

from __future__ import annotations

import base64
import importlib
import os
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import boto3
import httpx

from tests.adapters.storage.gcs_gate import gated
from tests.adapters.storage.serving import free_port, served
from tools.servers import npm_servers, python_servers

ROOT = Path(__file__).parents[3]
REGION = "us-east-1"
AZURE_ACCOUNT = "testaccount"
# For HTTP without TLS: otherwise httpx reads the certificates of all authorities for each request, 25 ms of CPU.
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class RealStore(Protocol):
    """A running server: its raw client, and the fields of an Airflow connection to it."""

    @property
    def scheme(self) -> str:
        """Scheme of its URIs."""
        ...

    def fields(self) -> dict[str, Any]:
        """Returns the fields of a connection with all permissions."""
        ...

    def wrong_fields(self) -> dict[str, Any]:
        """Returns the fields of a connection whose key is wrong."""
        ...

    def make_bucket(self, name: str) -> None:
        """Creates an empty bucket or container."""
        ...

    def put_if_absent(self, bucket: str, key: str, content: bytes) -> int:
        """Writes an object on the condition that it does not exist; returns the HTTP status."""
        ...

    def content(self, bucket: str, key: str) -> bytes:
        """Returns an object's bytes."""
        ...

    def versions(self, bucket: str) -> dict[str, str]:
        """Returns every key of a bucket with a version that changes with each write."""
        ...


class S3Server(NamedTuple):
    """S3 server at a URL."""

    url: str
    key_id: str = "test"
    key: str = "test"
    scheme: str = "s3"

    def client(self) -> Any:
        """Returns the official client."""
        return _s3_client(self.url, self.key_id, self.key)

    def fields(self) -> dict[str, Any]:
        """Returns a connection of type aws."""
        extra = {"endpoint_url": self.url, "region_name": REGION}
        return {"conn_type": "aws", "login": self.key_id, "password": self.key, "extra": extra}

    def wrong_fields(self) -> dict[str, Any]:
        """Returns the same with another key."""
        return {**self.fields(), "login": "not-the-id", "password": "not-the-key"}

    def make_bucket(self, name: str) -> None:
        """Makes a bucket."""
        self.client().create_bucket(Bucket=name)

    def make_locked_bucket(self, name: str, mode: str = "COMPLIANCE", days: int = 30) -> None:
        """Makes a bucket whose default retention locks every new object."""
        client = self.client()
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        retention = {"DefaultRetention": {"Mode": mode, "Days": days}}
        configuration = {"ObjectLockEnabled": "Enabled", "Rule": retention}
        client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=configuration)

    def all_versions(self, bucket: str) -> list[dict[str, Any]]:
        """Returns every version of every object, also those behind a delete marker."""
        found: list[dict[str, Any]] = self.client().list_object_versions(Bucket=bucket).get("Versions", [])
        return found

    def put_if_absent(self, bucket: str, key: str, content: bytes) -> int:
        """Sends PUT with ``If-None-Match: *``."""
        client = self.client()
        try:
            answer = client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        except client.exceptions.ClientError as error:
            answer = error.response
        return int(answer["ResponseMetadata"]["HTTPStatusCode"])

    def content(self, bucket: str, key: str) -> bytes:
        """Sends GET."""
        found: bytes = self.client().get_object(Bucket=bucket, Key=key)["Body"].read()
        return found

    def versions(self, bucket: str) -> dict[str, str]:
        """Lists the bucket; the version is the ETag and the time of the last write."""
        found = self.client().list_objects_v2(Bucket=bucket).get("Contents", [])
        return {entry["Key"]: f"{entry['ETag']} {entry['LastModified']}" for entry in found}

    def open_uploads(self) -> list[str]:
        """Returns the keys of open multipart uploads in any bucket."""
        client = self.client()
        buckets = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
        answers = [client.list_multipart_uploads(Bucket=bucket) for bucket in buckets]
        return [upload["Key"] for answer in answers for upload in answer.get("Uploads", []) if "gone" in upload["Key"]]


@cache
def _s3_client(url: str, key_id: str, key: str) -> Any:
    keys = {"aws_access_key_id": key_id, "aws_secret_access_key": key}
    return boto3.client("s3", endpoint_url=url, region_name=REGION, **keys)


class AzureServer(NamedTuple):
    """Azurite at a URL, with an account of its own."""

    url: str
    key: str
    scheme: str = "abfs"

    def client(self) -> Any:
        """Returns the official client."""
        return importlib.import_module("azure.storage.blob").BlobServiceClient.from_connection_string(
            self._connection_string(self.key)
        )

    def fields(self) -> dict[str, Any]:
        """Returns a connection of type wasb with a connection string."""
        return {"conn_type": "wasb", "extra": {"connection_string": self._connection_string(self.key)}}

    def wrong_fields(self) -> dict[str, Any]:
        """Returns the same with another key."""
        wrong = base64.b64encode(b"not the key of this account").decode()
        return {"conn_type": "wasb", "extra": {"connection_string": self._connection_string(wrong)}}

    def make_bucket(self, name: str) -> None:
        """Makes a container."""
        self.client().create_container(name)

    def put_if_absent(self, bucket: str, key: str, content: bytes) -> int:
        """Sends Put Blob with ``If-None-Match: *``."""
        errors = importlib.import_module("azure.core.exceptions")
        try:
            self.client().get_blob_client(bucket, key).upload_blob(content, overwrite=False)
        except errors.HttpResponseError as error:
            return int(error.status_code)
        return 201

    def content(self, bucket: str, key: str) -> bytes:
        """Sends Get Blob."""
        found: bytes = self.client().get_blob_client(bucket, key).download_blob().readall()
        return found

    def versions(self, bucket: str) -> dict[str, str]:
        """Sends List Blobs; the version is the ETag."""
        return {blob.name: blob.etag for blob in self.client().get_container_client(bucket).list_blobs()}

    def _connection_string(self, key: str) -> str:
        place = f"BlobEndpoint={self.url}/{AZURE_ACCOUNT};"
        return f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={key};{place}"


class GcsServer(NamedTuple):
    """gcp-storage-emulator at a URL, directly or through the proxy; it checks no credential."""

    url: str
    scheme: str = "gs"

    def fields(self) -> dict[str, Any]:
        """Returns a connection of type google_cloud_platform without a key."""
        extra = {"is_anonymous": True, "project": "test", "gcs.endpoint": self.url}
        return {"conn_type": "google_cloud_platform", "extra": extra}

    def wrong_fields(self) -> dict[str, Any]:
        """Raises, because the server accepts every credential."""
        raise NotImplementedError

    def make_bucket(self, name: str) -> None:
        """Makes a bucket."""
        url = f"{self.url}/storage/v1/b?project=test"
        httpx.post(url, json={"name": name}, verify=_NO_AUTHORITIES).raise_for_status()

    def put_if_absent(self, bucket: str, key: str, content: bytes) -> int:
        """Uploads with ``ifGenerationMatch=0``."""
        params = {"uploadType": "media", "name": key, "ifGenerationMatch": "0"}
        url = f"{self.url}/upload/storage/v1/b/{bucket}/o"
        return httpx.post(url, params=params, content=content, verify=_NO_AUTHORITIES).status_code

    def content(self, bucket: str, key: str) -> bytes:
        """Downloads the object."""
        url = f"{self.url}/storage/v1/b/{bucket}/o/{quote(key, safe='')}"
        return httpx.get(url, params={"alt": "media"}, verify=_NO_AUTHORITIES).content

    def versions(self, bucket: str) -> dict[str, str]:
        """Lists the bucket; the version is the generation."""
        found = httpx.get(f"{self.url}/storage/v1/b/{bucket}/o", verify=_NO_AUTHORITIES).json().get("items", [])
        return {entry["name"]: entry["generation"] for entry in found}


@contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """S3 by moto, in a process of its own, because all its servers in one process have the same buckets."""
    port = free_port()
    command = [sys.executable, "-m", "tests.adapters.storage.moto_server", str(port)]
    with served(command, port, folder, {"PYTHONPATH": str(ROOT)}) as url:
        yield S3Server(url)


@contextmanager
def localstack(folder: Path) -> Iterator[S3Server]:
    """S3 by LocalStack, which shares no S3 code with moto."""
    port = free_port()
    settings = {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "SERVICES": "s3",
        "FILESYSTEM_ROOT": str(folder),
        "DNS_ADDRESS": "0",
        # No download of a certificate, no telemetry.
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
    }
    command = [str(python_servers() / "python"), "-m", "localstack.runtime.main"]
    with served(command, port, folder, settings) as url:
        yield S3Server(url)


@contextmanager
def s3rver(folder: Path) -> Iterator[S3Server]:
    """S3 by s3rver, which ignores the condition of a write."""
    port = free_port()
    command = [str(npm_servers() / "s3rver"), "-d", str(folder / "buckets"), "-a", "127.0.0.1", "-p", str(port)]
    (folder / "buckets").mkdir()
    with served(command, port, folder) as url:
        yield S3Server(url, "S3RVER", "S3RVER")


@contextmanager
def azurite(folder: Path) -> Iterator[AzureServer]:
    """Azure Blob Storage by Azurite."""
    port, key = free_port(), base64.b64encode(os.urandom(48)).decode()
    command = [str(npm_servers() / "azurite-blob"), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    with served([*command, *options], port, folder, {"AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{key}"}) as url:
        yield AzureServer(url, key)


@contextmanager
def gcs_bare(folder: Path) -> Iterator[GcsServer]:
    """GCS by gcp-storage-emulator, which ignores ``ifGenerationMatch``."""
    port = free_port()
    command = [str(python_servers() / "gcp-storage-emulator"), "start", "--host", "127.0.0.1", "--port", str(port)]
    with served([*command, "--in-memory"], port, folder) as url:
        yield GcsServer(url)


@contextmanager
def gcs(folder: Path) -> Iterator[GcsServer]:
    """The same behind the proxy, which enforces ``ifGenerationMatch=0``."""
    with gcs_bare(folder) as bare, gated(bare.url) as url:
        yield GcsServer(url)


STARTERS: dict[str, Callable[[Path], AbstractContextManager[RealStore]]] = {
    "s3-moto": moto,
    "s3-localstack": localstack,
    "s3rver": s3rver,
    "azurite": azurite,
    "gcs": gcs,
    "gcs-bare": gcs_bare,
}
# Servers that enforce conditional writes, which a commit needs.
CREATE_ONLY = ("s3-moto", "s3-localstack", "azurite", "gcs")
# Servers that ignore the condition; the operator rejects them.
OVERWRITING = ("s3rver", "gcs-bare")
Servers = Callable[[str], RealStore]


@contextmanager
def running_servers(new_folder: Callable[[str], Path]) -> Iterator[Servers]:
    """Yields a running server by its name; it is started when it is first asked for, and stopped at the end."""
    running: dict[str, RealStore] = {}
    with ExitStack() as stack:

        def server(name: str) -> RealStore:
            if name not in running:
                running[name] = stack.enter_context(STARTERS[name](new_folder(name)))
            return running[name]

        yield server
