"""Tests that the fake's settings reject tokens and ids that the fake would refuse in every request."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_audit_provider.testing.settings import ACCOUNT_ID, Settings, TokenKind
from tests.testing.fake_requests import V1, fake_with, get

GOOD_TOKEN = "t" * 20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tokens": {"short": TokenKind.VALID}}, "a token of 5 characters.*20 to 200 letters"),
        ({"tokens": {GOOD_TOKEN: TokenKind.VALID, "t" * 201: TokenKind.VALID}}, "a token of 201 characters"),
        ({"tokens": {"a token with spaces 0123": TokenKind.VALID}}, "a token of 24 characters"),
        ({"tokens": {GOOD_TOKEN: "wrong"}}, "'wrong' is unknown.*valid, invalid, no-permission, account"),
        ({"account_ids": ("A" * 32,)}, "32 hexadecimal digits"),
        ({"organization_ids": ("abc",)}, "'abc' has 3 characters.*32 hexadecimal digits"),
    ],
)
def test_settings_with_value_that_the_fake_would_refuse_raise(settings: dict[str, Any], words: str) -> None:
    """A malformed token, token kind or id raises ValueError in the constructor, with the accepted form."""
    with pytest.raises(ValueError, match=words):
        Settings(**settings)


def test_settings_with_malformed_token_do_not_show_it() -> None:
    """The error gives the token's length only, since a real token may have been entered by mistake."""
    with pytest.raises(ValueError, match="token") as caught:
        Settings(tokens={"entered by mistake": TokenKind.VALID})
    assert "mistake" not in str(caught.value)


def test_settings_without_tokens_refuse_every_token() -> None:
    """An empty mapping is accepted: the fake then knows no token."""
    assert get(fake_with(tokens={}), V1).status == 403


@pytest.mark.parametrize("kind", ["invalid", TokenKind.INVALID])
def test_settings_with_token_kind_as_text_act_as_the_kind(kind: Any) -> None:
    """A kind given as plain text has the effect of the ``TokenKind`` of that value."""
    headers = {"authorization": f"Bearer {GOOD_TOKEN}"}
    path = f"/client/v4/accounts/{ACCOUNT_ID}/audit_logs"
    assert get(fake_with(tokens={GOOD_TOKEN: kind}), path, headers=headers).status == 401
