"""A time stamp authority (RFC 3161) made with openssl, served on this machine; openssl also is the reference."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_CONFIG = """\
[tsa]
default_tsa = authority
[authority]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
tsa_name = yes
ess_cert_id_alg = sha256
"""
_EXTENSIONS = """\
[tsa_certificate]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[root_certificate]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
"""


class Authority:
    """Keys and certificates of one authority, and what it does with requests.

    ``mode`` is ``good``, a status code, ``rejects``, ``other request``, ``nonsense``, ``endless`` or ``trickle``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mode: str | int = "good"
        self.requests: list[dict[str, str]] = []
        self._previous = b""
        (folder / "tsa.conf").write_text(_CONFIG.format(folder=folder))
        (folder / "extensions.conf").write_text(_EXTENSIONS)
        (folder / "serial").write_text("01\n")
        self._make_certificates()

    @property
    def root_pem(self) -> str:
        """The root certificate, as auditors get it."""
        return (self.folder / "root.pem").read_text()

    def reply(self, query: bytes) -> bytes:
        """Returns the response to a query, as this authority's mode says."""
        if self.mode == "nonsense":
            return b"<html>maintenance</html>"
        if self.mode == "rejects":
            query = query[:5] + b"\x00" + query[6:]
        asked = self._previous if self.mode == "other request" else query
        self._previous = self._previous or query
        (self.folder / "query.tsq").write_bytes(asked)
        self.openssl("ts -reply -config tsa.conf -queryfile query.tsq -out reply.tsr")
        return (self.folder / "reply.tsr").read_bytes()

    def openssl(self, command: str) -> None:
        """Runs openssl in the authority's folder."""
        subprocess.run(["openssl", *command.split()], cwd=self.folder, capture_output=True, check=True)

    def openssl_accepts(self, content: bytes, response: bytes) -> bool:
        """Returns whether openssl verifies a response for a content with the root certificate, offline."""
        (self.folder / "content").write_bytes(content)
        (self.folder / "response.tsr").write_bytes(response)
        command = "openssl ts -verify -data content -in response.tsr -CAfile root.pem"
        return subprocess.run(command.split(), cwd=self.folder, capture_output=True, check=False).returncode == 0

    def _make_certificates(self) -> None:
        for name, subject, signing in (
            ("root", "/CN=Root of the tests", "-key root.key"),
            ("tsa", "/CN=Authority of the tests", "-CA root.pem -CAkey root.key"),
        ):
            self.openssl(f"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key")
            command = ["openssl", "req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr"]
            subprocess.run(command, cwd=self.folder, capture_output=True, check=True)
            extensions = f"-extfile extensions.conf -extensions {name}_certificate"
            signing = f"-signkey {name}.key" if name == "root" else f"{signing} -CAcreateserial"
            self.openssl(f"x509 -req -in {name}.csr -days 3650 {extensions} {signing} -out {name}.pem")


@contextmanager
def served(authority: Authority) -> Iterator[str]:
    """Serves an authority on a free port of this machine; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Answers one request."""
            query = self.rfile.read(int(self.headers["Content-Length"]))
            authority.requests.append(dict(self.headers))
            if isinstance(authority.mode, int):
                self.send_error(authority.mode)
                return
            body = b"x" * (3 << 20) if authority.mode == "endless" else authority.reply(query)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/tsr"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
