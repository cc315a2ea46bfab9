"""Serves S3 by moto on a port of the loopback interface, with two things that S3 does and moto 5 does not."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import S3Backend
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def atomic_creates(app: WSGIApplication) -> WSGIApplication:
    """Handles the requests with ``If-None-Match`` one after the other.

    S3 decides concurrent conditional writes of a key one by one. moto 5 looks the key up and stores it in two steps,
    and two threads can both find it absent (once in 22 races of a busy machine).
    """
    one_create = Lock()

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with one_create if "HTTP_IF_NONE_MATCH" in environ else nullcontext():
            return app(environ, start_response)

    return serve


def locking_multipart_uploads() -> AbstractContextManager[object]:
    """Lets moto lock the objects of multipart uploads, as S3 does; moto 5 gives the default retention to others only.

    Amazon's guide to S3: "Default settings apply to all new objects placed in the bucket unless you explicitly specify
    a different retention mode and period for an object when you create it."
    """
    unlocked = S3Backend.complete_multipart_upload

    def complete(backend: S3Backend, bucket_name: str, *arguments: Any) -> Any:
        key, bucket = unlocked(backend, bucket_name, *arguments), backend.get_bucket(bucket_name)
        if key is not None and bucket.has_default_lock:
            key.lock_mode, key.lock_until = bucket.default_lock_mode, bucket.default_retention()
        return key

    return patch.object(S3Backend, "complete_multipart_upload", complete)


def serve(port: int) -> None:
    """Serves until the process is ended."""
    app = atomic_creates(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=MotoRequestHandler)
    with locking_multipart_uploads():
        server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
