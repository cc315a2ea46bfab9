"""Time stamps of RFC 3161: asks an authority over HTTP, and verifies its responses offline.

The libraries cryptography and rfc3161-client are imported when they are used.

Invariant: only the digest of a seal is sent. A response is returned only if it is about this request.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Iterable
from datetime import datetime
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from airflow_audit_provider.adapters.cloudflare.certificates import check_trusted, trust, trust_nobody
from airflow_audit_provider.adapters.cloudflare.deadline import DeadlineTransport, deadline, monotonic
from airflow_audit_provider.adapters.cloudflare.proxies import LOOPBACK_HOSTS, asks_for_authentication, choose_proxy
from airflow_audit_provider.exceptions import ConfigurationError, TimestampUnavailableError

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_MEDIA_TYPE = "application/timestamp-query"
_TIMEOUT_SECONDS, _RESPONSE_SECONDS, _MAX_RESPONSE_BYTES = 20.0, 60.0, 1 << 20
_GRANTED = 0


class TimestampAuthority(NamedTuple):
    """Address of an authority; with ``password``, requests have HTTP basic authentication.

    ``certificates`` are PEM texts with the authority's root certificates; with them each response is verified at once.
    """

    url: str
    login: str = ""
    password: str = ""
    certificates: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"TimestampAuthority({self.url!r})"


class HttpTimestamper:
    """Asks one authority for time stamps.

    Raises ``ConfigurationError`` for an address that is no http or https URL, or that would send the password
    unencrypted, and for certificates that cannot be read.
    """

    def __init__(self, authority: TimestampAuthority) -> None:
        _require_library()
        self._url = _checked_url(authority)
        self._auth = (authority.login, authority.password) if authority.password else None
        self._verifier = CertificateVerifier(authority.certificates) if authority.certificates else None
        self._proxy = choose_proxy(str(self._url), None, getproxies())
        self._trusted: ssl.SSLContext = trust(None, os.environ) if self._url.scheme == "https" else trust_nobody()

    def stamp(self, content: bytes) -> bytes:
        """Returns the authority's response for the SHA-256 of ``content``, in DER.

        Raises ``TimestampUnavailableError`` if there is none, or if it is not about this request.
        """
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

        request = TimestampRequestBuilder().data(content).hash_algorithm(HashAlgorithm.SHA256).build()
        response = self._post(request.as_bytes())
        try:
            decoded = decode_timestamp_response(response)
            if decoded.status != _GRANTED:
                raise ValueError(f"it was refused with status {decoded.status} {' '.join(decoded.status_string)}")
            stamped = decoded.tst_info
            if (stamped.nonce, stamped.message_imprint.message) != (request.nonce, request.message_imprint.message):
                raise ValueError("it is about another request")
        except ValueError as error:
            raise _unavailable(self._url.host, f"its response is not a time stamp: {error}") from error
        checked = self._verifier.verify(content, response) if self._verifier else None
        if isinstance(checked, str):
            raise _unavailable(self._url.host, checked)
        return response

    def check(self, content: bytes, response: bytes) -> str | None:
        """Returns why a stored response is not a time stamp of ``content``, None if it is one.

        Without certificates, it checks only that the response is about ``content``.
        """
        if self._verifier is not None:
            checked = self._verifier.verify(content, response)
            return checked if isinstance(checked, str) else None
        return _imprint_error(content, response)

    def _post(self, body: bytes) -> bytes:
        try:
            with (
                deadline(monotonic() + _RESPONSE_SECONDS),
                self._client() as client,
                client.stream("POST", self._url, content=body, headers={"Content-Type": _MEDIA_TYPE}) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise _unavailable(self._url.host, f"it responded with status {response.status_code}")
                return _limited(response, self._url.host)
        except (httpx.HTTPError, httpx.StreamError) as error:
            check_trusted(error, self._url.host, has_extra=False)
            if isinstance(error, httpx.ProxyError) and asks_for_authentication(str(error)):
                raise ConfigurationError(
                    "The proxy before the time stamp authority asks for authentication. Write user and password into "
                    "the URL of the proxy, in the environment variable HTTPS_PROXY or ALL_PROXY."
                ) from error
            raise _unavailable(self._url.host, f"{type(error).__name__}: {error}") from error

    def _client(self) -> httpx.Client:
        return httpx.Client(
            auth=self._auth,
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
            transport=DeadlineTransport(self._trusted, self._proxy),
        )


class CertificateVerifier:
    """Verifies responses offline with the root certificates of authorities.

    A text can hold several certificates. Raises ``ConfigurationError`` for a text without one, or one that is damaged.
    """

    def __init__(self, pems: Iterable[str]) -> None:
        _require_library()
        self._roots = [certificate for pem in pems for certificate in _certificates(pem)]

    def verify(self, content: bytes, response: bytes) -> datetime | str:
        """Returns when ``content`` existed, or why the response does not prove it, as a sentence.

        The authority's certificate has to be valid at that time, not now.
        """
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

        try:
            decoded = decode_timestamp_response(response)
            VerifierBuilder(roots=self._roots).build().verify_message(decoded, content)
            return decoded.tst_info.gen_time
        except (VerificationError, ValueError) as error:
            return f"The time stamp does not prove when the seal existed ({error})."


def _imprint_error(content: bytes, response: bytes) -> str | None:
    from rfc3161_client import decode_timestamp_response

    try:
        imprint = decode_timestamp_response(response).tst_info.message_imprint
    except ValueError as error:
        return f"The object is not a time stamp ({error})."
    is_ours = imprint.message == hashlib.sha256(content).digest()
    return None if is_ours else "The time stamp is about other bytes than those of its seal."


def _checked_url(authority: TimestampAuthority) -> httpx.URL:
    try:
        url = httpx.URL(authority.url)
        # httpx accepts a port that no socket takes; reading this one raises.
        _ = urlsplit(authority.url).port
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigurationError(f"The time stamp authority's address is not a URL ({error}). {_GIVE_URL}") from error
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise ConfigurationError(f"The time stamp authority's address is not usable. {_GIVE_URL}")
    if authority.password and url.scheme == "http" and url.host not in LOOPBACK_HOSTS:
        raise ConfigurationError(
            f"The time stamp authority {url.host!r} is reached over plain http, which would send the password "
            "unencrypted. Use https, or remove the password."
        )
    return url


_GIVE_URL = "Set the connection's host to a URL such as https://tsa.example.com/tsr."


def _limited(response: httpx.Response, host: str) -> bytes:
    body = b""
    for piece in response.iter_raw():
        body += piece
        if len(body) > _MAX_RESPONSE_BYTES:
            raise _unavailable(host, f"its response is larger than {_MAX_RESPONSE_BYTES} bytes")
    return body


def _unavailable(host: str, reason: str) -> TimestampUnavailableError:
    return TimestampUnavailableError(
        f"The time stamp authority {host} gave no time stamp ({reason}). The seals are created and signed; run the "
        "task again to stamp them, and check the connection if the error persists."
    )


def _require_library() -> None:
    missing = [name for name in ("cryptography", "rfc3161_client") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"The {missing[0]} library is missing. Run: pip install 'airflow-audit-provider[seal]'."
        )


def _certificates(pem: str) -> list[Any]:
    from cryptography.x509 import load_pem_x509_certificate

    texts = _CERTIFICATE.findall(pem.replace("\\n", "\n"))
    if not texts:
        raise ConfigurationError(f"The time stamp authority's certificate is not in PEM format. {_GIVE_CERTIFICATE}")
    try:
        return [load_pem_x509_certificate(text.encode()) for text in texts]
    except ValueError as error:
        raise ConfigurationError(
            f"The time stamp authority's certificate cannot be read ({error}). {_GIVE_CERTIFICATE}"
        ) from error


_GIVE_CERTIFICATE = "Give the authority's root certificate, as its operator publishes it."
