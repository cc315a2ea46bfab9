"""Tests that refusals reach the official SDK as its own exceptions."""

from __future__ import annotations

from typing import Any

import cloudflare
import pytest
from cloudflare import Cloudflare

from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN, TokenKind
from tests.testing.fake_requests import DAYS, fake_with

WITHOUT = "token-without-permission-0123456789"
REVOKED = "token-that-was-revoked-0123456789ab"
OF_ACCOUNT = "token-of-the-account-0123456789abcd"
KINDS = {
    TOKEN: TokenKind.VALID,
    WITHOUT: TokenKind.NO_PERMISSION,
    REVOKED: TokenKind.INVALID,
    OF_ACCOUNT: TokenKind.ACCOUNT,
}


def _first(client: Cloudflare, **params: Any) -> Any:
    return next(iter(client.audit_logs.list(**{"account_id": ACCOUNT_ID, **DAYS["v1"], **params})))


@pytest.mark.parametrize(
    ("token", "params", "error", "code"),
    [
        (REVOKED, {}, cloudflare.AuthenticationError, 10000),
        (WITHOUT, {}, cloudflare.PermissionDeniedError, 10000),
        ("a-token-nobody-ever-issued-0123456", {}, cloudflare.PermissionDeniedError, 9109),
        ("short", {}, cloudflare.BadRequestError, 6003),
        (TOKEN, {"account_id": "wrong"}, cloudflare.NotFoundError, 7003),
        (TOKEN, {"account_id": "0" * 32}, cloudflare.PermissionDeniedError, 9109),
        (TOKEN, {"per_page": 1001}, cloudflare.BadRequestError, 1000),
    ],
)
def test_refusal_is_the_sdks_exception_of_its_status(
    token: str, params: dict[str, Any], error: type[Exception], code: int
) -> None:
    """Raises the SDK's exception with Cloudflare's code."""
    with (
        FakeServer(fake_with(tokens=KINDS)) as server,
        Cloudflare(api_token=token, base_url=server.base_url, max_retries=0) as client,
        pytest.raises(error) as caught,
    ):
        _first(client, **params)
    assert isinstance(caught.value, cloudflare.APIStatusError)
    assert next(problem.code for problem in caught.value.errors) == code
    assert token not in caught.value.response.text


def test_rate_limit_and_server_error() -> None:
    """A 429 and a 503 are the SDK's exceptions for them."""
    with (
        FakeServer(fake_with("rate_limited,first=1", "status=503,after=1")) as server,
        Cloudflare(api_token=TOKEN, base_url=server.base_url, max_retries=0) as client,
    ):
        with pytest.raises(cloudflare.RateLimitError) as caught:
            _first(client)
        assert caught.value.response.headers["retry-after"] == "300"
        with pytest.raises(cloudflare.InternalServerError):
            _first(client)


@pytest.mark.integration
def test_token_check_depends_on_the_kind() -> None:
    """A user token verifies at the user's endpoint, an account token at the account's."""
    with FakeServer(fake_with(tokens=KINDS)) as server:
        for token in (TOKEN, WITHOUT):
            with Cloudflare(api_token=token, base_url=server.base_url, max_retries=0) as client:
                verified = client.user.tokens.verify()
                assert verified is not None
                assert verified.status == "active"
        with Cloudflare(api_token=OF_ACCOUNT, base_url=server.base_url, max_retries=0) as client:
            with pytest.raises(cloudflare.AuthenticationError):
                client.user.tokens.verify()
            assert client.accounts.tokens.verify(account_id=ACCOUNT_ID) is not None
            assert _first(client).id
            with pytest.raises(cloudflare.PermissionDeniedError):
                next(iter(client.user.audit_logs.list()))


@pytest.mark.integration
def test_global_key_works() -> None:
    """Accepts an e-mail address with the Global API Key."""
    fake = fake_with()
    settings = fake.settings
    with FakeServer(fake) as server:
        with Cloudflare(api_email=settings.auth_email, api_key=settings.auth_key, base_url=server.base_url) as client:
            assert _first(client).id
        stranger = Cloudflare(api_email=settings.auth_email, api_key="wrong", base_url=server.base_url)
        with stranger, pytest.raises(cloudflare.PermissionDeniedError):
            _first(stranger)
