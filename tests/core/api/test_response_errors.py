"""Errors for every other status: the class, the remedy, and how long to wait."""

from __future__ import annotations

import json
import pickle
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.responses import error_of, read_page, retry_after_seconds
from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    SourceAuthError,
    SourceError,
    SourceProtocolError,
    SourceRateLimitedError,
    SourceUnavailableError,
)

NOW_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)

STATUSES: dict[int, type[AuditProviderError]] = {
    201: SourceUnavailableError, 202: SourceUnavailableError, 203: SourceUnavailableError, 204: SourceUnavailableError,
    205: SourceUnavailableError, 206: SourceUnavailableError, 226: SourceUnavailableError,
    301: SourceProtocolError, 302: SourceProtocolError,
    307: SourceProtocolError, 399: SourceProtocolError, 400: SourceProtocolError, 401: SourceAuthError,
    403: SourceAuthError, 404: ConfigurationError, 405: SourceProtocolError, 407: ConfigurationError,
    408: SourceUnavailableError, 409: SourceUnavailableError, 410: SourceProtocolError, 421: SourceUnavailableError,
    422: SourceProtocolError, 425: SourceUnavailableError, 429: SourceRateLimitedError,
    499: SourceProtocolError, 500: SourceUnavailableError, 502: SourceUnavailableError, 503: SourceUnavailableError,
    504: SourceUnavailableError, 520: SourceUnavailableError, 524: SourceUnavailableError, 599: SourceUnavailableError,
}  # fmt: skip


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"success":true,"result":[]}', b'{"errors":[{"message":"why"}]}'])
def test_status_decides_the_error(status: int, kind: type[AuditProviderError], body: bytes) -> None:
    """The status decides the error, whatever the body, and every message ends in what to do."""
    with pytest.raises(kind) as caught:
        read_page(ApiVersion.V1, Response(status, {"cf-ray": "ray1"}, body), NOW_AT)
    assert type(caught.value) is kind
    assert caught.value.message.endswith(".")
    assert type(pickle.loads(pickle.dumps(caught.value))) is kind
    if isinstance(caught.value, SourceError):
        assert (caught.value.status, caught.value.ray_id) == (status, "ray1")


def failure(status: int, *errors: Any, **headers: str) -> AuditProviderError:
    """Returns the error of a response with these API errors."""
    return error_of(Response(status, headers, json.dumps({"errors": errors}).encode()), NOW_AT)


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([{"code": 6003}], SourceAuthError),
        ([{"code": 6111}], SourceAuthError),
        ([{"code": 1, "error_chain": [{"code": 6111}]}], SourceAuthError),
        ([{"code": 1, "error_chain": {"code": 6111}}], SourceProtocolError),
        ([{"code": "6003"}], SourceProtocolError),
        ([{"message": "bad filter"}], SourceProtocolError),
        (["text", None], SourceProtocolError),
    ],
)
def test_codes_of_a_400_decide_the_error(errors: list[Any], kind: type[AuditProviderError]) -> None:
    """A malformed credential is a 400 with its own codes, in the list or in a chain."""
    assert type(failure(400, *errors)) is kind


def test_codes_and_messages_of_the_api_are_kept() -> None:
    """The API's codes are attributes, and its messages are in the text."""
    error = failure(
        403, {"code": 9109, "message": "Invalid token."}, {"code": 10000, "message": "Authentication error"}
    )
    assert isinstance(error, SourceError)
    assert error.codes == (9109, 10000)
    assert "Invalid token; Authentication error. Check" in error.message
    assert "codes 9109,10000" in str(error)


def test_404_and_redirect_name_their_fix() -> None:
    """A wrong id and a moved host are errors that the user must fix."""
    assert "Check account_id or organization_id" in str(failure(404, **{"cf-ray": "r1"}))
    assert "ray r1" in str(failure(404, **{"cf-ray": "r1"}))
    assert "Set the connection's host" in str(failure(302))
    assert "Check the filters' values" in str(failure(400))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300", 300.0), ("0", 0.0), ("1.5", 1.5), ("-3", -3.0), ("", None), ("soon", None), (None, None),
        (" 12 ", 12.0), ("Mon, 23 Nov 2026 12:05:00 GMT", 300.0), ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 12:05:00 -0000", 300.0), ("Mon, 23 Nov 2026 14:05:00 +0200", 300.0),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_and_as_a_date(text: str | None, seconds: float | None) -> None:
    """Both forms give seconds from now, a past date gives zero, and an invalid value gives None."""
    headers = {} if text is None else {"retry-after": text}
    assert retry_after_seconds(headers, NOW_AT) == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_in_the_error(status: int) -> None:
    """Errors that can be retried have the value of ``Retry-After``."""
    error = failure(status, **{"retry-after": "17"})
    assert (error.retryable, error.retry_after) == (True, 17.0)


@pytest.mark.parametrize(
    "body",
    [
        b"", b" \r\n", b"<html><body>Maintenance</body></html>", b"{", b"[]", b"null", b"0", b'"text"',
        b'{"result":[]}', b'{"success":false,"result":[]}', b'{"success":false,"errors":[],"result":null}',
        b'{"success":true,"errors":[{"message":"shard failed"}],"result":[]}', b'{"success":true,"result":{}}',
    ],
)  # fmt: skip
def test_status_200_without_a_page_is_retried_like_502(body: bytes) -> None:
    """HTML, an empty body and ``success: false`` are what an outage looks like: retryable, never a page."""
    headers = {"cf-ray": "ray1", "retry-after": "17"}
    with pytest.raises(SourceUnavailableError) as caught:
        read_page(ApiVersion.V1, Response(200, headers, body), NOW_AT)
    assert (caught.value.status, caught.value.ray_id, caught.value.retry_after) == (200, "ray1", 17.0)
    assert "Retry later" in caught.value.message


ACCOUNT = "the audit log of account 0123"


@pytest.mark.parametrize(
    ("status", "code", "text", "kind", "words"),
    [
        (401, 10000, "Authentication error", SourceAuthError, "does not accept the credential.*create a new token"),
        (403, 9109, "Invalid access token", SourceAuthError, "does not accept the credential.*create a new token"),
        (400, 6111, "Invalid format", SourceAuthError, "cannot read the credential.*Enter the API token again"),
        (403, 9103, "Unknown X-Auth-Key", SourceAuthError, "Global API Key.*Correct the connection's login"),
        (403, 9109, "Unauthorized to access requested resource", SourceAuthError, "no access to.*Check account_id"),
        (403, 10000, "Authentication error", SourceAuthError, "may not read.*permission 'Account Settings: Read'"),
        (404, 7003, "Could not route", ConfigurationError, "cannot find.*Check account_id"),
        (400, 7003, "Could not route", ConfigurationError, "cannot find.*Check account_id"),
    ],
)
def test_credential_account_and_permission_have_different_errors(
    status: int, code: int, text: str, kind: type[AuditProviderError], words: str
) -> None:
    """Each of the API's rejections has a message with its own remedy and the API's text."""
    body = json.dumps({"errors": [{"code": code, "message": text}]}).encode()
    error = error_of(Response(status, {"cf-ray": "ray1"}, body), NOW_AT, ACCOUNT)
    assert type(error) is kind
    assert re.search(words, error.message)
    assert text in error.message
    # A credential that the API cannot read or does not know is wrong for every account.
    assert (ACCOUNT in error.message) == (code not in (6111, 9103))
    others = {"create a new token", "Check account_id", "Account Settings: Read", "login and password"}
    assert sum(remedy in error.message for remedy in others) <= 1
