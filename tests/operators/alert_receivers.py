"""Receivers of alerts on loopback: a mail server that speaks SMTP, and a web server for webhooks.

Invariant: a message counts as received once its server has confirmed it.
"""

from __future__ import annotations

import email
import email.policy
import json
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class MailServer(socketserver.ThreadingTCPServer):
    """Accepts mail for anybody by the commands of RFC 5321; refuses it with 451 while it ``is_broken``."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MailSession)
        self.mails: list[EmailMessage] = []
        self.is_broken = False


class _MailSession(socketserver.StreamRequestHandler):
    server: MailServer

    def __init__(self, *given: Any) -> None:
        # The library calls it for each connection, while it is constructed.
        vars(self).update(handle=self._converse)
        super().__init__(*given)

    def _converse(self) -> None:
        """Answers commands until the client quits."""
        self._say("220 loopback ESMTP")
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"QUIT":
                return self._say("221 Bye")
            self._say(self._mail() if verb == b"DATA" else "250 Ok")
        return None

    def _mail(self) -> str:
        if self.server.is_broken:
            return "451 Requested action aborted: local error in processing"
        self._say("354 End data with <CR><LF>.<CR><LF>")
        lines = iter(self.rfile.readline, b".\r\n")
        content = b"".join(line.removeprefix(b".") if line.startswith(b"..") else line for line in lines)
        self.server.mails.append(email.message_from_bytes(content, policy=email.policy.default))
        return "250 Ok: queued"

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class WebhookServer(ThreadingHTTPServer):
    """Keeps the path and the JSON of each POST; answers with 503 while it ``is_broken``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Webhook)
        self.posts: list[tuple[str, Any]] = []
        self.is_broken = False


class _Webhook(BaseHTTPRequestHandler):
    server: WebhookServer

    def do_POST(self) -> None:
        """Takes a message."""
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.server.is_broken:
            self.server.posts.append((self.path, content))
        self.send_response(503 if self.server.is_broken else 200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Writes no line for a request."""


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Serves in a thread until the end of the block."""
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
