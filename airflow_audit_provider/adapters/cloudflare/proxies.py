"""Chooses the proxy of a connection: its own, or the one that the environment variables name.

``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` are read as curl reads them, also for IPv6 networks:
https://curl.se/libcurl/c/CURLOPT_NOPROXY.html. httpx 0.28 raises ``InvalidURL`` for such a network.

Invariant: the credential goes through a proxy only encrypted, or on this machine; no error shows a proxy's password.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from airflow_audit_provider.exceptions import ConfigurationError

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"https": 443, "http": 80}
# RFC 1929, 2: the lengths of user name and password are one byte each, "1 to 255".
_MAX_SOCKS_BYTES = 255
_SCHEMES = ("http", "https", "socks5", "socks5h")


class Proxy(NamedTuple):
    """A proxy: its URL without user and password, and these."""

    url: str
    user: str = ""
    password: str = ""

    @property
    def auth(self) -> tuple[str, str] | None:
        """User and password, None without them."""
        return (self.user, self.password) if self.user or self.password else None

    @property
    def raw_auth(self) -> tuple[bytes, bytes] | None:
        """User and password as they are sent, None without them."""
        return (self.user.encode(), self.password.encode()) if self.auth else None

    def __repr__(self) -> str:
        return f"Proxy({self.url!r}, ***)"


def choose_proxy(base_url: str, own: str | None, environment: Mapping[str, str]) -> Proxy | None:
    """Returns the proxy for requests to ``base_url``, None to connect directly.

    ``own`` is the connection's; without one, ``environment`` decides: proxies by scheme, ``no`` for ``NO_PROXY``, as
    ``urllib.request.getproxies`` returns them. Raises ``ConfigurationError`` for a URL that no proxy can have, and for
    an own proxy that could read the credential.
    """
    target = urlsplit(base_url)
    if own is not None:
        proxy = _proxy(own, "the field 'proxy' of the connection's extra")
        if not _is_safe(target, proxy):
            raise ConfigurationError(
                "The proxy in the connection's extra would see the credential, because the connection's host is plain "
                "http. Remove the proxy, or use an https host."
            )
        return proxy
    name = target.scheme if environment.get(target.scheme) else "all"
    given = environment.get(name)
    if not given or is_excluded(target, environment.get("no", "")):
        return None
    proxy = _proxy(given, f"the environment variable {name.upper()}_PROXY")
    return proxy if _is_safe(target, proxy) else None


def _is_safe(target: SplitResult, proxy: Proxy) -> bool:
    """Returns whether the proxy cannot read the request: it is encrypted, or does not leave this machine."""
    return target.scheme == "https" or urlsplit(proxy.url).hostname in LOOPBACK_HOSTS


def _proxy(text: str, source: str) -> Proxy:
    parts, host = _split(text if "://" in text else f"http://{text}")
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES or not host:
        raise ConfigurationError(
            f"The proxy in {source} is not a URL of a proxy. Write it as http://proxy.example.com:3128; https, socks5 "
            "and socks5h are possible as well."
        )
    url = f"{scheme}://{host}" + ("" if parts.port is None else f":{parts.port}")
    proxy = Proxy(url, unquote(parts.username or ""), unquote(parts.password or ""))
    if scheme.startswith("socks"):
        _check_socks(proxy, source)
        # The name is always resolved by the proxy, which is what socks5h means.
        proxy = proxy._replace(url=f"socks5{url.removeprefix(scheme)}")
    return proxy


def _split(text: str) -> tuple[SplitResult, str]:
    """Returns the parts of a URL and its host in ASCII, with brackets around IPv6; no host if it is no URL.

    The errors of parsers are not chained, because they quote the password.
    """
    try:
        parts = urlsplit(text)
        # Reading the port raises for one that is no number, or too great a one.
        url = httpx.URL(scheme="http", host=parts.hostname or "", port=parts.port)
        host = url.raw_host.decode("ascii")
    except (ValueError, httpx.InvalidURL):
        return urlsplit(""), ""
    return parts, f"[{host}]" if ":" in host else host


def _check_socks(proxy: Proxy, source: str) -> None:
    if importlib.util.find_spec("socksio") is None:
        raise ConfigurationError(
            f"The proxy in {source} is a SOCKS proxy, and the package for it is not installed. Run pip install "
            "'httpx[socks]' on every worker and triggerer, or give an http proxy."
        )
    if proxy.raw_auth is not None and not all(1 <= len(part) <= _MAX_SOCKS_BYTES for part in proxy.raw_auth):
        raise ConfigurationError(
            f"The user or the password in {source} is empty or too long for a SOCKS proxy. Give both, each with 1 to "
            f"{_MAX_SOCKS_BYTES} bytes."
        )


def asks_for_authentication(refusal: str) -> bool:
    """Returns whether a proxy's refusal, in httpcore's words, means that user and password are missing or wrong."""
    # RFC 1928, 3: "NO ACCEPTABLE METHODS" answers a client that did not offer to authenticate.
    return refusal.startswith("407") or "NO ACCEPTABLE METHODS" in refusal or "Invalid username" in refusal


def is_excluded(target: SplitResult, no_proxy: str) -> bool:
    """Returns whether an entry of ``NO_PROXY`` excludes a URL: ``*``, a domain, an address or a network.

    Entries are separated by commas or spaces. One that means nothing is ignored, as curl does.
    """
    host, address = (target.hostname or "").rstrip("."), _address(target.hostname or "")
    port = target.port or _DEFAULT_PORTS.get(target.scheme)
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        scheme, separator, rest = entry.rpartition("://")
        if separator and scheme not in (target.scheme, "all"):
            continue
        name, entry_port = _split_port(rest)
        if entry_port in (None, port) and _means(name, host, address):
            return True
    return False


def _split_port(entry: str) -> tuple[str, int | None]:
    """Splits ``host:port`` and ``[address]:port``; a bare IPv6 address has no port."""
    match = re.fullmatch(r"(\[[^\]]*\](?:/\d+)?|[^:]*):(\d{1,5})", entry)
    name, port = (match[1], int(match[2])) if match else (entry, None)
    return name.replace("[", "").replace("]", ""), port


def _means(name: str, host: str, address: IPv4Address | IPv6Address | None) -> bool:
    if name == "*":
        return True
    if address is not None:
        try:
            return address in ip_network(name, strict=False)
        except ValueError:
            return False
    domain = name.removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
