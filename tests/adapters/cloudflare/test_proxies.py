"""Tests of the proxy that a URL gets, and of the entries of NO_PROXY that exclude it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from airflow_audit_provider.adapters.cloudflare.proxies import Proxy, choose_proxy, is_excluded

API = "https://api.cloudflare.com/client/v4"


@pytest.mark.parametrize(
    ("url", "entries"),
    [
        (API, "*"),
        (API, "cloudflare.com"),
        (API, ".cloudflare.com"),
        (API, "*.cloudflare.com"),
        (API, "API.Cloudflare.com."),
        (API, "localhost, api.cloudflare.com"),
        (API, "localhost api.cloudflare.com"),
        (API, "api.cloudflare.com:443"),
        (API, "https://api.cloudflare.com"),
        (API, "all://cloudflare.com"),
        ("https://10.1.2.3", "10.0.0.0/8"),
        ("https://10.1.2.3:8443", "10.1.2.3:8443"),
        ("https://10.1.2.3", "10.1.2.3"),
        ("https://[::1]:8443/v4", "::1"),
        ("https://[::1]:8443/v4", "[::1]"),
        ("https://[::1]:8443/v4", "[::1]:8443"),
        ("https://[::1]:8443/v4", "localhost,::1/128"),
        ("https://[fd07:b51a:cc66:f0::7]", "fd07:b51a:cc66:f0::/64"),
        ("https://[fe80::1]", "[fe80::]/10"),
        ("http://localhost:9", "localhost"),
    ],
)
def test_host_of_no_proxy_is_excluded(url: str, entries: str) -> None:
    """Domains with all below them, addresses and networks, in every spelling that is in use."""
    assert is_excluded(urlsplit(url), entries)
    assert choose_proxy(url, None, {"all": "http://127.0.0.1:3128", "no": entries}) is None


@pytest.mark.parametrize(
    ("url", "entries"),
    [
        (API, ""),
        (API, ","),
        (API, "."),
        (API, "notcloudflare.com"),
        (API, "are.com"),
        (API, "www.api.cloudflare.com"),
        (API, "api.cloudflare.com:8443"),
        (API, "http://api.cloudflare.com"),
        (API, "10.0.0.0/8,::1/128,[::1],fd00::/8,fe80::/200,0.0.0.0/0"),
        ("https://10.1.2.3", "::/0"),
        ("https://10.1.2.3", "10.1.2"),
        ("https://110.1.2.3", "10.1.2.3"),
        ("https://[::1]", "127.0.0.0/8"),
        ("https://[::2]", "::1/128"),
        (API, f"api.cloudflare.com:{'9' * 5000}"),
        ("https://[::1]", "[::1]:99999999999,[,],[],::,/,://,fe80::1%eth0"),
    ],
)
def test_other_host_is_not_excluded(url: str, entries: str) -> None:
    """Another host or port is not meant, and an entry that means nothing is ignored."""
    assert not is_excluded(urlsplit(url), entries)
    assert choose_proxy(url, None, {"https": "http://127.0.0.1:3128", "no": entries}) == Proxy("http://127.0.0.1:3128")


def test_scheme_of_its_own_wins_over_all() -> None:
    """``HTTPS_PROXY`` is for https and ``ALL_PROXY`` for what has none."""
    environment = {"https": "http://one:1", "all": "http://two:2"}
    assert choose_proxy(API, None, environment) == Proxy("http://one:1")
    assert choose_proxy(API, None, {"http": "http://one:1", "all": "http://two:2"}) == Proxy("http://two:2")
    assert choose_proxy(API, None, {"http": "http://one:1"}) is None
    assert choose_proxy(API, "three:3", environment) == Proxy("http://three:3")


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("proxy.example.com:3128", Proxy("http://proxy.example.com:3128")),
        ("https://proxy.example.com", Proxy("https://proxy.example.com")),
        ("HTTP://u%40x:p%3Aw@proxy.example.com:1", Proxy("http://proxy.example.com:1", "u@x", "p:w")),
        ("http://[fd00::1]:3128/", Proxy("http://[fd00::1]:3128")),
    ],
)
def test_url_of_a_proxy_is_taken_apart(text: str, proxy: Proxy) -> None:
    """User and password are decoded and not part of the URL; ``repr`` shows neither."""
    chosen = choose_proxy(API, text, {})
    assert chosen == proxy
    assert "p:w" not in repr(chosen)
